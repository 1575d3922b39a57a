//! Why a certificate header is not believed, and why a name is not taken for one.

use std::net::IpAddr;

use certbound_core::certificate::CertificateError;
use http::HeaderName;

use super::MAX_BYTES;

/// Why a certificate header is not believed. Holds nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardedError {
    /// The header comes from an address that is not the proxy's.
    #[error("it comes from {from}, which is not a trusted proxy")]
    UntrustedSource {
        /// The address.
        from: IpAddr,
    },
    /// Nothing says which address the request came from.
    #[error("the address it comes from is not known")]
    UnknownSource,
    /// The header, or a key in it, stands twice.
    #[error("it, or a key in it, stands more than once")]
    Repeated,
    /// A second header whose name differs only in `_` and `-`.
    #[error("another header's name differs from it only in `_` and `-`")]
    Ambiguous,
    /// Larger than is read.
    #[error("it is {length} bytes long; at most {MAX_BYTES} are read")]
    TooLarge {
        /// Its length.
        length: usize,
    },
    /// Not of the configured form.
    #[error("it is not of the configured form")]
    Malformed,
    /// More than one certificate.
    #[error("it holds more than one certificate")]
    SeveralCertificates,
    /// More than one element in Envoy's header.
    #[error(
        "it holds more than one element: a proxy appended to it, or a name in a certificate holds a comma"
    )]
    SeveralElements,
    /// A key in Envoy's header that the client's certificate words, or that is unknown.
    #[error("it holds a key other than By, Hash and Cert")]
    UnexpectedKey,
    /// An element of Envoy's header without `Cert`.
    #[error("its element has no Cert")]
    NoCertificate,
    /// `Hash` and `Cert` of Envoy's header disagree.
    #[error("its Hash is not that of its Cert")]
    HashMismatch,
    /// Not a certificate.
    #[error("its certificate is not usable: {0}")]
    Certificate(CertificateError),
}

impl ForwardedError {
    /// What to do about it, for whoever runs the proxy.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::UntrustedSource { .. } | Self::UnknownSource => {
                "name the proxy's address as trusted, and let clients reach the resource by the proxy only"
            }
            Self::SeveralElements | Self::UnexpectedKey | Self::NoCertificate | Self::HashMismatch => {
                "let Envoy write one element with the certificate alone: SANITIZE_SET and set_current_client_cert_details: {cert: true}"
            }
            Self::Malformed | Self::SeveralCertificates | Self::Certificate(_) | Self::TooLarge { .. } => {
                "let the proxy write the client's certificate alone, in the form that is configured"
            }
            Self::Repeated | Self::Ambiguous => {
                "let the proxy remove the header from what clients send and set it exactly once"
            }
        }
    }
}

/// Why a header of this name cannot hold the certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderNameError {
    /// Envoy fills one header, and removes no other from what clients send.
    #[error("Envoy writes the certificate into x-forwarded-client-cert and into no other header")]
    Fixed,
    /// The header has another meaning.
    #[error("the header {name} has another meaning")]
    Taken {
        /// The name.
        name: HeaderName,
    },
}

impl HeaderNameError {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fixed => "certificate_header_name_fixed",
            Self::Taken { .. } => "certificate_header_name_taken",
        }
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Fixed => "leave the name out",
            Self::Taken { .. } => "let the proxy write a header of its own, such as x-client-cert",
        }
    }
}
