//! A word of the hardware for its key, where the platform wants one.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certbound_core::jws;
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;

use super::error::PlatformError;
use super::keys::MachineKey;

/// What is to be attested.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AttestationRequest {
    /// The attestation service that the platform names.
    pub endpoint: String,
    /// The identity that the certificate is for.
    pub client_id: String,
    /// The key.
    pub key: MachineKey,
}

/// Obtains an attestation token for a key. A hook: no hardware's own is built in.
///
/// Called when a certificate is issued and no token of this key is still good; what it returns is not verified here. A
/// blank token, or a failure, ends the acquisition: without the word that was configured nothing is asked for.
pub trait Attestation: Send + Sync + 'static {
    /// The token, a JWT, or why there is none.
    fn attest(&self, request: &AttestationRequest) -> impl Future<Output = Result<Secret, String>> + Send;
}

/// The object-safe twin of [`Attestation`], with the last token.
pub(crate) trait AnyAttestation: Send + Sync {
    fn token<'a>(
        &'a self,
        request: &'a AttestationRequest,
        now: UnixTime,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Secret>, PlatformError>> + Send + 'a>>;
    fn forget(&self);
}

/// A hook that remembers its last token, by key.
pub(super) struct Remembering<A> {
    hook: A,
    last: Mutex<Option<Last>>,
}

struct Last {
    public_key: Vec<u8>,
    endpoint: String,
    token: Arc<Secret>,
    until: UnixTime,
}

/// With less left, a new one is obtained.
const MARGIN: Duration = Duration::from_secs(300);

impl<A> Remembering<A> {
    pub(super) fn new(hook: A) -> Self {
        Self { hook, last: Mutex::default() }
    }

    fn kept(&self, request: &AttestationRequest, now: UnixTime) -> Option<Arc<Secret>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.as_ref()?;
        let same = last.public_key == request.key.public_key() && last.endpoint == request.endpoint;
        (same && last.until > now.plus(MARGIN)).then(|| Arc::clone(&last.token))
    }
}

impl<A: Attestation> AnyAttestation for Remembering<A> {
    fn token<'a>(
        &'a self,
        request: &'a AttestationRequest,
        now: UnixTime,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Secret>, PlatformError>> + Send + 'a>> {
        Box::pin(async move {
            if let Some(token) = self.kept(request, now) {
                return Ok(token);
            }
            let failed =
                |reason: String| PlatformError::Attestation { reason: reason.chars().take(512).collect() };
            let token = self.hook.attest(request).await.map_err(failed)?;
            if token.expose().trim().is_empty() {
                return Err(failed("it brought no token".to_owned()));
            }
            let token = Arc::new(token);
            let until = jws::unverified_claims(token.expose())
                .ok()
                .and_then(|claims| claims.time("exp").ok().flatten());
            if let Some(until) = until {
                let (public_key, endpoint) = (request.key.public_key().to_vec(), request.endpoint.clone());
                let last = Last { public_key, endpoint, token: Arc::clone(&token), until };
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
            }
            Ok(token)
        })
    }

    fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
