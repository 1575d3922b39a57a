//! A client whose service answers at once, in the same thread. The benchmark therefore measures only the client.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use certbound::credential::{ByCertificate, BySecret};
use certbound::error::TransportError;
use certbound::transport::{Answer, TlsFacts, Via};
use certbound::{
    Authority, BindingCertificate, Client, ResourceScope, Secret, TenantId, TokenCache, Transport,
};

use super::{APP, TENANT};

/// Answers every request with the same body.
#[derive(Clone)]
pub(crate) struct Instant {
    body: Bytes,
}

impl Instant {
    /// Answers with Bearer tokens of this many characters.
    pub(crate) fn tokens_of(length: usize) -> Self {
        Self::answering("Bearer", &"t".repeat(length))
    }

    /// Answers with tokens of this many characters whose `cnf` names the certificate, as in real tokens.
    pub(crate) fn tokens_bound_to(certificate: &BindingCertificate, length: usize) -> Self {
        let token = |padding: usize| {
            let cnf = serde_json::json!({ "x5t#S256": certificate.thumbprint().x5t_s256() });
            let claims = serde_json::json!({ "cnf": cnf, "padding": "p".repeat(padding) }).to_string();
            let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            format!("{}.{}.{}", part(br#"{"alg":"RS256"}"#), part(claims.as_bytes()), part(&[0x5a; 256]))
        };
        let padding = (0..length).find(|padding| token(*padding).len() >= length).unwrap();
        let token = token(padding);
        assert!(token.len() - length < 2, "{}", token.len());
        Self::answering("mtls_pop", &token)
    }

    fn answering(kind: &str, token: &str) -> Self {
        let body = format!(r#"{{"token_type":"{kind}","expires_in":86399,"access_token":"{token}"}}"#);
        Self { body: body.into() }
    }
}

impl Transport for Instant {
    async fn send(&self, _: http::Request<Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
        Ok(Answer { response: http::Response::new(self.body.clone()), tls: TlsFacts::default() })
    }
}

pub(crate) fn client(transport: impl Transport, cache: &TokenCache) -> Client<BySecret> {
    Client::builder(Authority::public(TenantId::parse(TENANT).unwrap()), APP)
        .with_transport(transport)
        .with_cache(cache.clone())
        .with_secret(Secret::new("s"))
        .build()
        .unwrap()
}

/// Returns a certificate that is valid now.
pub(crate) fn certificate() -> BindingCertificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    let pem = format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    BindingCertificate::from_pem(pem.as_bytes()).unwrap()
}

pub(crate) fn bound_client(
    transport: impl Transport,
    cache: &TokenCache,
    certificate: BindingCertificate,
) -> Client<ByCertificate> {
    Client::builder(Authority::public(TenantId::parse(TENANT).unwrap()), APP)
        .with_transport(transport)
        .with_cache(cache.clone())
        .with_certificate(certificate)
        .build()
        .unwrap()
}

/// Returns the scope with this number; it is as long as a real scope.
pub(crate) fn scope(number: usize) -> ResourceScope {
    ResourceScope::parse(&format!("api://00000000-0000-4000-8000-{number:012}/.default")).unwrap()
}
