//! The interface to the network: one request, one answer, and the TLS facts of the connection.

#[cfg(feature = "hyper-rustls")]
mod hyper;
#[cfg(feature = "hyper-rustls")]
mod network;
#[cfg(not(feature = "hyper-rustls"))]
#[path = "transport/no_network.rs"]
mod network;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use certbound_core::certificate::Thumbprint;
pub use certbound_core::managed_identity::{ServerThumbprint, ServerThumbprintError};

#[cfg(feature = "hyper-rustls")]
pub use self::hyper::HyperTransport;
pub(crate) use self::network::default_transport;
#[cfg(feature = "hyper-rustls")]
pub use self::network::{Network, NetworkBuilder};
use crate::certificate::BindingCertificate;
use crate::error::TransportError;

/// Sends one HTTPS request and returns its answer.
///
/// Implement it to put another HTTP stack, or a test double, beneath the client. It does not retry, follow redirects,
/// or look into bodies.
pub trait Transport: Send + Sync + 'static {
    /// Sends `request` with the certificate that `via` names, if any.
    ///
    /// # Errors
    /// [`TransportError`], with nothing of the answer kept. For [`Via::Bound`] and [`Via::Resource`] that includes
    /// [`CertificateNotRequested`](TransportError::CertificateNotRequested), before the first byte of HTTP; for
    /// [`Via::Pinned`] it includes [`ServerNotPinned`](TransportError::ServerNotPinned), in the handshake.
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
    /// No client certificate, to the platform's own service on this machine or at its link-local address: plain HTTP, or
    /// HTTPS verified as anywhere else, as the URL has it. Never through a proxy.
    Local,
    /// No client certificate, to the platform's own service under TLS: the server is the one whose certificate has this
    /// thumbprint, whatever it is called and whoever signed it. Never through a proxy; connections are kept, per pin.
    Pinned(&'a ServerThumbprint),
    /// The binding certificate, to a token service: connections and sessions are kept, per binding.
    Bound(&'a BindingCertificate),
    /// The binding certificate, to a resource: connections are kept per binding, sessions are not, so that every
    /// connection shows anew that the resource asked for the certificate. HTTP/2 is used where the resource offers it.
    Resource(&'a BindingCertificate),
}

impl<'a> Via<'a> {
    /// The certificate that is presented, if any.
    pub fn binding(self) -> Option<&'a BindingCertificate> {
        match self {
            Self::Tls | Self::Local | Self::Pinned(_) => None,
            Self::Bound(binding) | Self::Resource(binding) => Some(binding),
        }
    }
}

/// An answer, with the TLS facts of its connection.
#[derive(Debug)]
pub struct Answer {
    /// Status, headers and the whole body.
    pub response: http::Response<Bytes>,
    /// The TLS facts of the answer's connection.
    pub tls: TlsFacts,
}

/// The facts from the handshake of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// Whether the server asked for a client certificate in the handshake of this connection or of the session that it
    /// resumed.
    pub certificate_requested: bool,
    /// The certificate that was sent.
    pub presented: Option<Thumbprint>,
    /// Whether the handshake resumed an earlier session.
    pub resumed: bool,
}

/// The object-safe form of [`Transport`], so that a client can store any transport. It reports a refused certificate in
/// the same way for every transport.
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
                // Without a certificate an alert cannot refuse one.
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

    /// Its server closes each connection with the alert `bad_certificate`.
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
