//! The Azure SDK for Rust.

use std::sync::Arc;

use azure_core::credentials::{Secret, TokenCredential as _};
use azure_core::http::{ClientOptions, Transport, new_http_client};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};

use crate::work::{Does, SCOPE, SECRET, SECRET_APP, TENANT};

pub(crate) struct Azure {
    transport: Transport,
    kept: Arc<ClientSecretCredential>,
}

impl Azure {
    pub(crate) fn new() -> Self {
        let transport = Transport::new(new_http_client(None));
        let kept = credential(&transport);
        Self { transport, kept }
    }
}

/// One with an empty cache; the connections are the transport's.
fn credential(transport: &Transport) -> Arc<ClientSecretCredential> {
    let client_options = ClientOptions { transport: Some(transport.clone()), ..Default::default() };
    let options = ClientSecretCredentialOptions { client_options };
    ClientSecretCredential::new(TENANT, SECRET_APP.to_owned(), Secret::new(SECRET), Some(options)).unwrap()
}

impl Does for Azure {
    async fn hit(&mut self) {
        self.kept.get_token(&[SCOPE], None).await.unwrap();
    }

    async fn cold(&mut self) {
        credential(&self.transport).get_token(&[SCOPE], None).await.unwrap();
    }

    async fn pair(&mut self) {
        unreachable!("it is not asked to");
    }
}
