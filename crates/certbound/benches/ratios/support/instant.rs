//! A client whose service answers at once, in the same thread: what is measured is what the client does around it.

use bytes::Bytes;
use certbound::{
    Answer, Authority, BySecret, Client, ResourceScope, Secret, TenantId, TlsFacts, TokenCache, Transport,
    TransportError, Via,
};

use super::{APP, TENANT};

/// Answers every request with one and the same body.
#[derive(Clone)]
pub(crate) struct Instant {
    status: u16,
    body: Bytes,
}

impl Instant {
    /// Tokens of this many characters.
    pub(crate) fn tokens_of(length: usize) -> Self {
        let token = "t".repeat(length);
        let body = format!(r#"{{"token_type":"Bearer","expires_in":86399,"access_token":"{token}"}}"#);
        Self { status: 200, body: body.into() }
    }

    /// No tokens.
    pub(crate) fn refusing() -> Self {
        Self { status: 400, body: Bytes::from_static(br#"{"error":"invalid_scope","error_codes":[70011]}"#) }
    }
}

impl Transport for Instant {
    async fn send(&self, _: http::Request<Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
        let mut response = http::Response::new(self.body.clone());
        *response.status_mut() = http::StatusCode::from_u16(self.status).unwrap();
        Ok(Answer { response, tls: TlsFacts::default() })
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

/// As many scopes as are wanted, as long as real ones.
pub(crate) fn scope(number: usize) -> ResourceScope {
    ResourceScope::parse(&format!("api://00000000-0000-4000-8000-{number:012}/.default")).unwrap()
}
