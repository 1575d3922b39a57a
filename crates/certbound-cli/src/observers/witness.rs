//! Requests to the machine's platform, which the library's observers are not told of: seen as they pass by.

use std::sync::Arc;

use bytes::Bytes;
use certbound::{Answer, Transport, TransportError, Via};

use super::Seen;

/// Is told of each request, and of the status of its answer.
pub(crate) trait Witness: Send + Sync + 'static {
    fn before(&self, request: &Seen);

    fn after(&self, _request: &Seen, _status: u16) {}
}

/// A transport that tells of the requests to the platform, each repetition too.
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
