//! What a caller can ask of one acquisition, and the future it becomes.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use certbound_core::authority::Authority;
use certbound_core::endpoint::TokenEndpoint;
use certbound_core::scope::ResourceScope;
use certbound_core::tenant::TenantId;
use serde_json::{Map, Value, json};

use super::Acquisition;
use crate::cache::key::{Extras, KeyRef};
use crate::client::ClientCore;
use crate::correlation::CorrelationId;
use crate::credential::Proves;
use crate::error::{Error, Misuse};
use crate::leg1::AssertionRequest;
use crate::observe::Observer;
use crate::rejected::TokenHash;
use crate::token::{BearerToken, BoundToken, Held, Source, Token};

/// An acquisition about to happen: add options, then await it.
///
/// Whether the cache has a live token is decided when it is awaited; only then, on a miss, is anything allocated.
#[must_use = "nothing happens until it is awaited"]
pub struct Acquire<'a, T> {
    client: &'a Arc<ClientCore>,
    credential: &'a dyn CloneableProves,
    scope: &'a ResourceScope,
    options: Option<Box<Options>>,
    token: PhantomData<fn() -> T>,
}

/// The options of one acquisition.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) extras: Extras,
    pub(crate) claims: Option<String>,
    pub(crate) force_refresh: bool,
    pub(crate) rejected: Option<TokenHash>,
    pub(crate) correlation_id: Option<CorrelationId>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl<'a, T> Acquire<'a, T> {
    pub(crate) fn new(
        client: &'a Arc<ClientCore>,
        credential: &'a dyn CloneableProves,
        scope: &'a ResourceScope,
    ) -> Self {
        Self { client, credential, scope, options: None, token: PhantomData }
    }

    fn option(&mut self) -> &mut Options {
        self.options.get_or_insert_default()
    }

    /// Asks another tenant than the client's: for a multi-tenant application.
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.option().extras.tenant = Some(tenant);
        self
    }

    /// Answers a claims challenge (JSON). The cache is not read, and the new token replaces the cached one.
    pub fn claims(mut self, claims: impl Into<String>) -> Self {
        self.option().claims = Some(claims.into());
        self
    }

    /// Fetches a new token even when a live one is cached.
    pub fn force_refresh(mut self) -> Self {
        self.option().force_refresh = true;
        self
    }

    /// Fetches a new token if the cached one is the one that a resource rejected. Not together with
    /// [`Acquire::force_refresh`].
    pub fn rejected(mut self, token: TokenHash) -> Self {
        self.option().rejected = Some(token);
        self
    }

    /// Uses a correlation id of the caller's, on every request of both legs. Default: a fresh one.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.option().correlation_id = Some(id);
        self
    }

    /// Sends `fmi_path`, which makes a token of its own in the cache.
    pub fn fmi_path(mut self, path: impl Into<String>) -> Self {
        self.option().extras.fmi_path = Some(path.into());
        self
    }

    /// Adds a query parameter to the token endpoint, which makes a token of its own in the cache.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.option().extras.query.push((name.into(), value.into()));
        self
    }

    /// Is told of each request before it is sent, Leg 1's included where this process makes it.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.option().observer = Some(observer);
        self
    }
}

/// A credential that can be kept beyond the borrow of its client.
pub(crate) trait CloneableProves: Proves {
    fn to_arc(&self) -> Arc<dyn Proves>;
}

impl<C: Proves + Clone + 'static> CloneableProves for C {
    fn to_arc(&self) -> Arc<dyn Proves> {
        Arc::new(self.clone())
    }
}

impl<'a> IntoFuture for Acquire<'a, BoundToken> {
    type Output = Result<BoundToken, Error>;
    type IntoFuture = AcquireFuture<'a, BoundToken>;

    fn into_future(self) -> AcquireFuture<'a, BoundToken> {
        start(self)
    }
}

impl<'a> IntoFuture for Acquire<'a, BearerToken> {
    type Output = Result<BearerToken, Error>;
    type IntoFuture = AcquireFuture<'a, BearerToken>;

    fn into_future(self) -> AcquireFuture<'a, BearerToken> {
        start(self)
    }
}

