//! The rows that send a request. Each request is compared, parameter by parameter, with a text that our code did not
//! write.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use certbound::clock::Clock;
use certbound::credential::{AssertionFile, Credential, NoCredential, unbound_fn};
use certbound::error::TransportError;
use certbound::transport::{Answer, TlsFacts, Via};
use certbound::{
    Authority, BindingCertificate, BoundAssertion, Client, ClientBuilder, Cloud, ResourceScope, Secret,
    TenantId, Transport, UnixTime,
};

use crate::support::{APP, TENANT, root};

const NOW: u64 = 1_800_000_000;

struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(NOW)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// Answers every token request with a token of the requested type, and records the request.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Option<Sent>>>);

struct Sent {
    url: String,
    certificate: bool,
    body: String,
}

impl Transport for Recorder {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        let kind = if body.contains("token_type=mtls_pop") { "mtls_pop" } else { "Bearer" };
        let answer = format!(r#"{{"token_type":"{kind}","access_token":"T","expires_in":3600}}"#);
        let sent = Sent { url: request.uri().to_string(), certificate: via.binding().is_some(), body };
        assert!(self.0.lock().unwrap().replace(sent).is_none(), "one request is made");
        Ok(Answer { response: http::Response::new(answer.into()), tls: TlsFacts::default() })
    }
}

fn certificate() -> BindingCertificate {
    BindingCertificate::from_pem_file(root().join("testdata/certificates/rsa.bundle.pem")).unwrap()
}

/// Returns an assertion of another program that is bound to the certificate.
fn assertion() -> String {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let thumbprint = certificate().thumbprint().x5t_s256();
    let claims = format!(
        r#"{{"aud":"api://AzureADTokenExchange","exp":{},"cnf":{{"x5t#S256":"{thumbprint}"}}}}"#,
        NOW + 3600
    );
    format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#), part(&claims))
}

async fn send(row: u8, transport: &Recorder) {
    let vault = ResourceScope::key_vault(Cloud::Public);
    let authority = Authority::public(TenantId::parse(TENANT).unwrap());
    let client: ClientBuilder<NoCredential> =
        Client::builder(authority, APP).with_transport(transport.clone()).with_clock(StandingClock);
    async fn bearer<C: Credential>(client: ClientBuilder<C>, scope: &ResourceScope) {
        client.build().unwrap().bearer_token(scope).await.unwrap();
    }
    let bound = || BoundAssertion::from_jwt(Secret::new(assertion()), certificate()).unwrap();
    match row {
        1 => bearer(client.with_secret(Secret::new("S+&")), &vault).await,
        3 => bearer(client.with_unbound_assertions(Secret::new("J.J.J")), &vault).await,
        5 => {
            let function = unbound_fn(|_| async { Ok::<_, std::fmt::Error>(Secret::new("J.J.J")) });
            bearer(client.with_unbound_assertions(function), &vault).await;
        }
        8 => {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("token");
            std::fs::write(&file, "J.J.J\n").unwrap();
            bearer(client.with_unbound_assertions(AssertionFile::new(file)), &vault).await;
        }
        9 => bearer(client.with_assertions(bound()), &vault).await,
        10 => drop(client.with_assertions(bound()).build().unwrap().bound_token(&vault).await.unwrap()),
        13 => bearer(client.with_certificate(certificate()).without_x5c(), &vault).await,
        14 => {
            drop(client.with_certificate(certificate()).build().unwrap().bound_token(&vault).await.unwrap())
        }
        15 => bearer(client.with_certificate(certificate()).without_x5c().bearer_over_mtls(), &vault).await,
        16 => {
            let client = client.with_certificate(certificate()).bearer_over_mtls().build().unwrap();
            drop(client.bound_token(&vault).await.unwrap());
        }
        other => panic!("no request for row {other}"),
    }
}

/// Sends the row's request and compares URL, certificate and body, and of a signed assertion also header and claims.
pub(super) async fn compare(row: u8, what: &str, golden: &str) {
    let transport = Recorder::default();
    send(row, &transport).await;
    let sent = transport.0.lock().unwrap().take().unwrap();
    let mut golden = golden.lines();
    let mut next = || golden.next().unwrap().to_owned();
    assert_eq!(sent.url, next(), "{row} {what}");
    let presented = if sent.certificate { "certificate" } else { "no certificate" };
    assert_eq!(presented, next(), "{row} {what}");
    let expected = next();
    let own = sent.body.split('&').find_map(|pair| pair.strip_prefix("client_assertion="));
    let expected = expected.replace("{assertion}", &assertion());
    let expected = expected.replace("{signed}", own.unwrap_or_default());
    assert_eq!(sent.body, expected, "{row} {what}");
    let Some(header) = golden.next() else { return };

    let (leaf, x5t) = (certificate().chain().leaf_der().to_vec(), certificate().thumbprint().x5t_s256());
    let header = header.replace("{x5t#S256}", &x5t).replace("{leaf}", &STANDARD.encode(leaf));
    let parts: Vec<String> = own
        .unwrap()
        .split('.')
        .take(2)
        .map(|part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    assert_eq!(parts[0], header, "{row} {what}");
    let claims: serde_json::Value = serde_json::from_str(&parts[1]).unwrap();
    let guid = claims["jti"].as_str().unwrap();
    assert!(guid.len() == 36 && guid.matches('-').count() == 4, "{guid}");
    assert_eq!(parts[1], golden.next().unwrap().replace("{guid}", guid), "{row} {what}");
}
