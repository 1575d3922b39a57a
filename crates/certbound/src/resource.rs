//! Calls of a resource. The token determines both the header and the TLS certificate, so the header and the certificate
//! always belong together.

mod challenge;
mod prepare;
mod profile;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
pub use certbound_core::scope::{ResourceScope, ScopeError};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tracing::Instrument as _;
use zeroize::Zeroizing;

pub use self::profile::ResourceProfile;
use crate::acquire::{Acquire, AnyIssuer, hit_of_prepared};
use crate::background::Background;
use crate::cache::Kind;
use crate::cache::key::{HeadHash, KeyHead};
use crate::error::{Error, Misuse};
use crate::rejected::TokenHash;
use crate::span::{self, Target};
use crate::token::{BoundToken, Scheme};
use crate::transport::{AnyTransport, TlsFacts, Via};

/// A resource that is called with bound tokens. A clone is cheap.
///
/// Every call uses TLS with the token's own certificate. The token is sent only if the resource requested the
/// certificate in the handshake. A `Resource` does not follow redirects: it returns a response with any status. A
/// `Resource` does not stream: bodies are complete in memory, and the network configuration limits the size of
/// responses.
///
/// ```no_run
/// # use certbound::credential::ByAssertion;
/// # async fn example(leg2: certbound::Client<ByAssertion>) -> Result<(), Box<dyn std::error::Error>> {
/// use bytes::Bytes;
/// use certbound::{Cloud, ResourceScope};
///
/// let graph = leg2.resource(&ResourceScope::graph(Cloud::Public));
/// let url = "https://mtlstb.graph.microsoft.com/v1.0/applications?$top=1";
/// let answer = graph.call(http::Request::get(url).body(Bytes::new())?).await?;
/// println!("{}", answer.status());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Resource {
    tokens: Tokens,
    profile: Option<ResourceProfile>,
}

#[derive(Clone)]
enum Tokens {
    Of {
        issuer: Arc<dyn AnyIssuer>,
        /// The owner of the background tasks. Refreshes can run while a clone of the resource exists.
        _background: Arc<Background>,
        scope: ResourceScope,
        /// The hash of the head of the cache key of the resource's tokens.
        hash: HeadHash,
    },
    Fixed {
        token: BoundToken,
        transport: Arc<dyn AnyTransport>,
    },
}

/// The TLS facts of the connection of a call. The extensions of the response contain them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallFacts(pub TlsFacts);

impl Resource {
    pub(crate) fn new(issuer: Arc<dyn AnyIssuer>, background: Arc<Background>, scope: ResourceScope) -> Self {
        let hash = KeyHead::new(&issuer.context().cache_key, Kind::Bound, &scope).hash();
        Self { tokens: Tokens::Of { issuer, _background: background, scope, hash }, profile: None }
    }

    pub(crate) fn of_token(token: BoundToken, transport: Arc<dyn AnyTransport>) -> Self {
        Self { tokens: Tokens::Fixed { token, transport }, profile: None }
    }

    /// Sets the profile. The default is the profile for the host of each request ([`ResourceProfile::for_host`]), and
    /// [`ResourceProfile::rfc8705`] for a token of an OpenID issuer.
    pub fn with_profile(mut self, profile: ResourceProfile) -> Self {
        self.profile = Some(profile);
        self
    }

    /// Returns a valid token for the resource, from the cache if possible. A resource that was made from a token
    /// returns this token.
    ///
    /// # Errors
    /// The errors of an acquisition.
    pub async fn token(&self) -> Result<BoundToken, Error> {
        match &self.tokens {
            Tokens::Of { issuer, scope, hash, .. } => match hit_of_prepared(&**issuer, scope, *hash) {
                Some(token) => Ok(token),
                None => Acquire::<BoundToken>::new(&**issuer, scope).await,
            },
            Tokens::Fixed { token, .. } => Ok(token.clone()),
        }
    }

