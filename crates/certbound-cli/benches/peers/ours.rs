//! certbound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use certbound::credential::{ByAssertion, BySecret};
use certbound::error::TransportError;
use certbound::transport::{Answer, TlsFacts, Via};
use certbound::{
    Authority, BindingCertificate, Client, ResourceScope, Secret, TenantId, TokenCache, Transport,
};

use crate::INSIDE;
use crate::work::{APP, Does, MANY, SCOPE, SECRET, SECRET_APP, SLOW, TENANT, scope, slowest};

pub(crate) struct Ours {
    scope: ResourceScope,
    secret: Client<BySecret>,
    legs: Option<Client<ByAssertion>>,
    many: Option<Many>,
}

/// A client with many cached tokens, from a service in this process.
struct Many {
    client: Client<BySecret>,
    scopes: Vec<ResourceScope>,
    service: InProcess,
}

impl Ours {
    pub(crate) fn new() -> Self {
        let secret =
            Client::builder(authority(), SECRET_APP).with_secret(Secret::new(SECRET)).build().unwrap();
        Self { scope: ResourceScope::parse(SCOPE).unwrap(), secret, legs: None, many: None }
    }

    async fn many(&mut self) -> &Many {
        if self.many.is_none() {
            self.many = Some(Many::new().await);
        }
        self.many.as_ref().unwrap()
    }
}

impl Many {
    async fn new() -> Self {
        let service = InProcess::default();
        let client = Client::builder(authority(), SECRET_APP)
            .with_transport(service.clone())
            .with_cache(TokenCache::with_capacity(2 * MANY))
            .with_secret(Secret::new(SECRET))
            .build()
            .unwrap();
        let scopes: Vec<_> = (0..MANY).map(|number| ResourceScope::parse(&scope(number)).unwrap()).collect();
        for scope in &scopes {
            client.bearer_token(scope).await.unwrap();
        }
        Self { client, scopes, service }
    }
}

/// Answers every request with the same answer, at once or slowly.
#[derive(Clone, Default)]
struct InProcess {
    is_slow: Arc<AtomicBool>,
}

impl Transport for InProcess {
    async fn send(&self, _: http::Request<Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
        if self.is_slow.load(Ordering::Relaxed) {
            tokio::time::sleep(SLOW).await;
        }
        let token = "t".repeat(1_500);
        let body = format!(r#"{{"token_type":"Bearer","expires_in":86399,"access_token":"{token}"}}"#);
        Ok(Answer { response: http::Response::new(body.into()), tls: TlsFacts::default() })
    }
}

fn authority() -> Authority {
    Authority::public(TenantId::parse(TENANT).unwrap())
}

fn legs() -> Client<ByAssertion> {
    let certificate = BindingCertificate::from_pem_file(std::env::var(INSIDE).unwrap()).unwrap();
    let leg1 = Client::builder(authority(), APP).with_certificate(certificate).build().unwrap();
    Client::builder(authority(), APP).with_assertions(leg1).build().unwrap()
}

impl Does for Ours {
    async fn hit(&mut self) {
        self.secret.bearer_token(&self.scope).await.unwrap();
    }

    async fn hit_of_many(&mut self, number: usize) {
        let many = self.many().await;
        many.client.bearer_token(&many.scopes[number]).await.unwrap();
    }

    async fn cold(&mut self) {
        self.secret.bearer_token(&self.scope).force_refresh().await.unwrap();
    }

    async fn pair(&mut self) {
        let leg2 = self.legs.get_or_insert_with(legs);
        leg2.bound_token(&self.scope).force_refresh().await.unwrap();
    }

    async fn slowest_hit(&mut self) -> Duration {
        let many = self.many().await;
        many.service.is_slow.store(true, Ordering::Relaxed);
        let miss = async {
            many.client.bearer_token(&many.scopes[1]).force_refresh().await.unwrap();
        };
        let slowest = slowest(miss, || async {
            many.client.bearer_token(&many.scopes[0]).await.unwrap();
        });
        let slowest = slowest.await;
        many.service.is_slow.store(false, Ordering::Relaxed);
        slowest
    }
}
