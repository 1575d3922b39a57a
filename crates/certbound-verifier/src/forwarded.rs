//! The client's certificate in a header of a proxy that terminates TLS.
//!
//! The verifier reads the header only if a [`TrustedProxy`] is configured. A client that can reach the resource without
//! the proxy can write the header, so the verifier accepts the header from the proxy's addresses only.

mod envoy;
mod name;
mod pem;

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv4Net};

pub use self::name::HeaderNameError;
use crate::peer::PeerCertificate;
use crate::refusal::{ForwardedError, MAX_CERTIFICATE_HEADER};

/// A TLS-terminating proxy, its certificate header, and the addresses from which this header is accepted.
///
/// The proxy must remove the header from the requests of clients. The header is never combined with the certificate of
/// the connection.
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
    unix_sockets: bool,
}

/// The peer of a connection on which requests of a proxy arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerAddress {
    /// The peer connected to an IP address.
    Ip(IpAddr),
    /// The peer connected to a Unix socket. The permissions of the socket file determine who can connect.
    UnixSocket,
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address.ip())
    }
}

#[cfg(unix)]
impl From<tokio::net::unix::SocketAddr> for PeerAddress {
    fn from(_: tokio::net::unix::SocketAddr) -> Self {
        Self::UnixSocket
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    StructuredBytes,
    Envoy,
    PemOnOneLine,
    Base64,
}

impl TrustedProxy {
    /// Returns a proxy that writes `Client-Cert`: the DER as a structured byte sequence (RFC 9440).
    pub fn rfc9440(sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(Format::StructuredBytes, HeaderName::from_static("client-cert"), sources)
    }

    /// Returns a proxy that writes Envoy's `X-Forwarded-Client-Cert`: one element with `Cert`. `Hash` and `By` are the
    /// only other keys that are allowed.
    ///
    /// A second element and every other key are refused. Envoy does not escape the names in the client's certificate
    /// (`Subject`, `URI`, `DNS`), so a certificate could add elements. If a request passes several Envoy proxies, the
    /// first proxy must write the header, and the other proxies must forward it.
    pub fn envoy(sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(Format::Envoy, HeaderName::from_static("x-forwarded-client-cert"), sources)
    }

    /// Returns a proxy that writes `X-SSL-Client-Cert`: the PEM, URL-encoded as by nginx (`$ssl_client_escaped_cert`),
    /// or with spaces instead of line ends as by Apache (`%{SSL_CLIENT_CERT}s`).
    pub fn nginx(sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(Format::PemOnOneLine, HeaderName::from_static("x-ssl-client-cert"), sources)
    }

    /// Returns a proxy that writes `X-ARR-ClientCert`: the DER in base64, as Azure App Service sends it. YARP, Caddy
    /// and HAProxy can send the same value in headers of other names.
    pub fn app_service(sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(Format::Base64, HeaderName::from_static("x-arr-clientcert"), sources)
    }

    /// Sets a different header for the certificate. The proxy must write the certificate to this header, and must
    /// remove the header from the requests of clients.
    ///
    /// # Errors
    /// [`HeaderNameError`] for Envoy, which writes one header only, and for headers with a different purpose.
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

    /// Also accepts the header from each peer of a Unix socket ([`PeerAddress::UnixSocket`]). Only the proxy may have
    /// the permission to connect to this socket. Default: the header is accepted from IP addresses only.
    pub fn or_unix_sockets(self) -> Self {
        Self { unix_sockets: true, ..self }
    }

    fn new(format: Format, name: HeaderName, sources: impl IntoIterator<Item = IpNet>) -> Self {
        Self { format, name, sources: sources.into_iter().map(canonical).collect(), unix_sockets: false }
    }

    /// Returns the certificate of a request, or [`PeerCertificate::none`] if the header is absent or empty. `from` is
    /// the address of the peer.
    ///
    /// # Errors
    /// [`ForwardedError`], for example if the header was not sent from an address of the proxy, or if the header occurs
    /// twice. A header whose name differs from the configured name only in `_` and `-` is also an error: some servers
    /// treat the two names as the same name.
    pub fn certificate(&self, from: IpAddr, headers: &HeaderMap) -> Result<PeerCertificate, ForwardedError> {
        self.read(Some(PeerAddress::Ip(from)), headers)
    }

    /// Reads the header. Without the address of the peer, a header is not accepted.
    pub(crate) fn read(
        &self,
        from: Option<PeerAddress>,
        headers: &HeaderMap,
    ) -> Result<PeerCertificate, ForwardedError> {
        if headers.keys().any(|name| *name != self.name && with_hyphens(name).eq(with_hyphens(&self.name))) {
            return Err(ForwardedError::Ambiguous);
        }
        let mut values = headers.get_all(&self.name).iter();
        let Some(value) = values.next() else { return Ok(PeerCertificate::none()) };
        self.check_source(from.ok_or(ForwardedError::UnknownSource)?)?;
        if values.next().is_some() {
            return Err(ForwardedError::Repeated);
        }
        let value = value.as_bytes();
        if value.len() > MAX_CERTIFICATE_HEADER {
            return Err(ForwardedError::TooLarge { length: value.len() });
        }
        if value.is_empty() {
            return Ok(PeerCertificate::none());
        }
        let der = match self.format {
            // HAProxy's `:%[ssl_c_der,base64]:` has this value for a client without a certificate.
            Format::StructuredBytes if value == b"::" => return Ok(PeerCertificate::none()),
            Format::StructuredBytes => structured_bytes(value)?,
            Format::Envoy => envoy::certificate(value)?,
            Format::PemOnOneLine => pem::url_encoded(value)?,
            Format::Base64 => STANDARD.decode(value).map_err(|_| ForwardedError::Malformed)?,
        };
        PeerCertificate::from_der(&der).map_err(ForwardedError::Certificate)
    }

    fn check_source(&self, from: PeerAddress) -> Result<(), ForwardedError> {
        match from {
            PeerAddress::UnixSocket if self.unix_sockets => Ok(()),
            PeerAddress::UnixSocket => Err(ForwardedError::UnknownSource),
            PeerAddress::Ip(from) => {
                let from = from.to_canonical();
                let trusted = self.sources.iter().any(|source| source.contains(&from));
                trusted.then_some(()).ok_or(ForwardedError::UntrustedSource { from })
            }
        }
    }
}

/// Returns the IPv4 network of a network of IPv4-mapped IPv6 addresses. The address of a peer is compared in this form.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let v4 = mapped.addr().to_ipv4_mapped().zip(mapped.prefix_len().checked_sub(96));
    v4.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(network, IpNet::V4)
}

/// Returns the bytes of a name with each `_` replaced by `-`.
fn with_hyphens(name: &HeaderName) -> impl Iterator<Item = u8> {
    name.as_str().bytes().map(|byte| if byte == b'_' { b'-' } else { byte })
}

/// Reads a byte sequence (RFC 9440, section 2.2). Parameters are refused, because the RFC defines no parameters.
fn structured_bytes(value: &[u8]) -> Result<Vec<u8>, ForwardedError> {
    let item: sfv::Item = sfv::Parser::new(value).parse().map_err(|_| ForwardedError::Malformed)?;
    match item.bare_item {
        sfv::BareItem::ByteSequence(bytes) if item.params.is_empty() => Ok(bytes),
        _ => Err(ForwardedError::Malformed),
    }
}
