//! What becomes of watched files, for the application to know.

use std::fmt;
use strum::EnumProperty as _;

use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use crate::error::BindingCertificateError;

/// What became of watched files. It holds no key.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CertificateEvent {
    /// There was a new certificate, and it is used from now on.
    Rotated {
        /// The one before.
        from: Thumbprint,
        /// The one in use.
        to: Thumbprint,
        /// Its end.
        not_after: UnixTime,
    },
    /// There was the same certificate with other issuers, and they are presented with it from now on. Its tokens stay.
    IssuersChanged {
        /// The certificate.
        certificate: Thumbprint,
        /// How many issuers come with it.
        issuers: usize,
    },
    /// What is there now is not used. Told once for the same contents.
    Refused {
        /// Why not.
        error: WatchError,
        /// The certificate that stays in use.
        in_use: Thumbprint,
    },
}

/// Why the contents of watched files are not used.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum WatchError {
    /// A file cannot be read, or there is no usable certificate with its key.
    #[error(transparent)]
    Certificate(#[from] BindingCertificateError),
    /// It is over.
    #[error("the certificate ended at {not_after}, and it is {now}")]
    #[strum(props(code = "certificate_not_valid_now", fix = "put the renewed certificate there"))]
    Expired {
        /// Its end.
        not_after: UnixTime,
        /// The time it was compared with.
        now: UnixTime,
    },
    /// Its time has not come; it is looked at again.
    #[error("the certificate is valid from {not_before}, and it is {now}")]
    #[strum(props(code = "certificate_not_valid_now"))]
    #[strum(props(fix = "nothing, or set the clock right: it is used from its beginning on"))]
    NotYetValid {
        /// When it begins.
        not_before: UnixTime,
        /// The time it was compared with.
        now: UnixTime,
    },
    /// It is somebody else's.
    #[error("the certificate's subject is `{found}`, and the one in use has `{expected}`")]
    #[strum(props(code = "certificate_other_subject"))]
    #[strum(props(
        fix = "put the application's own certificate there, or watch with `allow_other_subjects`"
    ))]
    OtherSubject {
        /// The subject in use.
        expected: String,
        /// The subject in the files.
        found: String,
    },
    /// No thread can be started to watch the files.
    #[error("the files cannot be watched: {reason}")]
    #[strum(props(code = "certificate_watch_failed", fix = "allow the process another thread"))]
    Thread {
        /// What the system said.
        reason: String,
    },
}

impl WatchError {
    /// MSAL's name where it has one, else ours.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Certificate(error) => error.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Certificate(error) => error.fix(),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }
}

impl fmt::Display for CertificateEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rotated { from, to, not_after } => {
                write!(f, "{} is used instead of {}, until {not_after}", to.x5t_s256(), from.x5t_s256())
            }
            Self::IssuersChanged { certificate, issuers } => {
                write!(f, "{} is presented with {issuers} issuers", certificate.x5t_s256())
            }
            Self::Refused { error, in_use } => {
                write!(f, "{error}; {} stays in use; {}", in_use.x5t_s256(), error.fix())
            }
        }
    }
}
