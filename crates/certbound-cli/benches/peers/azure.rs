//! The Azure SDK for Rust.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use azure_core::credentials::{Secret, TokenCredential as _};
use azure_core::http::headers::Headers;
use azure_core::http::{
    AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode, Transport, new_http_client,
};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};

use crate::work::{Does, MANY, SCOPE, SECRET, SECRET_APP, SLOW, TENANT, scope, slowest};

pub(crate) struct Azure {
    transport: Transport,
    kept: Arc<ClientSecretCredential>,
    many: Option<Many>,
}

/// A credential with many cached tokens, from a service in this process.
struct Many {
    credential: Arc<ClientSecretCredential>,
    scopes: Vec<String>,
    service: Arc<InProcess>,
    /// The number of the next scope that was not requested yet. This library has no other way to get a new token.
    next: AtomicUsize,
}

impl Azure {
    pub(crate) fn new() -> Self {
        let transport = Transport::new(new_http_client(None));
        let kept = credential(&transport);
        Self { transport, kept, many: None }
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
        let service = Arc::new(InProcess::default());
        let credential = credential(&Transport::new(Arc::clone(&service) as Arc<dyn HttpClient>));
        let scopes: Vec<_> = (0..MANY).map(scope).collect();
        for scope in &scopes {
            credential.get_token(&[scope], None).await.unwrap();
        }
        Self { credential, scopes, service, next: AtomicUsize::new(MANY) }
    }
}

/// Answers every request with the same answer, at once or slowly.
#[derive(Debug, Default)]
struct InProcess {
    is_slow: AtomicBool,
}

impl HttpClient for InProcess {
    fn execute_request<'life0, 'life1, 'async_trait>(
        &'life0 self,
        _: &'life1 Request,
    ) -> Pin<Box<dyn Future<Output = azure_core::Result<AsyncRawResponse>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            if self.is_slow.load(Ordering::Relaxed) {
                tokio::time::sleep(SLOW).await;
            }
            let token = "t".repeat(1_500);
            let body = format!(
                r#"{{"token_type":"Bearer","expires_in":86399,"ext_expires_in":86399,"access_token":"{token}"}}"#
            );
            Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, Headers::new(), body))
        })
    }
}

/// Returns a credential with an empty cache; the transport keeps the connections.
fn credential(transport: &Transport) -> Arc<ClientSecretCredential> {
    let client_options = ClientOptions { transport: Some(transport.clone()), ..Default::default() };
    let options = ClientSecretCredentialOptions { client_options };
    ClientSecretCredential::new(TENANT, SECRET_APP.to_owned(), Secret::new(SECRET), Some(options)).unwrap()
}

impl Does for Azure {
    async fn hit(&mut self) {
        self.kept.get_token(&[SCOPE], None).await.unwrap();
    }

    async fn hit_of_many(&mut self, number: usize) {
        let many = self.many().await;
        many.credential.get_token(&[&many.scopes[number]], None).await.unwrap();
    }

    async fn cold(&mut self) {
        credential(&self.transport).get_token(&[SCOPE], None).await.unwrap();
    }

    async fn pair(&mut self) {
        unreachable!("it is not asked to");
    }

    async fn slowest_hit(&mut self) -> Duration {
        let many = self.many().await;
        many.service.is_slow.store(true, Ordering::Relaxed);
        let miss = async {
            let scope = scope(many.next.fetch_add(1, Ordering::Relaxed));
            many.credential.get_token(&[&scope], None).await.unwrap();
        };
        let slowest = slowest(miss, || async {
            many.credential.get_token(&[&many.scopes[0]], None).await.unwrap();
        });
        let slowest = slowest.await;
        many.service.is_slow.store(false, Ordering::Relaxed);
        slowest
    }
}
