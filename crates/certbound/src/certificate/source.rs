//! Where a client's certificate comes from: one for good, or watched files.

use certbound_core::certificate::Thumbprint;

use super::{BindingCertificate, WatchedCertificate};
use crate::certificate::Binding;
use crate::error::{Error, TransportError};

/// One certificate for good, or watched files. Made from either by `into()`.
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
    /// The certificate in use.
    pub(crate) fn current(&self) -> Binding {
        match &self.0 {
            Kind::Fixed(binding) => binding.clone(),
            Kind::Watched(watched) => watched.current(),
        }
    }

    /// Its name, without a handle on it: every hit asks for it.
    pub(crate) fn thumbprint(&self) -> Thumbprint {
        match &self.0 {
            Kind::Fixed(binding) => binding.thumbprint(),
            Kind::Watched(watched) => watched.thumbprint(),
        }
    }

    /// Certificates before this one, newest first.
    pub(crate) fn earlier(&self) -> Vec<Thumbprint> {
        match &self.0 {
            Kind::Fixed(_) => Vec::new(),
            Kind::Watched(watched) => watched.earlier(),
        }
    }

    /// The service refused `blamed`: looks once whether there is another one, and tells.
    pub(crate) async fn replace(&self, blamed: &Binding) -> bool {
        match &self.0 {
            Kind::Fixed(_) => false,
            Kind::Watched(watched) => watched.replace(blamed).await,
        }
    }
}

/// Numbers by which the token service blames the certificate: not registered, its subject not authorised, none registered
/// at all, and over.
const BLAMED_BY: [u32; 4] = [700_027, 700_030, 392_189, 392_204];

/// How sure it is that a certificate is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The service said so, or its TLS did.
    Refused,
    /// The connection ended once the certificate was sent, which has other causes too.
    Suspected,
}

impl Blame {
    /// Of a client's certificate, by the token service or in TLS. None where another certificate would not help.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let refused = error.aadsts().is_some_and(|number| BLAMED_BY.contains(&number));
        refused.then_some(Self::Refused).or_else(|| Self::in_tls(error))
    }

    /// What a server says of a client's certificate in TLS, if only by ending the connection once it was sent; never what we
    /// say of the server's.
    pub(crate) fn in_tls(error: &Error) -> Option<Self> {
        const ALERTS: [&str; 8] = [
            "BadCertificate",
            "CertificateExpired",
            "CertificateRevoked",
            "CertificateUnknown",
            "UnsupportedCertificate",
            "CertificateRequired",
            "AccessDenied",
            "UnknownCA",
        ];
        let Error::Transport { cause, .. } = error else { return None };
        match cause {
            TransportError::Tls { reason, .. } | TransportError::Interrupted { reason, .. } => {
                let said = |alert: &&str| reason.contains(&format!("received fatal alert: {alert}"));
                ALERTS.iter().any(said).then_some(Self::Refused)
            }
            TransportError::EndedAfterCertificate { .. } => Some(Self::Suspected),
            _ => None,
        }
    }
}

/// Whether the token service, or a server in TLS, blames our certificate.
pub(crate) fn is_blamed(error: &Error) -> bool {
    Blame::of(error).is_some()
}
