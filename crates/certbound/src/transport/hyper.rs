//! The default transport: real HTTPS, with a separate HTTP client for each TLS identity.

mod clients;
mod pinned;
mod trust;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_core::cause::Cause;
use certbound_core::managed_identity::ServerThumbprint;
use certbound_https as https;
use certbound_https::{Client, Identity, Limits, Options, Proxy};
use rustls::{CertificateError, OtherError, RootCertStore};

use self::clients::Clients;
use self::pinned::NotPinned;
use self::trust::ServerTrust;
use super::{Answer, TlsFacts, Transport, Via};
use crate::certificate::{BindingCertificate, signer_error};
use crate::error::{NetworkError, TransportError};

/// The transport that sends real HTTPS over TCP.
///
/// Every binding certificate has its own TLS configurations and connections. The transport creates a configuration once
/// and never changes it, because a live connection would still use the old certificate. The transport finds the
/// connections by the certificate and the handle of its key. It keeps at most 1024 HTTP clients (twice
/// [`HyperTransport::MAX_BINDINGS`]). For a further client, it removes the client that was used least recently. The
/// connections of a certificate end when its last clone is dropped.
///
/// A connection belongs to the runtime in which it was opened, and ends with that runtime.
pub struct HyperTransport {
    trust: ServerTrust,
    options: Options,
    clients: Arc<Clients>,
}

/// The time limit of the TCP connection for [`Via::Local`]. A local service accepts the connection within this time, or
/// it does not exist.
const LOCAL_CONNECT: Duration = Duration::from_secs(1);

impl HyperTransport {
    /// The number of binding certificates with kept connections, if each certificate has connections to a token service
    /// and to a resource. The limit of HTTP clients is twice this number.
    pub const MAX_BINDINGS: usize = 512;

    pub(crate) fn new(
        proxy: Proxy,
        roots: Option<RootCertStore>,
        limits: Limits,
    ) -> Result<Self, NetworkError> {
        let trust = ServerTrust::new(roots)?;
        // An unusable trust store, and TLS without FIPS in a build that requires FIPS, must be errors of this function,
        // not of the first request.
        trust.anonymous().map_err(unusable)?;
        let options = Options { limits, proxy, ..Options::default() };
        Ok(Self { trust, options, clients: Clients::new(2 * Self::MAX_BINDINGS) })
    }

    /// Returns the limits and the proxy.
    #[cfg(feature = "foreign-tls")]
    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Returns host and port of the proxy for `url`.
    pub(super) fn proxy_for(&self, url: &http::Uri) -> Option<String> {
        self.options.proxy.address_for(url)
    }

    fn client_for(&self, via: Via<'_>) -> Result<Client, rustls::Error> {
        self.clients.get(via, || match via {
            Via::Tls => Ok(self.client_of(self.trust.anonymous()?)),
            Via::Bound(binding) => Ok(self.client_of(self.trust.presenting(binding)?)),
            Via::Resource(binding) => {
                Ok(self.client_of(self.trust.presenting(binding)?.without_sessions().with_http2()))
            }
            Via::Local => self.local_client(),
            Via::Pinned(pin) => self.pinned_client(*pin),
        })
    }

    fn client_of(&self, identity: Identity) -> Client {
        Client::new(identity, self.options.clone())
    }

    /// Creates the client for the platform's own service. The client uses no proxy, because there is no proxy between a
    /// program and its platform.
    fn local_client(&self) -> Result<Client, rustls::Error> {
        let limits = self.options.limits;
        let tcp_limit = Some(limits.connect.min(LOCAL_CONNECT));
        let to_platform = Options { limits, tcp_limit, plain_http: true, ..Options::default() };
        Ok(Client::new(self.trust.anonymous()?, to_platform))
    }

    /// Creates the client for a pinned server. The client resumes no sessions, so that each connection shows the
    /// server's certificate.
    fn pinned_client(&self, pin: ServerThumbprint) -> Result<Client, rustls::Error> {
        let identity = ServerTrust::pinned(pin).anonymous()?.without_sessions();
        Ok(Client::new(identity, Options { limits: self.options.limits, ..Options::default() }))
    }
}

impl Transport for HyperTransport {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let host = request.uri().host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let client = match self.client_for(via) {
            Ok(client) => client,
            Err(error) => return Err(TransportError::Tls { host, reason: Cause::new(error) }),
        };
        let https::Answer { response, tls } =
            client.send(request).await.map_err(|error| explain(host, error))?;
        let presented = via.binding().filter(|_| tls.presented).map(BindingCertificate::thumbprint);
        let tls = TlsFacts { certificate_requested: tls.presented, presented, resumed: tls.resumed };
        Ok(Answer { response, tls })
    }
}

/// Returns the reason why no connection can use this TLS configuration.
fn unusable(error: rustls::Error) -> NetworkError {
    match https::fips::refusal(&error) {
        Some(refusal) => NetworkError::NotFips(refusal.clone()),
        None => NetworkError::TrustStore { reason: Cause::new(error) },
    }
}

pub(super) fn explain(host: String, error: https::Error) -> TransportError {
    match error {
        https::Error::NotHttps => TransportError::NotHttps,
        https::Error::TimedOut { phase, limit, proxy } => {
            TransportError::TimedOut { host, phase, limit, proxy }
        }
        https::Error::Connect { reason } => TransportError::Connect { host, reason },
        // The configuration refuses a proxy of a different kind, so this error does not occur.
        https::Error::ProxyKind => TransportError::Proxy {
            host,
            proxy: "of an unsupported kind".to_owned(),
            reason: Cause::new(error),
        },
        https::Error::Proxy { proxy, reason } => TransportError::Proxy { host, proxy, reason },
        https::Error::ProxyRefused { proxy, status } => {
            TransportError::ProxyRefused { host, proxy, status: status.as_u16() }
        }
        https::Error::Tls { cause } => {
            if let Some(NotPinned { pinned, presented }) = not_pinned(&*cause) {
                return TransportError::ServerNotPinned { host, pinned: *pinned, presented: *presented };
            }
            if let Some(error) = cause.downcast_ref().and_then(signer_error) {
                return TransportError::Signer { host, reason: Cause::new(error.clone()) };
            }
            TransportError::Tls { host, reason: cause }
        }
        https::Error::CertificateNotRequested => TransportError::CertificateNotRequested { host },
        https::Error::EndedAfterCertificate { reason } => {
            TransportError::EndedAfterCertificate { host, reason }
        }
        https::Error::Interrupted { reason } => TransportError::Interrupted { host, reason },
        https::Error::TooLarge { limit } => TransportError::TooLarge { host, limit },
    }
}

/// Finds the error of the check of a pinned certificate in an error of the TLS library.
fn not_pinned<'a>(error: &'a (dyn Error + Send + Sync + 'static)) -> Option<&'a NotPinned> {
    match error.downcast_ref()? {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => cause.downcast_ref(),
        _ => None,
    }
}

impl fmt::Debug for HyperTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperTransport")
            .field("trust", &self.trust)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
