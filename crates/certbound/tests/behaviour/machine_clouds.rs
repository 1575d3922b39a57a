//! Tests of a machine in a sovereign cloud. Its bound and unbound assertions have the audience of that cloud.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use certbound::error::{Leg, TransportError};
use certbound::managed_identity::IdentityId;
use certbound::retry::RetryPolicy;
use certbound::transport::{Answer, Via};
use certbound::{Authority, BindingCertificate, Client, Cloud, TenantId, Transport, UnixTime};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{AnsweringTransport, ManualClock, MemoryTransport, Pair};

use crate::two_leg::vault;

/// The emulated machine with certificates for the token service of another cloud. It records the requests to that
/// service.
#[derive(Clone)]
struct InCloud {
    machine: MemoryTransport,
    host: &'static str,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Transport for InCloud {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        if matches!(via, Via::Local) {
            let mut answer = self.machine.send(request, via).await?;
            let body = String::from_utf8(answer.response.body().to_vec()).unwrap();
            *answer.response.body_mut() = body.replace("westus3.mtlsauth.microsoft.com", self.host).into();
            return Ok(answer);
        }
        let url = request.uri().to_string();
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        self.asked.lock().unwrap().push((url, body));
        Err(TransportError::Connect { host: self.host.to_owned(), reason: "far away".into() })
    }
}

#[tokio::test]
async fn a_bound_assertion_is_for_the_cloud_of_the_certificate() {
    for (host, audience) in [
        ("westus3.mtlsauth.microsoft.com", "api://AzureADTokenExchange"),
        ("usgovvirginia.mtlsauth.microsoftonline.us", "api://AzureADTokenExchangeUSGov"),
        ("chinanorth3.mtlsauth.partner.microsoftonline.cn", "api://AzureADTokenExchangeChina"),
        ("francecentral.mtlsauth.sovcloud-identity.fr", "api://AzureADTokenExchangeFrance"),
        ("mtlsauth.sovcloud-identity.sg", "api://AzureADTokenExchangeGovSG"),
    ] {
        let pair = Pair::new();
        let transport = InCloud { machine: pair.transport(), host, asked: Arc::default() };
        let builder = pair.managed_identity(IdentityId::System).with_transport(transport.clone());
        let identity = builder.with_retry_policy(RetryPolicy::default().without_retries()).build().unwrap();
        let unreachable = "managed_identity_unreachable_network";
        assert_eq!(identity.assertion().await.unwrap_err().code(), unreachable);
        let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(identity).build().unwrap();
        assert_eq!(leg2.bound_token(&vault()).await.unwrap_err().code(), unreachable);
        let asked = transport.asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 2);
        let scope = audience.replace(':', "%3A").replace('/', "%2F");
        for (url, body) in asked {
            assert_eq!(url, format!("https://{host}/{}/oauth2/v2.0/token", builtin::TENANT));
            assert!(body.contains(&format!("scope={scope}%2F.default&")), "{body}");
        }
    }
}

/// The legacy German cloud has no token exchange, and at an unknown host the audience is unknown. The public cloud's
/// audience would be refused there.
#[tokio::test]
async fn no_assertion_is_requested_where_the_audience_is_unknown() {
    for (host, cause) in
        [("mtlsauth.microsoftonline.de", "germany_legacy"), ("mtlsauth.private.example", "private.example")]
    {
        let pair = Pair::new();
        let transport = InCloud { machine: pair.transport(), host, asked: Arc::default() };
        let builder = pair.managed_identity(IdentityId::System).with_transport(transport.clone());
        let identity = builder.with_retry_policy(RetryPolicy::none()).build().unwrap();
        let error = identity.assertion().await.unwrap_err();
        assert_eq!((error.code(), error.leg()), ("token_exchange_not_supported", Some(Leg::One)));
        assert!(error.to_string().contains(cause) && !error.fix().is_empty(), "{error}");
        assert!(transport.asked.lock().unwrap().is_empty());
        // In an exchange, the cloud of Leg 2 is the cloud of an unknown host. It does not replace a known cloud.
        let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(identity).build().unwrap();
        let error = leg2.bound_token(&vault()).await.unwrap_err();
        let asked = transport.asked.lock().unwrap().clone();
        match host {
            "mtlsauth.private.example" => {
                assert_eq!(error.code(), "managed_identity_unreachable_network");
                assert!(
                    asked[0].1.contains("scope=api%3A%2F%2FAzureADTokenExchange%2F.default&"),
                    "{asked:?}"
                );
            }
            _ => assert_eq!((error.code(), asked.len()), ("token_exchange_not_supported", 0)),
        }
    }
    for url in ["https://login.microsoftonline.de/t.example", "https://login.private.example/t.example"] {
        let transport = AnsweringTransport::new(|_| (400, String::new()));
        let pair = Pair::new();
        let certificate =
            BindingCertificate::from_pem(pair.emulator().client_identity().bundle_pem().as_bytes()).unwrap();
        let builder = || {
            let builder = Client::builder(Authority::parse(url).unwrap(), builtin::APP);
            let builder = builder.with_transport(transport.clone()).with_clock(pair.clock().clone());
            builder.without_authority_validation()
        };
        let leg1 = builder().with_certificate(certificate).build().unwrap();
        assert_eq!(leg1.assertion().await.unwrap_err().code(), "token_exchange_not_supported");
        let leg2 = builder().with_assertions(leg1).build().unwrap();
        assert_eq!(leg2.bound_token(&vault()).await.unwrap_err().code(), "token_exchange_not_supported");
        let machine = pair.managed_identity(IdentityId::System).with_transport(transport.clone());
        let unbound = builder().with_unbound_assertions(machine.build().unwrap()).build().unwrap();
        let error = unbound.bearer_token(&vault()).await.unwrap_err();
        assert_eq!((error.code(), error.leg()), ("token_exchange_not_supported", Some(Leg::One)));
        assert!(transport.seen().is_empty(), "{url}");
    }
}

#[tokio::test]
async fn an_unbound_assertion_is_for_the_cloud_of_the_exchange() {
    for (cloud, audience) in [
        (Cloud::Public, "api%3A%2F%2FAzureADTokenExchange"),
        (Cloud::UsGovernment, "api%3A%2F%2FAzureADTokenExchangeUSGov"),
        (Cloud::China, "api%3A%2F%2FAzureADTokenExchangeChina"),
        (Cloud::Germany, "api%3A%2F%2FAzureADTokenExchangeGermany"),
        (Cloud::Ppe, "api%3A%2F%2FAzureADTokenExchangePpe"),
    ] {
        let transport = AnsweringTransport::new(|seen| match seen.method.as_str() {
            "GET" => (200, r#"{"access_token":"T","expires_in":"3600","token_type":"Bearer"}"#.to_owned()),
            _ => (400, String::new()),
        });
        let clock = ManualClock::at(UnixTime::from_secs(1_785_000_000));
        let machine = certbound::ManagedIdentity::system_assigned()
            .with_environment(|_| None)
            .with_transport(transport.clone())
            .with_clock(clock.clone())
            .build()
            .unwrap();
        let authority = Authority::in_cloud(cloud, TenantId::parse(builtin::TENANT).unwrap());
        let client = Client::builder(authority, builtin::TARGET_APP).with_transport(transport.clone());
        let client = client.with_clock(clock).with_unbound_assertions(machine).build().unwrap();
        client.bearer_token(&vault()).await.unwrap_err();
        let url = transport.seen()[0].url.clone();
        assert!(url.ends_with(&format!("&resource={audience}")), "{url}");
    }
}
