//! The network configuration of a client: proxy, trusted roots and limits.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use certbound_https::{InvalidProxy, Limits, Proxy};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::AnyTransport;
#[cfg(feature = "foreign-tls")]
use super::foreign_tls::Dialer;
use crate::error::NetworkError;
use crate::transport::HyperTransport;

/// A network configuration. Clients with clones of one value share connections, unless they present different
/// certificates. A certificate that is loaded again has its own connections.
///
/// Connections belong to the runtime in which they were opened. Clients in different runtimes do not share connections.
///
/// Redirects are never followed. Requests to loopback and link-local addresses never use a proxy.
///
/// By default, `HTTPS_PROXY` (else `ALL_PROXY`) and `NO_PROXY` select the proxy. The default trust store is the
/// system's; on Linux, `SSL_CERT_FILE` can name a different file. The default time limits are 5 s for connecting and
/// 30 s for a whole HTTP exchange. The default limit of a response body is 1 MiB. The limit of the headers is 64 KiB.
#[derive(Clone, Debug)]
pub struct Network {
    transport: Arc<HyperTransport>,
    /// The trusted roots that the program gave, in PEM.
    #[cfg(feature = "foreign-tls")]
    roots: Option<Arc<[u8]>>,
}

impl Network {
    /// Returns the default configuration of the process. The configuration is created at first use and then shared.
    ///
    /// # Errors
    /// [`NetworkError`] if the environment's proxy or the system's trust store cannot be used.
    pub fn from_env() -> Result<Self, NetworkError> {
        static SHARED: OnceLock<Network> = OnceLock::new();
        if let Some(network) = SHARED.get() {
            return Ok(network.clone());
        }
        let network = Self::builder().build()?;
        Ok(SHARED.get_or_init(|| network).clone())
    }

    /// Returns a builder that begins with the defaults.
    pub fn builder() -> NetworkBuilder {
        NetworkBuilder { proxy: ProxySource::Environment, roots: None, limits: Limits::default() }
    }

    /// Returns the transport with this configuration. Use it to send your own requests over the same connections.
    pub fn transport(&self) -> Arc<HyperTransport> {
        Arc::clone(&self.transport)
    }

    /// Returns the part of this configuration that a transport with a different TLS library needs. The cargo feature
    /// `foreign-tls` adds this function.
    #[cfg(feature = "foreign-tls")]
    pub fn dialer(&self) -> Dialer {
        Dialer::new(self.transport.options().clone(), self.roots.clone())
    }

    /// Returns host and port of the proxy that requests to `url` use. The result is `None` if the requests use no
    /// proxy. The user name and the password of the proxy are omitted.
    pub fn proxy_for(&self, url: &http::Uri) -> Option<String> {
        self.transport.proxy_for(url)
    }
}

/// Returns the transport of a client for which no transport was chosen.
pub(crate) fn default_transport() -> Result<Arc<dyn AnyTransport>, NetworkError> {
    Ok(Network::from_env()?.transport())
}

/// The settings of a [`Network`].
#[derive(Clone, Debug)]
pub struct NetworkBuilder {
    proxy: ProxySource,
    roots: Option<Vec<u8>>,
    limits: Limits,
}

#[derive(Clone)]
enum ProxySource {
    Environment,
    None,
    Url(String),
}

impl fmt::Debug for ProxySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "Environment",
            Self::None => "None",
            // The URL may contain a password.
            Self::Url(_) => "Url(..)",
        })
    }
}

