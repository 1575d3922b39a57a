//! Failures of parts that the application provides: a Leg 1, a certificate source, a signer, an assertion's file or
//! function, or the runtime.

use std::error::Error as StdError;

use certbound_core::cause::Cause;
use strum::EnumProperty as _;

use super::Error;
use super::machine_key::{fix_of_signer, signer_is_transient};

/// The failure of a part that the application provides. The calling code can be correct nevertheless: for example, a
/// vault can be unavailable for a moment.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum ProviderError {
    /// A function, a file or a Leg 1 of the application returned an error instead of an assertion. A new
    /// `ProviderError` has this variant: see [`ProviderError::new`].
    #[error("the assertion provider failed: {cause:.512}")]
    #[strum(props(code = "assertion_provider_failed"))]
    #[strum(props(fix = "remove the cause that the provider names in this message"))]
    Assertion {
        /// The provider's own error.
        #[source]
        cause: Cause,
        /// Whether the provider may succeed later. In this case a token that is still valid is used in the meantime.
        is_transient: bool,
    },
    /// A certificate source of the application was unavailable when the client asked it for a replacement.
    #[error("the certificate source provided no certificate: {cause:.512}")]
    #[strum(props(code = "certificate_provider_failed"))]
    #[strum(props(fix = "remove the cause that the source names in this message"))]
    Certificate {
        /// The provider's own error.
        #[source]
        cause: Cause,
        /// Whether the provider may succeed later. In this case a token that is still valid is used in the meantime.
        is_transient: bool,
    },
    /// The signer of the binding certificate could not sign an assertion for a Bearer token.
    #[error("the signer of the certificate could not sign the assertion: {cause:.512}")]
    #[strum(props(code = "cryptographic_error"))]
    Signer {
        /// The signer's own error.
        #[source]
        cause: Cause,
    },
    /// A callback panicked while a token was being acquired. All callers that waited for the token get this error.
    #[error("a callback (Leg 1, signer, clock or observer) panicked while the token was being acquired")]
    #[strum(props(code = "provider_panicked"))]
    #[strum(props(fix = "see the panic's message on stderr; return an error in the callback instead"))]
    Panicked,
    /// The async runtime in which the token was being acquired was shut down.
    #[error("the runtime in which this token was being acquired was shut down")]
    #[strum(props(code = "runtime_shut_down"))]
    #[strum(props(
        fix = "use a client in one runtime only, and keep the runtime running until the token has arrived"
    ))]
    RuntimeEnded,
}

impl ProviderError {
    /// Creates the failure of a provider that may succeed later. It is a [`ProviderError::Assertion`], and its text and
    /// code name the provider of an assertion. If a certificate source returns it, the client turns it into a
    /// [`ProviderError::Certificate`].
    ///
    /// If `error` is or contains an [`Error`], the failure has the result of [`Error::is_transient`]. A `ProviderError`
    /// is returned unchanged, so a provider can return [`ProviderError::permanent`].
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let error = match error.into().downcast::<Self>() {
            Ok(ours) => return *ours,
            Err(error) => error,
        };
        let cause = Cause::new(error);
        let is_transient = cause.find::<Error>().is_none_or(Error::is_transient);
        Self::Assertion { cause, is_transient }
    }

    /// Creates the failure of a provider that will not succeed without a change. It has the same variant as the result
    /// of [`ProviderError::new`].
    pub fn permanent(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Assertion { cause: Cause::new(error), is_transient: false }
    }

    /// Turns the failure into the failure of a certificate source. [`ProviderError::new`] does not know its caller, so
    /// its result names the provider of an assertion.
    pub(crate) fn of_certificate(self) -> Self {
        match self {
            Self::Assertion { cause, is_transient } => Self::Certificate { cause, is_transient },
            other => other,
        }
    }

    /// Returns the stable name of this error.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Signer { cause } => fix_of_signer(cause),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }

    /// Returns whether the same call may succeed later without a change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Assertion { is_transient, .. } | Self::Certificate { is_transient, .. } => *is_transient,
            Self::Signer { cause } => signer_is_transient(cause),
            Self::RuntimeEnded => true,
            Self::Panicked => false,
        }
    }
}
