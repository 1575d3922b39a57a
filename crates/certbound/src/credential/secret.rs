//! The credential by a client secret.

use std::sync::Arc;

use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;

use super::sealed::{Boxed, Proof, Proves};
use crate::cache::Kind;
use crate::cache::key::CallerId;
use crate::certificate::BindingCertificate;
use crate::credential::AssertionRequest;
use crate::error::BuildError;
use crate::rejected::TokenHash;

/// A client that authenticates by a secret (RFC 6749, section 2.3.1). It gets only Bearer tokens.
#[derive(Clone, Debug)]
pub struct BySecret {
    pub(crate) secret: Arc<Secret>,
}

impl Proves for BySecret {
    fn proof<'a>(
        &'a self,
        _certificate: Option<&'a BindingCertificate>,
        _kind: Kind,
        _request: &'a AssertionRequest,
        _now: UnixTime,
    ) -> Boxed<'a, Proof> {
        Box::pin(async { Ok(Proof::Secret(Arc::clone(&self.secret))) })
    }

    fn check(&self) -> Result<(), BuildError> {
        if self.secret.expose().trim().is_empty() { Err(BuildError::EmptySecret) } else { Ok(()) }
    }

    fn name(&self) -> &'static str {
        "secret"
    }

    /// Returns the hash of the secret. A client with a wrong secret must not get a cached token, because the cached
    /// token would hide the mistake.
    fn caller_id(&self) -> Option<CallerId> {
        Some(CallerId::Secret(TokenHash::of(&self.secret)))
    }
}