/// Ready with the cached token, or a future that runs the walk.
fn start<'a, T: Token + Send + 'a>(acquire: Acquire<'a, T>) -> AcquireFuture<'a, T> {
    if let Some(token) = hit(&acquire) {
        return AcquireFuture(State::Hit(Some(token)));
    }
    let acquisition = Acquisition {
        client: Arc::clone(acquire.client),
        credential: acquire.credential.to_arc(),
        kind: T::KIND,
        scope: acquire.scope.clone(),
        options: acquire.options.map(|options| *options).unwrap_or_default(),
    };
    AcquireFuture(State::Miss(Box::pin(async move {
        let (held, source) = acquisition.run().await?;
        Ok(T::from_held(held, source))
    })))
}

/// A live cached token, when the certificate can be told without waiting and no option stands in the way.
fn hit<T: Token>(acquire: &Acquire<'_, T>) -> Option<T> {
    let extras = match &acquire.options {
        None => None,
        // These look closer at the cached token, or at nothing: the walk does that.
        Some(options) if !options.plain() => return None,
        Some(options) => options.extras(),
    };
    let binding = acquire.credential.binding_now()?;
    let key = KeyRef {
        client: &acquire.client.cache_key,
        kind: T::KIND,
        thumbprint: Some(binding.thumbprint()),
        scope: acquire.scope,
        extras,
    };
    // No token outlives its certificate, so a live token says that the certificate is valid too.
    let held = acquire.client.cache.live(&key, acquire.client.clock.now())?;
    Some(T::from_held(held, Source::Cache))
}

/// The future of an [`Acquire`]: ready at once on a hit, and boxed on a miss.
#[must_use = "futures do nothing unless polled"]
pub struct AcquireFuture<'a, T>(State<'a, T>);

enum State<'a, T> {
    Hit(Option<T>),
    Miss(Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>),
}

impl<T: Unpin> Future for AcquireFuture<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Hit(token) => match token.take() {
                Some(token) => Poll::Ready(Ok(token)),
                // Polled again after it was ready, which the contract of futures forbids.
                None => Poll::Pending,
            },
            State::Miss(future) => future.as_mut().poll(cx),
        }
    }
}

impl Options {
    /// Refuses options that contradict each other or cannot be sent.
    pub(crate) fn check(&self) -> Result<(), Misuse> {
        if self.force_refresh && self.rejected.is_some() {
            return Err(Misuse::ForceAndRejected);
        }
        let printable =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        for (name, value) in &self.extras.query {
            if !printable(name) || !printable(value) || name.contains(['&', '=']) || value.contains('&') {
                return Err(Misuse::QueryParameter { name: name.chars().take(64).collect() });
            }
        }
        Ok(())
    }

    /// Whether a cached token may be served without a closer look.
    fn plain(&self) -> bool {
        !self.skip_cache() && self.rejected.is_none() && self.extras.query.is_empty()
    }

    pub(crate) fn skip_cache(&self) -> bool {
        self.force_refresh || (self.claims.is_some() && self.rejected.is_none())
    }

    /// Whether the cached token is the one that a resource rejected.
    pub(crate) fn rejects(&self, held: &Held) -> bool {
        self.rejected.is_some_and(|hash| hash == TokenHash::of(&held.0.body.secret))
    }

    pub(crate) fn extras(&self) -> Option<&Extras> {
        (self.extras != Extras::default()).then_some(&self.extras)
    }

    pub(crate) fn fmi_path(&self) -> Option<&str> {
        self.extras.fmi_path.as_deref()
    }

    pub(crate) fn authority(&self, configured: &Authority) -> Authority {
        match &self.extras.tenant {
            Some(tenant) => configured.clone().with_tenant(tenant.clone()),
            None => configured.clone(),
        }
    }

    pub(crate) fn assertion_request(
        &self,
        client: &ClientCore,
        authority: &Authority,
        endpoint: &TokenEndpoint,
    ) -> AssertionRequest {
        AssertionRequest {
            client_id: Arc::clone(&client.client_id),
            tenant: authority.tenant().clone(),
            token_endpoint: endpoint.url().to_owned(),
            claims: self.claims.clone(),
            capabilities: client.capabilities.clone(),
            fmi_path: None,
            correlation_id: self.correlation_id.unwrap_or_else(CorrelationId::random),
            observer: self.observer.clone(),
        }
    }

    /// The `claims` parameter: the challenge verbatim, or merged behind the declared capabilities.
    pub(crate) fn merged_claims(&self, capabilities: &[String]) -> Result<Option<String>, Misuse> {
        if capabilities.is_empty() {
            return Ok(self.claims.clone());
        }
        let mut merged = json!({"access_token": {"xms_cc": {"values": capabilities}}});
        if let Some(claims) = &self.claims {
            let challenge: Map<String, Value> =
                serde_json::from_str(claims).map_err(|_| Misuse::ClaimsNotJson)?;
            merge(&mut merged, Value::Object(challenge));
        }
        Ok(Some(merged.to_string()))
    }
}

/// Objects are merged member by member, arrays joined, other values replaced; a null changes nothing.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from),
        (into, from) => *into = from,
    }
}
