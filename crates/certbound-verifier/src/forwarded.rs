//! The client's certificate in a header of a proxy that ends TLS.
//!
//! Off unless a [`TrustedProxy`] is configured. Whoever can reach the resource past the proxy can write the header, so it
//! is believed from the proxy's addresses only.

mod envoy;
mod error;
mod name;
mod pem;

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

pub use self::error::{ForwardedError, HeaderNameError};
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
/// // YARP, with `WithTransformClientCertHeader("X-Client-Cert")`.
/// let proxy = TrustedProxy::app_service(["10.0.0.0/8".parse()?]).with_header_name("x-client-cert".parse()?)?;
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
    PemOnOneLine,
    Base64,
}

impl TrustedProxy {
    /// A structured byte sequence of the DER (RFC 9440), in `Client-Cert`.
    pub fn rfc9440(sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(Format::StructuredBytes, HeaderName::from_static("client-cert"), sources)
    }

    /// `X-Forwarded-Client-Cert` of Envoy: one element, with `Cert`, and with nothing beside it but `Hash` and `By`.
    ///
    /// A second element and every other key are refused. Envoy does not escape the names of the client's certificate
    /// (`Subject`, `URI`, `DNS`), so a certificate could write elements of its own. Of several Envoys in a row, the first
    /// writes the header and the others forward it.
    pub fn envoy(sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(Format::Envoy, HeaderName::from_static("x-forwarded-client-cert"), sources)
    }

    /// The PEM, URL-encoded as by nginx (`$ssl_client_escaped_cert`) or with spaces for its line ends as by Apache
    /// (`%{SSL_CLIENT_CERT}s`), in `X-SSL-Client-Cert`.
    pub fn nginx(sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(Format::PemOnOneLine, HeaderName::from_static("x-ssl-client-cert"), sources)
    }

    /// The DER in base64, as by Azure App Service, in `X-ARR-ClientCert`; under other names also by YARP, Caddy and HAProxy.
    pub fn app_service(sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(Format::Base64, HeaderName::from_static("x-arr-clientcert"), sources)
    }

    /// Reads the certificate from another header. It is the proxy that has to write it there, and to remove it from what
    /// clients send.
    ///
    /// # Errors
    /// [`HeaderNameError`] for Envoy, whose header has one name, and for headers that have another meaning.
    pub fn with_header_name(self, name: HeaderName) -> Result<Self, HeaderNameError> {
        if name == self.name {
            return Ok(self);
        }
        if self.format == Format::Envoy {
            return Err(HeaderNameError::Fixed);
        }
        name::check(&name)?;
        Ok(Self { name, ..self })
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
            // HAProxy's `:%[ssl_c_der,base64]:` without a certificate.
            Format::StructuredBytes if value == b"::" => return Ok(PeerCertificate::none()),
            Format::StructuredBytes => structured_bytes(value)?,
            Format::Envoy => envoy::certificate(value)?,
            Format::PemOnOneLine => pem::url_encoded(value)?,
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
