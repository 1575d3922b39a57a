//! The events of watched files, for the application.

use std::fmt;

use certbound_core::cause::Cause;
use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;
use strum::EnumProperty as _;

use crate::error::{BindingCertificateError, CertificateNotValid};

/// An event of watched files. It contains no key.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CertificateEvent {
    /// A new certificate is in use.
    Rotated {
        /// The earlier certificate.
        from: Thumbprint,
        /// The certificate in use.
        to: Thumbprint,
        /// The time at which the certificate in use expires.
        not_after: UnixTime,
    },
    /// The same certificate now has different issuers, and TLS presents the new issuers. The certificate's tokens
    /// remain valid.
    IssuersChanged {
        /// The certificate.
        certificate: Thumbprint,
        /// The number of issuers in the chain.
        issuers: usize,
    },
    /// The current content of the files is not used. This event occurs once for each content.
    Refused {
        /// The reason why the content is not used.
        error: WatchError,
        /// The certificate that remains in use.
        in_use: Thumbprint,
    },
}

/// The reason why the content of watched files is not used.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum WatchError {
    /// A file cannot be read, or there is no usable certificate with its key.
    #[error(transparent)]
    Certificate(#[from] BindingCertificateError),
    /// The certificate has expired, or is not valid yet. The watching thread checks the certificate again later.
    #[error(transparent)]
    NotValid(#[from] CertificateNotValid),
    /// The certificate has a different subject.
    #[error(
        "the subject of the certificate is `{found}`, but the certificate in use has the subject `{expected}`"
    )]
    #[strum(props(code = "certificate_other_subject"))]
    #[strum(props(
        fix = "replace the file by the application's own certificate, or watch with `allow_other_subjects`"
    ))]
    OtherSubject {
        /// The subject of the certificate in use.
        expected: String,
        /// The subject in the files.
        found: String,
    },
    /// The system cannot start a thread to watch the files.
    #[error("the files cannot be watched: {reason}")]
    #[strum(props(code = "certificate_watch_failed", fix = "allow the process to start one more thread"))]
    Thread {
        /// The reason that the system gave.
        #[source]
        reason: Cause,
    },
}

impl WatchError {
    /// Returns MSAL's name of the error, or certbound's own name if MSAL has no name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Certificate(error) => error.code(),
            Self::NotValid(error) => error.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Certificate(error) => error.fix(),
            Self::NotValid(error) => error.fix(),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }
}

impl fmt::Display for CertificateEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rotated { from, to, not_after } => {
                write!(
                    f,
                    "the certificate {} is used instead of {}, and expires at {not_after}",
                    to.x5t_s256(),
                    from.x5t_s256()
                )
            }
            Self::IssuersChanged { certificate, issuers } => {
                let noun = if *issuers == 1 { "issuer" } else { "issuers" };
                write!(f, "the certificate {} is presented with {issuers} {noun}", certificate.x5t_s256())
            }
            Self::Refused { error, in_use } => {
                write!(f, "{error}; the certificate {} is still used; {}", in_use.x5t_s256(), error.fix())
            }
        }
    }
}
