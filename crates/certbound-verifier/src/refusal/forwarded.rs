//! The reasons why a certificate header is not accepted.

use std::net::IpAddr;

use certbound_core::certificate::CertificateError;

/// The largest header value that is read, in bytes.
pub(crate) const MAX_CERTIFICATE_HEADER: usize = 16 * 1024;

/// The reason why a certificate header is not accepted. The error contains no part of the header's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardedError {
    /// The request was sent from an address that does not belong to the proxy.
    #[error("the request was sent from {from}, which is not a trusted proxy")]
    UntrustedSource {
        /// The address.
        from: IpAddr,
    },
    /// The address from which the request was sent is not known, or it is a Unix socket that is not trusted.
    #[error("the address of the peer is not known")]
    UnknownSource,
    /// The header, or a key in the header, occurs more than once.
    #[error("the header, or a key in the header, occurs more than once")]
    Repeated,
    /// The name of a header differs from the configured name only in `_` and `-`.
    #[error("the name of a second header differs from the configured name only in `_` and `-`")]
    Ambiguous,
    /// The header is larger than 16 KiB.
    #[error("it is {length} bytes long; at most {MAX_CERTIFICATE_HEADER} bytes are accepted")]
    TooLarge {
        /// The length of the header in bytes.
        length: usize,
    },
    /// The header does not have the configured form.
    #[error("it does not have the configured form")]
    Malformed,
    /// The header has more than one certificate.
    #[error("it has more than one certificate")]
    SeveralCertificates,
    /// Envoy's header has more than one element.
    #[error(
        "it has more than one element: a second proxy added an element, or a name in a certificate contains a comma"
    )]
    SeveralElements,
    /// Envoy's header has a key other than `By`, `Hash` and `Cert`.
    #[error("it has a key other than By, Hash and Cert")]
    UnexpectedKey,
    /// The element of Envoy's header has no `Cert`.
    #[error("its element has no Cert")]
    NoCertificate,
    /// `Hash` of Envoy's header is not the hash of `Cert`.
    #[error("its Hash is not the hash of its Cert")]
    HashMismatch,
    /// The certificate is not usable.
    #[error("its certificate is not usable: {0}")]
    Certificate(CertificateError),
}

impl ForwardedError {
    /// Returns advice on how to fix the error, for the administrator of the proxy.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::UntrustedSource { .. } | Self::UnknownSource => {
                "configure the proxy's address as trusted; clients must reach the resource only through the proxy"
            }
            Self::SeveralElements | Self::UnexpectedKey | Self::NoCertificate | Self::HashMismatch => {
                "configure Envoy to write one element with only the certificate: SANITIZE_SET and set_current_client_cert_details: {cert: true}"
            }
            Self::Malformed | Self::SeveralCertificates | Self::Certificate(_) | Self::TooLarge { .. } => {
                "configure the proxy to write only the client's certificate, in the configured form"
            }
            Self::Repeated | Self::Ambiguous => {
                "configure the proxy to remove the header from the requests of clients and to set it exactly once"
            }
        }
    }
}
