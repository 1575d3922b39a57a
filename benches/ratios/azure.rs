//! The Azure SDK for Rust.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::Secret;
pub(crate) use azure_core::credentials::TokenCredential;
use azure_core::http::headers::Headers;
use azure_core::http::{
    AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode, Transport, new_http_client,
};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};

use crate::caches::InProcess;
use crate::ours::{SECRET, SECRET_APP, TENANT};

pub(crate) const AZURE: &str = "azure_identity (Rust)";

/// Returns the library's own transport, which reuses connections.
pub(crate) fn network() -> Transport {
    Transport::new(new_http_client(None))
}

pub(crate) fn in_process(service: &InProcess) -> Transport {
    Transport::new(Arc::new(service.clone()))
}

/// Returns a credential with an empty cache.
pub(crate) fn credential(transport: &Transport) -> Arc<ClientSecretCredential> {
    let client_options = ClientOptions { transport: Some(transport.clone()), ..Default::default() };
    let options = ClientSecretCredentialOptions { client_options };
    ClientSecretCredential::new(TENANT, SECRET_APP.to_owned(), Secret::new(SECRET), Some(options)).unwrap()
}

#[async_trait]
impl HttpClient for InProcess {
    async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
        Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, Headers::new(), self.answer().await))
    }
}
