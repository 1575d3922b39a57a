//! A tower layer: axum, tonic and plain hyper services get only requests whose token was accepted.

mod body;
mod request;
mod service;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, HeaderMap, Response};

pub use self::body::AnswerBody;
pub use self::request::opted_in;
pub(crate) use self::request::{has_token, has_two_lengths};
pub use self::service::Verify;
use crate::answer::{Answer, AnswerStyle};
use crate::authorization::{Authorization, Scheme};
use crate::forwarded::TrustedProxy;
use crate::peer::PeerCertificate;
use crate::refusal::Refusal;
use crate::verified::Verified;
use crate::verifier::Verifier;

type CertificateOf = Arc<dyn Fn(&Extensions) -> PeerCertificate + Send + Sync>;
type AddressOf = Arc<dyn Fn(&Extensions) -> Option<IpAddr> + Send + Sync>;

/// Lets requests through whose token a [`Verifier`] accepts, with a [`Verified`] among their extensions, and answers the
/// others itself.
///
/// The certificate is the connection's: a [`PeerCertificate`] among the request's extensions, which whoever accepts
/// connections puts there; without one there is no certificate. Nothing of a request is believed that the connection
/// did not say, unless [`VerifyLayer::behind`] names a proxy.
///
/// A request with both `Content-Length` and `Transfer-Encoding` is refused, and the answer ends its HTTP/1 connection. A
/// server may have dropped the length before, as hyper does since 1.11: then the chunked body counts.
///
/// The body of a refused request is not read. A token in a form body is never read either. A request that has one there and another in the header is judged by the header.
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
    /// With the connection's certificate and answers by RFC 6750, under the schemes of the verifier's binding policy.
    pub fn new(verifier: Verifier) -> Self {
        let of_extension: CertificateOf =
            Arc::new(|extensions| extensions.get().cloned().unwrap_or(PeerCertificate::none()));
        let style = AnswerStyle::for_binding(verifier.inner.policy.binding);
        let source = Source::Connection(of_extension);
        Self { settings: Arc::new(Settings { verifier, source, style, opt_in: false }) }
    }

    /// Takes the connection's certificate from somewhere else among the extensions: tonic's `TlsConnectInfo`, say.
    pub fn certificate_from(
        self,
        of: impl Fn(&Extensions) -> PeerCertificate + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.source = Source::Connection(Arc::new(of)))
    }

    /// Takes the certificate from a proxy's header, and never from the connection. The peer's address is a `SocketAddr`
    /// among the extensions.
    pub fn behind(self, proxy: TrustedProxy) -> Self {
        let of: AddressOf = Arc::new(|extensions| extensions.get::<SocketAddr>().map(SocketAddr::ip));
        self.with(|settings| settings.source = Source::Proxy(proxy, of))
    }

    /// Takes the peer's address from somewhere else among the extensions: axum's `ConnectInfo`, say. After
    /// [`VerifyLayer::behind`]; without effect otherwise.
    pub fn address_from(self, of: impl Fn(&Extensions) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        self.with(|settings| {
            if let Source::Proxy(_, address) = &mut settings.source {
                *address = Arc::new(of);
            }
        })
    }

    /// Words refusals in another style.
    pub fn style(self, style: AnswerStyle) -> Self {
        self.with(|settings| settings.style = style)
    }

    /// Wants `x-ms-tokenboundauth: true`, exactly once, of callers with `mtls_pop`, as vaults do.
    pub fn require_opt_in(self) -> Self {
        self.with(|settings| settings.opt_in = true)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// Decides on a request without its body. What the layer does, for servers that are not tower services.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn verify(&self, request: &Parts) -> Result<Verified, Refusal> {
        let settings = &*self.settings;
        let authorization = settings.request(request.uri.query(), &request.headers)?;
        let peer = settings.certificate(&request.headers, &request.extensions)?;
        settings.verifier.verify(&authorization, &peer).await
    }

    /// The answer to a refused request.
    pub fn answer(&self, refusal: &Refusal) -> Response<Bytes> {
        tracing::info!(code = refusal.code(), reason = %refusal, "request refused");
        Answer::new(refusal, &self.settings.style).response()
    }
}

impl Settings {
    /// What the request says, without the token's content.
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
