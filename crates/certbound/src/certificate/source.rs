//! The source of a client's certificate: a fixed certificate, or watched files.

use certbound_core::certificate::Thumbprint;

use super::{BindingCertificate, WatchedCertificate};
use crate::certificate::Binding;
use crate::error::{Error, TransportError};

/// A fixed certificate, or watched files. `into()` converts both to it.
#[derive(Clone, Debug)]
pub struct CertificateSource(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Fixed(Binding),
    Watched(WatchedCertificate),
}

impl From<BindingCertificate> for CertificateSource {
    fn from(certificate: BindingCertificate) -> Self {
        Self(Kind::Fixed(Binding::new(certificate)))
    }
}

impl From<WatchedCertificate> for CertificateSource {
    fn from(certificate: WatchedCertificate) -> Self {
        Self(Kind::Watched(certificate))
    }
}

impl CertificateSource {
    /// Returns the certificate in use.
    pub(crate) fn current(&self) -> Binding {
        match &self.0 {
            Kind::Fixed(binding) => binding.clone(),
            Kind::Watched(watched) => watched.current(),
        }
    }

    /// Returns the thumbprint of the certificate in use. Every cache hit needs it, so it does not clone the
    /// certificate.
    pub(crate) fn thumbprint(&self) -> Thumbprint {
        match &self.0 {
            Kind::Fixed(binding) => binding.thumbprint(),
            Kind::Watched(watched) => watched.thumbprint(),
        }
    }

    /// Returns the thumbprints of the earlier certificates, newest first.
    pub(crate) fn earlier(&self) -> Vec<Thumbprint> {
        match &self.0 {
            Kind::Fixed(_) => Vec::new(),
            Kind::Watched(watched) => watched.earlier(),
        }
    }

    /// Looks once for a replacement, because the service refused `blamed`. Returns whether a different certificate is
    /// in use.
    pub(crate) async fn replace(&self, blamed: &Binding) -> bool {
        match &self.0 {
            Kind::Fixed(_) => false,
            Kind::Watched(watched) => watched.replace(blamed).await,
        }
    }
}

/// The AADSTS numbers that blame the certificate. In this order: it is not registered, its subject is not authorised,
/// no certificate is registered, and it has expired.
const BLAMED_BY: [u32; 4] = [700_027, 700_030, 392_189, 392_204];

/// How certain it is that a certificate is the cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The token service or its TLS server refused the certificate.
    Refused,
    /// The connection ended after the certificate was sent. This can have other causes too.
    Suspected,
}

impl Blame {
    /// Returns whether an error blames the client's certificate. It is `None` if another certificate would not help.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let refused = error.aadsts().is_some_and(|number| BLAMED_BY.contains(&number));
        refused.then_some(Self::Refused).or_else(|| Self::in_tls(error))
    }

    /// Returns whether a server blames the client's certificate in TLS, by an alert or by closing the connection after
    /// the certificate was sent. Our refusal of a server's certificate does not count.
    pub(crate) fn in_tls(error: &Error) -> Option<Self> {
        let Error::Transport { cause, .. } = error else { return None };
        match cause {
            TransportError::Tls { .. } | TransportError::Interrupted { .. } => {
                cause.alert()?.rejects_certificate().then_some(Self::Refused)
            }
            TransportError::EndedAfterCertificate { .. } => Some(Self::Suspected),
            _ => None,
        }
    }
}

/// Returns whether the token service, or a server in TLS, blames the client's certificate.
pub(crate) fn is_blamed(error: &Error) -> bool {
    Blame::of(error).is_some()
}
