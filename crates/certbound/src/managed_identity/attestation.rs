//! The attestation of a key, if the application has a hook for it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certbound_core::jws;
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;

use super::keys::MachineKey;
use crate::cache::single_flight::{Load, LoadFailure, SingleFlight, this_runtime};
use crate::error::PlatformError;

/// A request for an attestation token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AttestationRequest {
    /// The URL of the attestation service: the URL for the machine's cloud and region, or else the URL that the
    /// platform named.
    pub endpoint: String,
    /// The identity that the certificate is for.
    pub client_id: String,
    /// The tenant of the identity.
    pub tenant_id: String,
    /// The key. [`MachineKey::signer`] returns the signer of its provider.
    pub key: MachineKey,
}

/// A hook that gets an attestation token for a key. The library has no implementation for any hardware.
///
/// The hook is called when a certificate is requested and no token for this key is valid for five more minutes.
/// Identities with the same [certificates](super::MachineCertificates) share the tokens of a key too, even if their
/// hooks differ. The library does not verify the token. If the token is blank, the hook fails, or the hook takes longer
/// than one minute, no certificate is requested, and an acquisition that waits for the certificate fails.
pub trait Attestation: Send + Sync + 'static {
    /// Returns the token (a JWT), or the reason why there is no token.
    fn attest(&self, request: &AttestationRequest) -> impl Future<Output = Result<Secret, String>> + Send;
}

/// The object-safe form of [`Attestation`].
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

/// A token is not reused if this time or less is left of its lifetime.
const MARGIN: Duration = Duration::from_secs(300);
/// The time limit of a hook.
const LIMIT: Duration = Duration::from_secs(60);

/// The attestation tokens of keys, until they expire.
#[derive(Default)]
pub(super) struct Attested {
    tokens: Arc<Mutex<Tokens>>,
    under_way: SingleFlight<(Of, Option<tokio::runtime::Id>), Result<Arc<Secret>, PlatformError>>,
}

type Tokens = HashMap<Of, (Arc<Secret>, UnixTime)>;

/// The URL of the attestation service, and the public key.
type Of = (String, Vec<u8>);

impl Attested {
    /// Returns the token of a key. If no token can be reused, the hook is called once for all waiting callers.
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
        let (obtained, _) = self.under_way.run((of, this_runtime()), load).await;
        obtained.unwrap_or_else(|failure| match failure {
            LoadFailure::Panicked => Err(failed("the hook panicked")),
            LoadFailure::RuntimeEnded => Err(PlatformError::ShuttingDown),
        })
    }

    /// Drops the tokens of a key, because they were refused.
    pub(super) fn forget(&self, public_key: &[u8]) {
        lock(&self.tokens).retain(|(_, of), _| of != public_key);
    }
}

async fn ask(hook: &dyn AnyAttestation, request: &AttestationRequest) -> Result<Secret, PlatformError> {
    let asked = tokio::time::timeout(LIMIT, hook.attest(request)).await;
    let too_slow = |_| failed(&format!("the hook returned no token within {} s", LIMIT.as_secs()));
    let token = asked.map_err(too_slow)?.map_err(|reason| failed(&reason))?;
    match token.expose().trim().is_empty() {
        true => Err(failed("the hook returned an empty token")),
        false => Ok(token),
    }
}

fn failed(reason: &str) -> PlatformError {
    PlatformError::Attestation { reason: reason.chars().take(512).collect() }
}

fn lock(tokens: &Mutex<Tokens>) -> MutexGuard<'_, Tokens> {
    // No code panics while the lock is held, and every intermediate state is usable.
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}
