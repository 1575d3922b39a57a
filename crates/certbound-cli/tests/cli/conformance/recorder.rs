//! A transport of a program's own, which records what the library gave to it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use certbound::error::TransportError;
use certbound::transport::{Answer, HyperTransport, Via};
use certbound::{Network, Thumbprint, Transport};

/// A request that the library gave to the transport.
#[derive(Clone)]
pub(super) struct Given {
    /// The leaf of the certificate with which the request had to be sent.
    pub(super) certificate: Option<Thumbprint>,
    pub(super) body: Bytes,
}

/// Sends each request by the usual transport, and records it.
#[derive(Clone)]
pub(super) struct Recorder {
    inner: Arc<HyperTransport>,
    given: Arc<Mutex<Vec<Given>>>,
}

impl Recorder {
    pub(super) fn new(network: &Network) -> Self {
        Self { inner: network.transport(), given: Arc::default() }
    }

    pub(super) fn given(&self) -> Vec<Given> {
        self.given.lock().unwrap().clone()
    }
}

impl Transport for Recorder {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let certificate = via.binding().map(|binding| Thumbprint::of_der(binding.chain().leaf_der()));
        self.given.lock().unwrap().push(Given { certificate, body: request.body().clone() });
        self.inner.send(request, via).await
    }
}
