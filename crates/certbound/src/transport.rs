//! The interface to the network: one request, one response, and the TLS facts of the connection.

#[cfg(feature = "foreign-tls")]
mod foreign_tls;
#[cfg(feature = "hyper-rustls")]
mod hyper;
#[cfg(feature = "hyper-rustls")]
mod network;
#[cfg(not(feature = "hyper-rustls"))]
#[path = "transport/no_network.rs"]
mod network;
mod trace_context;
mod traced;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use certbound_core::certificate::Thumbprint;
pub use certbound_core::managed_identity::{ServerThumbprint, ServerThumbprintError};

#[cfg(feature = "foreign-tls")]
pub use self::foreign_tls::Dialer;
#[cfg(feature = "hyper-rustls")]
pub use self::hyper::HyperTransport;
pub(crate) use self::network::default_transport;
#[cfg(feature = "hyper-rustls")]
pub use self::network::{Network, NetworkBuilder};
pub(crate) use self::trace_context::Propagating;
pub use self::trace_context::{TraceContext, TraceHeaders, TraceHeadersError, TracePropagation};
pub(crate) use self::traced::Sending;
use crate::certificate::BindingCertificate;
use crate::error::TransportError;

/// Sends one HTTPS request and returns its response.
///
/// Implement this trait to use a different HTTP library or a test double. A transport does not retry, follow redirects
/// or interpret bodies.
pub trait Transport: Send + Sync + 'static {
    /// Sends `request` with the certificate of `via`, if `via` has a certificate.
    ///
    /// # Errors
    /// [`TransportError`]. With [`Via::Bound`] and [`Via::Resource`], the error must be
    /// [`CertificateNotRequested`](TransportError::CertificateNotRequested) if the server did not request the
    /// certificate. The transport must then send no HTTP request. With [`Via::Pinned`], the handshake must fail with
    /// [`ServerNotPinned`](TransportError::ServerNotPinned) if the server has a different certificate.
    fn send(
        &self,
        request: http::Request<Bytes>,
        via: Via<'_>,
    ) -> impl Future<Output = Result<Answer, TransportError>> + Send;
}

/// The certificate that a request presents in TLS, and the check of its server.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Via<'a> {
    /// No client certificate.
    Tls,
    /// No client certificate, for the platform's own service on this machine or at its link-local address. The URL
    /// selects plain HTTP, or HTTPS with the usual verification. The request never uses a proxy.
    Local,
    /// No client certificate, for the platform's own service over TLS. The server's certificate must have this
    /// thumbprint; its name, dates and issuer are not checked. The request never uses a proxy. Connections are reused
    /// for requests with the same pin.
    Pinned(&'a ServerThumbprint),
    /// The binding certificate, for a token service. Connections and TLS sessions are reused for requests with the same
    /// certificate.
    Bound(&'a BindingCertificate),
    /// The binding certificate, for a resource. Connections are reused for requests with the same certificate. TLS
    /// sessions are not resumed, so that every connection has its own request for the certificate. HTTP/2 is used if
    /// the resource offers it.
    Resource(&'a BindingCertificate),
}

impl<'a> Via<'a> {
    /// Returns the client certificate of the request, if the request presents a certificate.
    pub fn binding(self) -> Option<&'a BindingCertificate> {
        match self {
            Self::Tls | Self::Local | Self::Pinned(_) => None,
            Self::Bound(binding) | Self::Resource(binding) => Some(binding),
        }
    }
}

/// A response, with the TLS facts of its connection.
#[derive(Debug)]
pub struct Answer {
    /// Status, headers and the whole body.
    pub response: http::Response<Bytes>,
    /// The TLS facts of the response's connection.
    pub tls: TlsFacts,
}

/// The facts from the handshake of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// Whether the server requested a client certificate in the handshake of this connection or of the session that it
    /// resumed. The default transport reports `false` for every request without a client certificate.
    pub certificate_requested: bool,
    /// The thumbprint of the certificate that the client sent in the same handshake.
    pub presented: Option<Thumbprint>,
    /// Whether the handshake resumed an earlier session.
    pub resumed: bool,
}

/// The object-safe form of [`Transport`], so that a client can store any transport. This trait reports a refused
/// certificate in the same way for every transport.
pub(crate) trait AnyTransport: Send + Sync {
    fn send<'a>(
        &'a self,
        request: http::Request<Bytes>,
        via: Via<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, TransportError>> + Send + 'a>>;
}

impl<T: Transport> AnyTransport for T {
    fn send<'a>(
        &'a self,
        request: http::Request<Bytes>,
        via: Via<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, TransportError>> + Send + 'a>> {
        Box::pin(async move {
            let sent = Transport::send(self, request, via).await;
            match via.binding() {
                Some(_) => sent.map_err(TransportError::or_certificate_refused),
                // An alert can refuse only a certificate that the client presented.
                None => sent,
            }
        })
    }
}

impl<T: Transport> Transport for Arc<T> {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        Transport::send(&**self, request, via).await
    }
}

#[cfg(test)]
mod tests {
    use certbound_core::cause::Cause;

    use super::*;
    use crate::error::TlsAlert;

    /// A transport whose server closes each connection with the alert `bad_certificate`.
    struct Refusing;

    impl Transport for Refusing {
        async fn send(&self, _: http::Request<Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
            Err(TransportError::Interrupted { host: "h".to_owned(), reason: Cause::new(TlsAlert(42)) })
        }
    }

    #[tokio::test]
    async fn an_alert_refuses_a_certificate_only_if_one_was_presented() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/certificates/");
        let file = |name: &str| format!("{folder}{name}");
        let certificate = BindingCertificate::from_pem_files(file("p256.pem"), file("p256.pkcs8.pem"));
        let certificate = certificate.unwrap();
        for (via, code) in [
            (Via::Bound(&certificate), "certificate_refused"),
            (Via::Resource(&certificate), "certificate_refused"),
            (Via::Tls, "connection_interrupted"),
            (Via::Local, "connection_interrupted"),
        ] {
            let request = http::Request::get("https://h/").body(Bytes::new()).unwrap();
            let error = AnyTransport::send(&Refusing, request, via).await.unwrap_err();
            assert_eq!(error.code(), code, "{via:?}");
        }
    }
}
