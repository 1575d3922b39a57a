//! The reason for requesting a certificate of the machine.

use crate::certificate::Blame;

/// The reason why a certificate is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MintReason {
    /// There is no usable certificate, or the renewal of the certificate is due.
    Needed,
    /// The caller forced a refresh.
    Forced,
    /// The certificate may be the cause of a failure.
    Suspected,
    /// The certificate was refused.
    Refused,
}

impl MintReason {
    /// Returns the reason for replacing a blamed certificate. The result is `None` if the certificate is good and only
    /// the handle of its key did not sign.
    pub(super) fn of(blame: Blame) -> Option<Self> {
        match blame {
            Blame::Refused { .. } => Some(Self::Refused),
            Blame::Suspected { .. } => Some(Self::Suspected),
            Blame::NotSigned { .. } => None,
        }
    }

    /// Returns whether the new certificate replaces a blamed certificate.
    pub(super) fn is_blame(self) -> bool {
        matches!(self, Self::Suspected | Self::Refused)
    }

    /// Returns whether the request must bypass the metadata service's cache, because the certificate in that cache is
    /// unwanted.
    pub(super) fn bypasses_cache(self) -> bool {
        self != Self::Needed
    }
}
