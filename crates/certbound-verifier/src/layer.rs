//! A tower layer: the axum, tonic or plain hyper service behind the layer gets only requests whose token was accepted.

mod request;
mod service;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, HeaderMap, Response};

pub use self::request::opted_in;
pub(crate) use self::request::{has_token, has_two_lengths};
pub use self::service::{AnswerBody, Verify};
use crate::answer::{Answer, AnswerStyle};
use crate::authorization::{Authorization, Scheme};
use crate::forwarded::{PeerAddress, TrustedProxy};
use crate::peer::PeerCertificate;
use crate::refusal::Refusal;
use crate::verified::Verified;
use crate::verifier::Verifier;

type CertificateOf = Arc<dyn Fn(&Extensions) -> PeerCertificate + Send + Sync>;
type AddressOf = Arc<dyn Fn(&Extensions) -> Option<PeerAddress> + Send + Sync>;

/// Passes a request to the service if a [`Verifier`] accepts its token, and adds a [`Verified`] to the request's
/// extensions. The layer answers all other requests itself.
///
/// The certificate is the certificate of the connection: a [`PeerCertificate`] in the request's extensions. The code
/// that accepts connections must insert this value. Without it, the request has no certificate. Headers are not
/// trusted, unless [`VerifyLayer::behind`] sets a proxy.
///
/// A request with both `Content-Length` and `Transfer-Encoding` is refused, and the response closes its HTTP/1
/// connection. A server may have removed `Content-Length` before, as hyper does since 1.11. In this case the layer does
/// not refuse the request, and the server uses the chunked body.
///
/// The body of a refused request is not read. A token in a form body is never read, so the layer verifies the token in
/// the header even if the body has a second token.
#[derive(Clone)]
pub struct VerifyLayer {
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    verifier: Verifier,
    source: Source,
    style: AnswerStyle,
    opt_in: bool,
}

#[derive(Clone)]
enum Source {
    Connection(CertificateOf),
    Proxy(TrustedProxy, AddressOf),
}

impl VerifyLayer {
    /// Makes a layer that uses the connection's certificate. Its responses to refusals have the style
    /// [`AnswerStyle::for_binding`] of the verifier's binding policy.
    pub fn new(verifier: Verifier) -> Self {
        let of_extension: CertificateOf =
            Arc::new(|extensions| extensions.get().cloned().unwrap_or(PeerCertificate::none()));
        let style = AnswerStyle::for_binding(verifier.inner.policy.binding);
        let source = Source::Connection(of_extension);
        Self { settings: Arc::new(Settings { verifier, source, style, opt_in: false }) }
    }