    /// Sends a request to the resource with a bound token, and returns the response with any status.
    ///
    /// The URL must be absolute and `https`, without a user name. The headers `Authorization`, `Host`,
    /// `Content-Length`, `Transfer-Encoding`, `Connection`, `TE` and `Upgrade` are refused, and so is the method
    /// `CONNECT`. The headers of the [profile](Resource::with_profile) are added, unless the request has them.
    ///
    /// The request is repeated at most once for each of two reasons, and never if the resource was made from a token:
    ///
    /// * The handle of the certificate's key did not sign in the handshake, so no byte was sent, and the source of the
    ///   certificate has another handle or another certificate.
    /// * The response is a 401 with a claims challenge (continuous access evaluation). The new request has a new token.
    ///
    /// The function does not repeat a request after any other failure, and it follows no redirect. Neither the retry
    /// policy nor `Retry-After` applies to calls of a resource.
    ///
    /// The response is not changed, and it may contain the token. Its extensions contain [`CallFacts`] and the sent
    /// [`BoundToken`], so that a program can remove the token from a log of the response.
    ///
    /// # Errors
    /// * [`Misuse::ResourceRequest`], if the function refuses the request. No byte is sent.
    /// * The errors of an acquisition.
    /// * [`Error::Transport`]. [`CertificateNotRequested`](crate::error::TransportError::CertificateNotRequested) means
    ///   that the token was not sent.
    ///
    /// ```no_run
    /// # async fn example(orders: certbound::Resource) -> Result<(), Box<dyn std::error::Error>> {
    /// use bytes::Bytes;
    ///
    /// let order = http::Request::post("https://orders.contoso.com/orders")
    ///     .header("content-type", "application/json")
    ///     .body(Bytes::from(r#"{"item":7}"#))?;
    /// let answer = orders.call(order).await?;
    /// if answer.status() == 201 {
    ///     println!("{:?}", answer.headers().get("location"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let host = check(&request)?.to_owned();
        let (mut token, mut attempt) = (self.token().await?, 1);
        let profile = match &self.profile {
            Some(profile) => profile.clone(),
            None if token.scheme() == Scheme::Bearer => ResourceProfile::rfc8705(),
            None => ResourceProfile::for_host(&host),
        };
        let again = request.clone();
        let answer = match self.send(request, &token, &profile, attempt).await {
            Err(error) => {
                token = self.token_of_new_handle(&token, error).await?;
                attempt += 1;
                self.send(again.clone(), &token, &profile, attempt).await?
            }
            Ok(answer) => answer,
        };
        let challenge = challenge::claims_of(&answer).filter(|_| answer.status() == StatusCode::UNAUTHORIZED);
        let Some(claims) = challenge else { return Ok(answer) };
        let rejected = TokenHash::of(token.secret());
        let renewed = match &self.tokens {
            Tokens::Of { issuer, scope, .. } => {
                let acquire = Acquire::<BoundToken>::new(&**issuer, scope);
                acquire.claims(claims).rejected(rejected).await?
            }
            // The caller chose exactly this token, so it is not replaced.
            Tokens::Fixed { .. } => return Ok(answer),
        };
        self.send(again, &renewed, &profile, attempt + 1).await
    }

    /// Returns a token for a different handle of the key, or for a replacement of the certificate, after the handle of
    /// the key did not sign in the handshake. No part of the request was sent.
    ///
    /// # Errors
    /// `error` itself, if the error has a different cause, if there is no replacement, or if the caller chose the
    /// token.
    async fn token_of_new_handle(&self, token: &BoundToken, error: Error) -> Result<BoundToken, Error> {
        let Some(is_gone) = error.not_signed() else { return Err(error) };
        match &self.tokens {
            Tokens::Of { issuer, .. } if issuer.replace_handle(token.binding(), is_gone).await? => {
                self.token().await
            }
            _ => Err(error),
        }
    }

    async fn send(
        &self,
        mut request: http::Request<Bytes>,
        token: &BoundToken,
        profile: &ResourceProfile,
        attempt: u32,
    ) -> Result<http::Response<Bytes>, Error> {
        for (name, value) in profile.headers() {
            request.headers_mut().entry(name.clone()).or_insert_with(|| value.clone());
        }
        request.headers_mut().insert(AUTHORIZATION, authorization(token, profile)?);
        let transport = match &self.tokens {
            Tokens::Of { issuer, .. } => &issuer.context().transport,
            Tokens::Fixed { transport, .. } => transport,
        };
        let span = span::request(Target::Resource, &request, attempt);
        let answer = transport.send(request, Via::Resource(token.binding())).instrument(span.clone()).await;
        match &answer {
            Ok(answer) => span::answered(&span, answer.response.status().as_u16()),
            Err(error) => span::failed(&span, error.code()),
        }
        let answer = answer.map_err(|cause| Error::transport(None, cause))?;
        let mut response = answer.response;
        response.extensions_mut().insert(CallFacts(answer.tls));
        response.extensions_mut().insert(token.clone());
        Ok(response)
    }
}

/// The headers that token, URL and body determine. A proxy between client and resource could use a header that
/// contradicts them.
const OURS: [HeaderName; 7] =
    [AUTHORIZATION, HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, TE, UPGRADE];

/// Checks that a token may be sent with the request, and returns the request's host.
fn check(request: &http::Request<Bytes>) -> Result<&str, Error> {
    let refuse =
        |reason: &str| Err(Error::misuse(None, Misuse::ResourceRequest { reason: reason.to_owned() }));
    if request.uri().scheme_str() != Some("https") {
        return refuse("its URL does not begin with https://");
    }
    if request.uri().authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return refuse("its URL contains a user name");
    }
    if request.method() == Method::CONNECT {
        return refuse("its method is CONNECT, which requests a tunnel");
    }
    if let Some(name) = OURS.iter().find(|name| request.headers().contains_key(*name)) {
        return refuse(&format!(
            "it already has the header {name}, which the library derives from the token, the URL and the body"
        ));
    }
    match request.uri().host() {
        Some(host) if !host.is_empty() => Ok(host),
        _ => refuse("its URL has no host"),
    }
}

fn authorization(token: &BoundToken, profile: &ResourceProfile) -> Result<HeaderValue, Error> {
    let text = Zeroizing::new(format!("{} {}", profile.scheme(), token.secret().expose()));
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        let reason = "the token has a character that is not allowed in a header".to_owned();
        Error::misuse(None, Misuse::ResourceRequest { reason })
    })?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = match &self.tokens {
            Tokens::Of { scope, .. } => scope.as_str(),
            Tokens::Fixed { .. } => "(one token)",
        };
        f.debug_struct("Resource").field("scope", &scope).field("profile", &self.profile).finish()
    }
}
