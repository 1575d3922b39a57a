//! Requests to the machine's platform. The library's observers do not see them, so a transport reports them.

use std::sync::Arc;

use bytes::Bytes;
use certbound::Transport;
use certbound::error::TransportError;
use certbound::transport::{Answer, Via};

use super::Seen;

/// Receives each request to the platform, and the status of its answer.
pub(crate) trait Witness: Send + Sync + 'static {
    fn before(&self, request: &Seen);

    fn after(&self, _request: &Seen, _status: u16) {}
}

/// A transport that reports each request to the platform, including retries.
#[derive(Clone)]
pub(crate) struct Witnessed<T> {
    inner: T,
    witness: Option<Arc<dyn Witness>>,
}

impl<T> Witnessed<T> {
    pub(crate) fn new(inner: T, witness: Option<Arc<dyn Witness>>) -> Self {
        Self { inner, witness }
    }
}

impl<T: Transport> Transport for Witnessed<T> {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let to_platform = matches!(via, Via::Local | Via::Pinned(_));
        let Some(witness) = self.witness.as_ref().filter(|_| to_platform) else {
            return self.inner.send(request, via).await;
        };
        let seen = Seen::of_platform_request(&request);
        witness.before(&seen);
        let answer = self.inner.send(request, via).await?;
        witness.after(&seen, answer.response.status().as_u16());
        Ok(answer)
    }
}
