//! The protection of a machine's key, and the error of a key that is not usable.

use std::fmt;

use certbound_core::cause::Cause;

/// The protection of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyStrength {
    /// The key is in this process's memory.
    Software,
    /// The key is in hardware and cannot be read from it.
    Hardware,
    /// The key is in hardware that attests it.
    Attested,
}

impl fmt::Display for KeyStrength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Software => "software",
            Self::Hardware => "hardware",
            Self::Attested => "attested",
        })
    }
}

/// Returns the advice for the error of a signer: the key store's own advice, or else general advice.
pub(super) fn fix_of_signer(cause: &Cause) -> &'static str {
    cause
        .find::<KeyError>()
        .and_then(KeyError::fix)
        .unwrap_or("remove the cause that the signer names in this message")
}

/// Returns whether the error of a signer is transient. By default it is transient. The loss of a handle is always
/// transient, because the handle can be replaced.
pub(super) fn signer_is_transient(cause: &Cause) -> bool {
    cause.find::<KeyError>().is_none_or(|error| error.is_gone || error.is_transient.unwrap_or(true))
}

/// The error of a key that cannot be obtained or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct KeyError {
    #[source]
    reason: Cause,
    is_gone: bool,
    is_transient: Option<bool>,
    fix: Option<&'static str>,
}

impl KeyError {
    /// Creates the error from a text or from the key store's own error, which becomes the source. The error must not
    /// contain any part of the key.
    pub fn new(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { reason: Cause::new(reason), is_gone: false, is_transient: None, fix: None }
    }

    /// Creates the error of a handle that will never sign again, for example after the removal of its hardware token. A
    /// client then asks the source of its certificate for a replacement
    /// ([`Blame::NotSigned`](crate::certificate::Blame::NotSigned)), and repeats the request once with the replacement.
    /// No part of the request was sent.
    pub fn handle_gone(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { is_gone: true, ..Self::new(reason) }
    }

    /// Sets whether the key store may be usable again later without a change, for example after an outage. After a
    /// transient error, a managed identity uses its certificate while the certificate is valid, instead of failing. By
    /// default, an error is transient only for a signature in a TLS handshake or for an assertion.
    pub fn transient(self, is_transient: bool) -> Self {
        Self { is_transient: Some(is_transient), ..self }
    }

    /// Sets the advice for this error, which the errors of the client return as their `fix()`. The advice must not
    /// contain any part of the key.
    pub fn with_fix(self, fix: &'static str) -> Self {
        Self { fix: Some(fix), ..self }
    }

    /// Returns whether the key store may be usable again later.
    pub fn is_transient(&self) -> bool {
        self.is_transient.unwrap_or(false)
    }

    /// Returns the advice of the key store, if the key store gave advice.
    pub fn fix(&self) -> Option<&'static str> {
        self.fix
    }

    /// Returns whether the handle of the key will never sign again.
    pub fn is_handle_gone(&self) -> bool {
        self.is_gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_error_may_pass_unless_the_key_store_says_otherwise() {
        let is_transient = |error: KeyError| signer_is_transient(&Cause::new(error));
        assert!(is_transient(KeyError::new("no word about it")));
        assert!(is_transient(KeyError::new("busy").transient(true)));
        assert!(!is_transient(KeyError::new("the PIN was refused").transient(false)));
        assert!(is_transient(KeyError::handle_gone("taken out").transient(false)));
        assert!(!KeyError::new("a provider says nothing").is_transient());
    }
}
