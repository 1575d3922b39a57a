//! Tests of a machine in a sovereign cloud. Its bound and unbound assertions have the audience of that cloud.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use certbound::error::TransportError;
use certbound::managed_identity::IdentityId;
use certbound::retry::RetryPolicy;
use certbound::transport::{Answer, Via};
use certbound::{Authority, Client, Cloud, TenantId, Transport, UnixTime};
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

#[tokio::test]
async fn an_unbound_assertion_is_for_the_cloud_of_the_exchange() {
    for (cloud, audience) in [
        (Cloud::Public, "api%3A%2F%2FAzureADTokenExchange"),
        (Cloud::UsGovernment, "api%3A%2F%2FAzureADTokenExchangeUSGov"),
        (Cloud::China, "api%3A%2F%2FAzureADTokenExchangeChina"),
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