    /// Takes the connection's certificate from another extension, such as tonic's `TlsConnectInfo`.
    pub fn certificate_from(
        self,
        of: impl Fn(&Extensions) -> PeerCertificate + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.source = Source::Connection(Arc::new(of)))
    }

    /// Takes the certificate from a proxy's header, and never from the connection. The peer's address must be a
    /// [`PeerAddress`] or a `SocketAddr` in the extensions.
    pub fn behind(self, proxy: TrustedProxy) -> Self {
        let of: AddressOf = Arc::new(|extensions| {
            let of_tcp = || extensions.get::<SocketAddr>().map(|address| PeerAddress::from(*address));
            extensions.get::<PeerAddress>().copied().or_else(of_tcp)
        });
        self.with(|settings| settings.source = Source::Proxy(proxy, of))
    }

    /// Takes the peer's address from another extension, such as axum's `ConnectInfo`. Call this method after
    /// [`VerifyLayer::behind`]; without a proxy it has no effect.
    pub fn address_from(self, of: impl Fn(&Extensions) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        self.with(|settings| {
            if let Source::Proxy(_, address) = &mut settings.source {
                *address = Arc::new(move |extensions| of(extensions).map(PeerAddress::Ip));
            }
        })
    }

    /// Sets the style of the responses to refusals.
    pub fn style(self, style: AnswerStyle) -> Self {
        self.with(|settings| settings.style = style)
    }

    /// Replaces the style of gRPC by the style of the binding policy. Refusals in the style of gRPC have the HTTP status
    /// 200, which a proxy would read as an acceptance.
    pub(crate) fn over_http(self) -> Self {
        match self.settings.style {
            AnswerStyle::Grpc => {
                let usual = AnswerStyle::for_binding(self.settings.verifier.inner.policy.binding);
                self.style(usual)
            }
            _ => self,
        }
    }

    /// Requires `x-ms-tokenboundauth: true`, exactly once, in requests with `mtls_pop`, as Azure Key Vault does.
    pub fn require_opt_in(self) -> Self {
        self.with(|settings| settings.opt_in = true)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// Decides about a request without its body, as the layer does. This method is for servers that are not tower
    /// services.
    ///
    /// # Errors
    /// [`Refusal`] if the request is not accepted.
    pub async fn verify(&self, request: &Parts) -> Result<Verified, Refusal> {
        let settings = &*self.settings;
        let began = settings.verifier.inner.began();
        let read = settings.read(request);
        if let Err(refusal) = &read {
            settings.verifier.inner.decided(began, Some(refusal));
        }
        let (authorization, peer) = read?;
        settings.verifier.verify(&authorization, &peer).await
    }

    /// Refuses a request before its token is read, and reports this decision to the observer.
    pub(crate) fn refuse(&self, refusal: Refusal) -> Refusal {
        let inner = &self.settings.verifier.inner;
        inner.decided(inner.began(), Some(&refusal));
        refusal
    }

    /// The verifier.
    pub fn verifier(&self) -> &Verifier {
        &self.settings.verifier
    }

    /// Logs a refusal and returns the response to the request.
    pub fn answer(&self, refusal: &Refusal) -> Response<Bytes> {
        tracing::info!(code = refusal.code(), reason = %refusal, "request refused");
        self.response(refusal)
    }

    pub(crate) fn response(&self, refusal: &Refusal) -> Response<Bytes> {
        Answer::new(refusal, &self.settings.style).response()
    }

    /// Returns the client that a request names, for a log. The token may be forged.
    pub(crate) fn claimed_client(&self, request: &Parts) -> Option<String> {
        let authorization = Authorization::from_headers(&request.headers).ok()?;
        self.settings.verifier.inner.claimed_client(authorization)
    }
}

impl Settings {
    /// Returns the token and the certificate of a request.
    fn read<'r>(&self, request: &'r Parts) -> Result<(Authorization<'r>, PeerCertificate), Refusal> {
        let authorization = self.request(request.uri.query(), &request.headers)?;
        Ok((authorization, self.certificate(&request.headers, &request.extensions)?))
    }

    /// Checks the head of a request and returns its token, which is not parsed here.
    fn request<'r>(&self, query: Option<&str>, headers: &'r HeaderMap) -> Result<Authorization<'r>, Refusal> {
        if has_two_lengths(headers) {
            return Err(Refusal::AmbiguousLength);
        }
        if query.is_some_and(|query| has_token(query.as_bytes())) {
            return Err(Refusal::TokenInUrl);
        }
        let authorization = Authorization::from_headers(headers)?;
        if self.opt_in && authorization.scheme() == Scheme::MtlsPop && !opted_in(headers) {
            return Err(Refusal::OptInMissing);
        }
        Ok(authorization)
    }

    fn certificate(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<PeerCertificate, Refusal> {
        match &self.source {
            Source::Connection(of) => Ok(of(extensions)),
            Source::Proxy(proxy, address_of) => Ok(proxy.read(address_of(extensions), headers)?),
        }
    }
}

impl<S> tower_layer::Layer<S> for VerifyLayer {
    type Service = Verify<S>;

    fn layer(&self, inner: S) -> Verify<S> {
        Verify::new(inner, self.clone())
    }
}
