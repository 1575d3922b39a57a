//! The client's certificate in a header of a proxy that ends TLS.
//!
//! Off unless a [`TrustedProxy`] is configured. Whoever can reach the resource past the proxy can write the header, so it
//! is believed from the proxy's addresses only.

mod envoy;

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_core::certificate::CertificateError;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use percent_encoding::percent_decode;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::peer::PeerCertificate;

/// The largest header that is read.
const MAX_BYTES: usize = 16 * 1024;

/// A proxy that ends TLS, which header it writes, and from which addresses it is believed.
///
/// The proxy must remove the header from what clients send. It is never combined with the certificate of the connection.
///
/// ```
/// use certbound_verifier::TrustedProxy;
/// use http::HeaderMap;
///
/// let proxy = TrustedProxy::nginx("x-ssl-client-cert".parse()?, ["10.0.0.0/8".parse()?]);
/// let from_a_stranger = proxy.certificate("203.0.113.7".parse()?, &HeaderMap::new())?;
/// assert!(from_a_stranger.thumbprint().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxy {
    format: Format,
    name: HeaderName,
    sources: Vec<IpNet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    StructuredBytes,
    Envoy,
    UrlEncodedPem,
    Base64,
}

impl TrustedProxy {
    /// `Client-Cert` (RFC 9440): a structured byte sequence of the DER.
    pub fn rfc9440(sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(Format::StructuredBytes, HeaderName::from_static("client-cert"), sources)
    }

    /// `X-Forwarded-Client-Cert` of Envoy, with its `Cert`. Only the last element counts: the nearest proxy wrote it.
    pub fn envoy(sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(Format::Envoy, HeaderName::from_static("x-forwarded-client-cert"), sources)
    }

    /// A header that nginx is told to fill with `$ssl_client_escaped_cert`: the PEM, URL-encoded.
    pub fn nginx(name: HeaderName, sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(Format::UrlEncodedPem, name, sources)
    }

    /// `X-ARR-ClientCert` of Azure App Service: the DER in base64.
    pub fn app_service(sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(Format::Base64, HeaderName::from_static("x-arr-clientcert"), sources)
    }

    fn new(format: Format, name: HeaderName, sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self { format, name, sources: sources.into_iter().collect() }
    }

    /// The certificate that a request carries, or that it carries none.
    ///
    /// # Errors
    /// [`ForwardedError`]; among others when the header comes from an address that is not the proxy's, stands twice, or
    /// stands beside one whose name differs only in `_` and `-`, which some servers on the way take for the same.
    pub fn certificate(&self, from: IpAddr, headers: &HeaderMap) -> Result<PeerCertificate, ForwardedError> {
        self.read(Some(from), headers)
    }

    /// Without an address nobody says that the proxy sent it, so it did not.
    pub(crate) fn read(
        &self,
        from: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<PeerCertificate, ForwardedError> {
        let alike = |name: &&HeaderName| {
            let bytes = name.as_str().bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
            bytes.eq(self.name.as_str().bytes().map(|byte| if byte == b'_' { b'-' } else { byte }))
        };
        if headers.keys().filter(alike).any(|name| *name != self.name) {
            return Err(ForwardedError::Ambiguous);
        }
        let mut values = headers.get_all(&self.name).iter();
        let Some(value) = values.next() else { return Ok(PeerCertificate::none()) };
        let from = from.ok_or(ForwardedError::UnknownSource)?.to_canonical();
        if !self.sources.iter().any(|source| source.contains(&from)) {
            return Err(ForwardedError::UntrustedSource { from });
        }
        if values.next().is_some() {
            return Err(ForwardedError::Repeated);
        }
        let value = value.as_bytes();
        if value.len() > MAX_BYTES {
            return Err(ForwardedError::TooLarge { length: value.len() });
        }
        if value.is_empty() {
            return Ok(PeerCertificate::none());
        }
        let der = match self.format {
            Format::StructuredBytes => structured_bytes(value)?,
            Format::Envoy => url_encoded_pem(&envoy::certificate(value)?)?,
            Format::UrlEncodedPem => url_encoded_pem(value)?,
            Format::Base64 => STANDARD.decode(value).map_err(|_| ForwardedError::Malformed)?,
        };
        PeerCertificate::from_der(&der).map_err(ForwardedError::Certificate)
    }
}

/// RFC 9440, section 2.2. Parameters are refused: none is defined.
fn structured_bytes(value: &[u8]) -> Result<Vec<u8>, ForwardedError> {
    let item: sfv::Item = sfv::Parser::new(value).parse().map_err(|_| ForwardedError::Malformed)?;
    match item.bare_item {
        sfv::BareItem::ByteSequence(bytes) if item.params.is_empty() => Ok(bytes),
        _ => Err(ForwardedError::Malformed),
    }
}

fn url_encoded_pem(value: &[u8]) -> Result<Vec<u8>, ForwardedError> {
    let pem: Vec<u8> = percent_decode(value).collect();
    let text = std::str::from_utf8(&pem).map_err(|_| ForwardedError::Malformed)?;
    // One certificate, and nothing before or behind it.
    let text = text.trim();
    if !text.starts_with("-----BEGIN CERTIFICATE-----") || !text.ends_with("-----END CERTIFICATE-----") {
        return Err(ForwardedError::Malformed);
    }
    if text.matches("-----BEGIN ").count() != 1 {
        return Err(ForwardedError::SeveralCertificates);
    }
    let der = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| ForwardedError::Malformed)?;
    Ok(der.to_vec())
}

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
    /// It stands twice.
    #[error("it stands more than once")]
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
    /// An element without `Cert`.
    #[error("its last element has no Cert")]
    NoCertificate,
    /// `Hash` and `Cert` of one element disagree.
    #[error("its Hash is not that of its Cert")]
    HashMismatch,
    /// Not a certificate.
    #[error("its certificate is not usable: {0}")]
    Certificate(CertificateError),
}
