//! START HERE: the transport, which uses OpenSSL for vaults and rustls for every other request.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use certbound::error::{NetworkError, TransportError};
use certbound::resource::ResourceProfile;
use certbound::transport::{Answer, Dialer, HyperTransport, TlsFacts, Via};
use certbound::{BindingCertificate, Network, Transport};
use certbound_core::cause::Cause;
use http::{Request, Uri};

use crate::context::ClientContext;
use crate::exchange;
use crate::stream::Stream;

/// Sends requests to vaults by OpenSSL, and all other requests by the usual transport of a network configuration.
///
/// Only a request with a bound token to a resource can use OpenSSL. For each of these requests the transport opens a
/// connection and sends up to two HTTP requests on it, so a request takes longer than with rustls. The HTTP version is
/// 1.1.
///
/// OpenSSL trusts the roots of the network configuration, or the roots of its own default store.
///
/// If this program does not have the key of the certificate, the transport sends the request by rustls, also to a
/// vault. The call succeeds only if the vault requests the certificate in its first handshake, otherwise it fails with
/// [`KeyNotExportable`](TransportError::KeyNotExportable).
#[derive(Clone)]
pub struct OpensslTransport {
    usual: Arc<HyperTransport>,
    dialer: Dialer,
    context: ClientContext,
    hosts: Arc<[String]>,
}

impl OpensslTransport {
    /// Creates a transport with the proxy, the limits and the trusted roots of `network`. If `network` has no roots of
    /// its own, this function reads the file of OpenSSL's default store. OpenSSL reads the folder of that store later.
    ///
    /// # Errors
    /// [`NetworkError::Roots`] and [`NetworkError::TrustStore`], if OpenSSL cannot read the trusted roots.
    pub fn new(network: &Network) -> Result<Self, NetworkError> {
        let dialer = network.dialer();
        let context =
            ClientContext::new(dialer.only_roots_pem()).map_err(|error| match dialer.only_roots_pem() {
                Some(_) => NetworkError::Roots,
                None => NetworkError::TrustStore { reason: Cause::new(error) },
            })?;
        Ok(Self { usual: network.transport(), dialer, context, hosts: Arc::default() })
    }

    /// Also uses OpenSSL for these hosts, which are no vaults. The comparison ignores case.
    #[must_use]
    pub fn with_hosts<S: Into<String>>(mut self, hosts: impl IntoIterator<Item = S>) -> Self {
        self.hosts = hosts.into_iter().map(|host| host.into().to_ascii_lowercase()).collect();
        self
    }

    /// Returns whether requests with a bound token to `host` use OpenSSL. The result is true for the hosts of vaults in
    /// every cloud.
    pub fn uses_openssl_for(&self, host: &str) -> bool {
        ResourceProfile::for_host(host) == ResourceProfile::key_vault()
            || self.hosts.iter().any(|one| one.eq_ignore_ascii_case(host))
    }

    /// Returns the version of the OpenSSL library that this program uses, such as `OpenSSL 3.0.19 27 Jan 2026`.
    pub fn library() -> &'static str {
        openssl::version::version()
    }

    /// Sends a request by rustls if the first handshake requests the certificate, and otherwise sends nothing. rustls
    /// does not need the bytes of the key.
    async fn send_at_once(
        &self,
        request: Request<Bytes>,
        binding: &BindingCertificate,
    ) -> Result<Answer, TransportError> {
        match Transport::send(&self.usual, request, Via::Resource(binding)).await {
            Err(TransportError::CertificateNotRequested { host }) => {
                Err(TransportError::KeyNotExportable { host })
            }
            other => other,
        }
    }

    async fn send_late(
        &self,
        request: Request<Bytes>,
        binding: &BindingCertificate,
    ) -> Result<Answer, TransportError> {
        let url = request.uri().clone();
        let host = host_of(&url);
        // OpenSSL would accept a certificate for any name below a host that begins with a dot.
        if url.scheme_str() != Some("https") || host.is_empty() || host.starts_with('.') {
            return Err(TransportError::NotHttps);
        }
        let Some(key) = binding.dangerous_private_key() else {
            return self.send_at_once(request, binding).await;
        };
        let client = self.context.client(host, (binding, key));
        let client = client
            .map_err(|error| TransportError::Tls { host: host.to_owned(), reason: Cause::new(error) })?;
        let connect = async { Stream::connect(host, client, self.dialer.dial(&url).await?).await };
        let exchange = async {
            let stream = self.dialer.in_time_to_connect(&url, connect).await?;
            exchange::run(&self.dialer, host, stream, request).await
        };
        let response = self.dialer.in_time_to_exchange(&url, exchange).await?;
        let presented = Some(binding.thumbprint());
        Ok(Answer { response, tls: TlsFacts { certificate_requested: true, presented, resumed: false } })
    }
}

/// Returns the host of `url`, without the brackets of an IPv6 address.
fn host_of(url: &Uri) -> &str {
    url.host().unwrap_or_default().trim_matches(['[', ']'])
}

impl Transport for OpensslTransport {
    async fn send(&self, request: Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        match via {
            Via::Resource(binding) if self.uses_openssl_for(host_of(request.uri())) => {
                self.send_late(request, binding).await
            }
            via => Transport::send(&self.usual, request, via).await,
        }
    }
}

impl fmt::Debug for OpensslTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpensslTransport").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}