impl NetworkBuilder {
    /// Sends all requests through the HTTP proxy at `url` (`http://[user:password@]host:port`), except requests to
    /// loopback and link-local addresses. The proxy variables of the environment are ignored.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = ProxySource::Url(url.into());
        self
    }

    /// Uses no proxy. The proxy variables of the environment are ignored.
    pub fn no_proxy(mut self) -> Self {
        self.proxy = ProxySource::None;
        self
    }

    /// Trusts exactly the certificates of this PEM text, and not the system's trust store.
    pub fn only_roots_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Sets the time limit for a connection (TCP, tunnel and TLS together). The default is 5 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// Sets the time limit for a whole HTTP exchange, including the connection. The default is 30 s.
    pub fn exchange_timeout(mut self, limit: Duration) -> Self {
        self.limits.exchange = limit;
        self
    }

    /// Sets the size of the largest response body that is read. The default is 1 MiB.
    pub fn max_body_bytes(mut self, limit: usize) -> Self {
        self.limits.body = limit;
        self
    }

    /// Builds the configuration.
    ///
    /// # Errors
    /// [`NetworkError`], for example for a proxy that is not an `http://` URL, roots that are not certificates, or a
    /// system without a usable trust store.
    pub fn build(self) -> Result<Network, NetworkError> {
        let proxy = match &self.proxy {
            ProxySource::Environment => Proxy::from_env(),
            ProxySource::None => Ok(Proxy::default()),
            ProxySource::Url(url) => Proxy::at(url, "the configuration"),
        };
        let proxy = proxy.map_err(|InvalidProxy { from }| NetworkError::Proxy { from })?;
        let roots = self.roots.as_deref().map(read_roots).transpose()?;
        if roots.is_none() && cfg!(target_os = "linux") {
            check_trust_file(std::env::var_os("SSL_CERT_FILE"))?;
        }
        let transport = HyperTransport::new(proxy, roots, self.limits).map_err(naming_trust_file)?;
        Ok(Network {
            transport: Arc::new(transport),
            #[cfg(feature = "foreign-tls")]
            roots: self.roots.map(Arc::from),
        })
    }
}

/// The largest accepted file of trusted roots, in bytes. The file of a Linux distribution has about 0.25 MiB.
const MAX_TRUST_FILE: u64 = 16 * 1024 * 1024;

/// Refuses an unusable file of trusted roots. The trust store would read any file to its end, even a device, and its
/// error would not name the file.
fn check_trust_file(path: Option<std::ffi::OsString>) -> Result<(), NetworkError> {
    let Some(path) = path else { return Ok(()) };
    let shown = path.to_string_lossy().into_owned();
    let refuse = |reason: &str| {
        Err(NetworkError::TrustStore { reason: format!("SSL_CERT_FILE names {shown}, {reason}").into() })
    };
    match std::fs::metadata(&path) {
        Err(error) => refuse(&format!("which cannot be read: {error}")),
        Ok(facts) if !facts.is_file() => refuse("which is not a regular file"),
        Ok(facts) if facts.len() > MAX_TRUST_FILE => refuse("which is larger than 16 MiB"),
        Ok(_) => match std::fs::File::open(&path) {
            Err(error) => refuse(&format!("which cannot be read: {error}")),
            Ok(_) => Ok(()),
        },
    }
}

/// Returns the error with the name of the file, if `SSL_CERT_FILE` names a file without certificates.
fn naming_trust_file(error: NetworkError) -> NetworkError {
    match (std::env::var_os("SSL_CERT_FILE"), error) {
        (Some(path), NetworkError::TrustStore { .. }) if cfg!(target_os = "linux") => {
            let shown = path.to_string_lossy();
            let reason = format!("SSL_CERT_FILE names {shown}, which contains no usable CA certificate");
            NetworkError::TrustStore { reason: reason.into() }
        }
        (_, error) => error,
    }
}

fn read_roots(pem: &[u8]) -> Result<RootCertStore, NetworkError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| NetworkError::Roots)?;
        roots.add(certificate).map_err(|_| NetworkError::Roots)?;
    }
    if roots.is_empty() { Err(NetworkError::Roots) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_password_is_not_shown() {
        let builder = Network::builder().proxy("http://user:hidden@proxy:3128");
        assert!(!format!("{builder:?} {builder:#?}").contains("hidden"));
    }

    #[test]
    fn the_proxy_of_a_url_is_named_without_its_password() {
        let network = Network::builder().proxy("http://user:hidden@proxy:3128").build().unwrap();
        let proxy = |url: &'static str| network.proxy_for(&http::Uri::from_static(url));
        assert_eq!(proxy("https://login.example/"), Some("proxy:3128".to_owned()));
        assert_eq!(proxy("https://127.0.0.1/"), None, "loopback uses no proxy");
    }

    #[test]
    fn a_trust_file_is_a_file() {
        let refused = |path: &str| check_trust_file(Some(path.into())).unwrap_err().to_string();
        for path in ["/dev/zero", "/no/such/file", "/", ""] {
            assert!(refused(path).contains("SSL_CERT_FILE"), "{path}");
        }
        assert_eq!(check_trust_file(None), Ok(()));
        assert_eq!(check_trust_file(Some(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into())), Ok(()));
    }
}
