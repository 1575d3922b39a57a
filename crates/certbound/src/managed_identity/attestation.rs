//! A word of the hardware for its key, where the platform wants one.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certbound_core::jws;
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;

use super::keys::MachineKey;
use crate::cache::single_flight::{Load, LoadFailure, SingleFlight};
use crate::error::PlatformError;

/// What is to be attested.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AttestationRequest {
    /// The attestation service that the platform names.
    pub endpoint: String,
    /// The identity that the certificate is for.
    pub client_id: String,
    /// The key; [`MachineKey::signer`] is the handle that its provider has.
    pub key: MachineKey,
}

/// Obtains an attestation token for a key. A hook: no hardware's own is built in.
///
/// Called when a certificate is issued and no token of this key is still good for five minutes: the identities that share
/// their [certificates](crate::MachineCertificates) share the tokens of a key too, whoever's hook obtained them. What it
/// returns is not verified here. A blank token, a failure, or none within a minute ends the acquisition: without the word
/// that was configured nothing is asked for.
pub trait Attestation: Send + Sync + 'static {
    /// The token, a JWT, or why there is none.
    fn attest(&self, request: &AttestationRequest) -> impl Future<Output = Result<Secret, String>> + Send;
}

/// The object-safe twin of [`Attestation`].
pub(crate) trait AnyAttestation: Send + Sync {
    fn attest<'a>(
        &'a self,
        request: &'a AttestationRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Secret, String>> + Send + 'a>>;
}

impl<A: Attestation> AnyAttestation for A {
    fn attest<'a>(
        &'a self,
        request: &'a AttestationRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Secret, String>> + Send + 'a>> {
        Box::pin(Attestation::attest(self, request))
    }
}

/// With less left, a new token is obtained.
const MARGIN: Duration = Duration::from_secs(300);
/// The longest that a hook may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Tokens of keys, until they near their end.
#[derive(Default)]
pub(super) struct Attested {
    tokens: Arc<Mutex<Tokens>>,
    under_way: SingleFlight<Of, Result<Arc<Secret>, PlatformError>>,
}

type Tokens = HashMap<Of, (Arc<Secret>, UnixTime)>;

/// Whose word, and for which public key.
type Of = (String, Vec<u8>);

impl Attested {
    /// The token of a key: kept, or obtained once however many wait for it.
    pub(super) async fn token(
        &self,
        hook: &Arc<dyn AnyAttestation>,
        request: AttestationRequest,
        now: UnixTime,
    ) -> Result<Arc<Secret>, PlatformError> {
        let endpoint = request.endpoint.trim_end_matches('/').to_ascii_lowercase();
        let of = (endpoint, request.key.public_key().to_vec());
        if let Some((token, _)) = lock(&self.tokens).get(&of).filter(|(_, until)| *until > now.plus(MARGIN)) {
            return Ok(Arc::clone(token));
        }
        let (hook, tokens, known) = (Arc::clone(hook), Arc::clone(&self.tokens), of.clone());
        let load = move || -> Load<_> {
            Box::pin(async move {
                let token = Arc::new(ask(&*hook, &request).await?);
                let claims = jws::unverified_claims(token.expose()).ok();
                let until = claims.and_then(|claims| claims.time("exp").ok().flatten());
                let mut tokens = lock(&tokens);
                tokens.retain(|_, (_, until)| *until > now);
                if let Some(until) = until {
                    tokens.insert(known, (Arc::clone(&token), until));
                }
                Ok(token)
            })
        };
        let (obtained, _) = self.under_way.run(of, load).await;
        obtained.unwrap_or_else(|failure| match failure {
            LoadFailure::Panicked => Err(failed("it panicked")),
            LoadFailure::RuntimeEnded => Err(PlatformError::ShuttingDown),
        })
    }

    /// The tokens of a key were refused.
    pub(super) fn forget(&self, public_key: &[u8]) {
        lock(&self.tokens).retain(|(_, of), _| of != public_key);
    }
}

async fn ask(hook: &dyn AnyAttestation, request: &AttestationRequest) -> Result<Secret, PlatformError> {
    let asked = tokio::time::timeout(LIMIT, hook.attest(request)).await;
    let too_slow = |_| failed(&format!("it brought none within {} s", LIMIT.as_secs()));
    let token = asked.map_err(too_slow)?.map_err(|reason| failed(&reason))?;
    match token.expose().trim().is_empty() {
        true => Err(failed("it brought no token")),
        false => Ok(token),
    }
}

fn failed(reason: &str) -> PlatformError {
    PlatformError::Attestation { reason: reason.chars().take(512).collect() }
}

fn lock(tokens: &Mutex<Tokens>) -> MutexGuard<'_, Tokens> {
    // Nothing can panic while it is held, and every state it passes through is usable.
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}
