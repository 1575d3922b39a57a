//! Caches with many tokens from a service in this process, and maps as the baseline of these caches.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use certbound::cache::Source;
use certbound::credential::BySecret;
use certbound::error::TransportError;
use certbound::observe::Observer;
use certbound::transport::{Answer, TlsFacts, Via};
use certbound::{BindingCertificate, Client, ClientBuilder, ResourceScope, Secret, TokenCache, Transport};
use foldhash::quality::RandomState;
use futures_util::FutureExt as _;

use crate::ours::{SECRET, SECRET_APP, authority};

/// The answer time of a slow service.
const SLOW: Duration = Duration::from_millis(200);
/// The length of a short token.
pub(crate) const SHORT: usize = 64;
/// The length of a real token.
pub(crate) const REAL: usize = 1_500;

/// A service that answers every request with the same answer, at once or after 200 ms.
#[derive(Clone, Debug)]
pub(crate) struct InProcess {
    body: Bytes,
    is_slow: Arc<AtomicBool>,
}

impl InProcess {
    /// Creates a service that answers with Bearer tokens of `length` characters.
    pub(crate) fn bearer(length: usize) -> Self {
        Self::answering("Bearer", &"t".repeat(length))
    }

    /// Creates a service that answers with tokens of 1,500 characters whose `cnf` names the certificate, as in real
    /// tokens.
    pub(crate) fn bound_to(certificate: &BindingCertificate) -> Self {
        let cnf = serde_json::json!({ "x5t#S256": certificate.thumbprint().x5t_s256() });
        let claims = serde_json::json!({ "cnf": cnf, "padding": "p".repeat(773) }).to_string();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let token = [part(br#"{"alg":"RS256"}"#), part(claims.as_bytes()), part(&[0x5a; 256])].join(".");
        assert_eq!(token.len(), REAL);
        Self::answering("mtls_pop", &token)
    }

    fn answering(kind: &str, token: &str) -> Self {
        let body = format!(
            r#"{{"token_type":"{kind}","expires_in":86399,"ext_expires_in":86399,"access_token":"{token}"}}"#
        );
        Self { body: body.into(), is_slow: Arc::default() }
    }

    /// Makes each later answer take 200 ms.
    pub(crate) fn set_slow(&self) {
        self.is_slow.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn answer(&self) -> Bytes {
        if self.is_slow.load(Ordering::Relaxed) {
            tokio::time::sleep(SLOW).await;
        }
        self.body.clone()
    }
}

impl Transport for InProcess {
    async fn send(&self, _: http::Request<Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
        Ok(Answer { response: http::Response::new(self.answer().await), tls: TlsFacts::default() })
    }
}

/// Returns the text of the scope with this number, which is as long as the text of a real scope.
pub(crate) fn scope_text(number: usize) -> String {
    format!("api://00000000-0000-4000-8000-{number:012}/.default")
}

pub(crate) fn scope(number: usize) -> ResourceScope {
    crate::ours::scope(&scope_text(number))
}

pub(crate) fn client(service: &InProcess, cache: &TokenCache) -> Client<BySecret> {
    builder(service, cache).build().unwrap()
}

fn builder(service: &InProcess, cache: &TokenCache) -> ClientBuilder<BySecret> {
    let builder = Client::builder(authority(), SECRET_APP).with_transport(service.clone());
    builder.with_cache(cache.clone()).with_secret(Secret::new(SECRET))
}

/// A client, its cache with a number of tokens, and the scopes of these tokens. The cache can hold a million more
/// tokens.
pub(crate) struct Filled {
    pub(crate) client: Client<BySecret>,
    pub(crate) cache: TokenCache,
    pub(crate) scopes: Vec<ResourceScope>,
}

impl Filled {
    pub(crate) fn with(count: usize, service: &InProcess) -> Self {
        Self::of(count, |cache| client(service, cache))
    }

    /// Does the same as [`Filled::with`], with an observer of the client.
    pub(crate) fn observed(count: usize, service: &InProcess, observer: Arc<dyn Observer>) -> Self {
        Self::of(count, |cache| builder(service, cache).with_observer(observer).build().unwrap())
    }

    fn of(count: usize, client: impl FnOnce(&TokenCache) -> Client<BySecret>) -> Self {
        let cache = TokenCache::with_limits(count + 1_000_000, usize::MAX);
        let client = client(&cache);
        let scopes: Vec<_> = (0..count).map(scope).collect();
        scopes.iter().for_each(|scope| fetch(&client, scope));
        assert_eq!(cache.len(), count);
        Self { client, cache, scopes }
    }
}

/// Gets a token that is in the cache.
pub(crate) fn hit(client: &Client<BySecret>, scope: &ResourceScope) {
    black_box(at_once(client.bearer_token(black_box(scope))));
}

/// Gets a token that is not in the cache. The client requests and caches the token.
pub(crate) fn fetch(client: &Client<BySecret>, scope: &ResourceScope) {
    assert_eq!(at_once(client.bearer_token(scope)).details().source, Source::Service);
}

/// Gets a token that is cached, or that the service returns at once.
pub(crate) fn at_once<T, E: std::fmt::Debug>(token: impl IntoFuture<Output = Result<T, E>>) -> T {
    token.into_future().now_or_never().unwrap().unwrap()
}

/// An ordinary map: its keys are as long as a text with tenant, client, certificate and scope, and its values are
/// tokens in an `Arc`.
pub(crate) struct Map {
    tokens: HashMap<String, Arc<str>, RandomState>,
    keys: Vec<String>,
}

impl Map {
    pub(crate) fn with(count: usize, length: usize) -> Self {
        let keys: Vec<_> = (0..count).map(|number| format!("{:>149}", scope_text(number))).collect();
        let tokens = keys.iter().map(|key| (key.clone(), Arc::from("t".repeat(length)))).collect();
        Self { tokens, keys }
    }

    /// Looks a token up, clones its `Arc` and reads the clock.
    #[expect(clippy::disallowed_methods, reason = "the baseline reads the clock of the system directly")]
    pub(crate) fn look_up(&self, number: usize) {
        let now = SystemTime::now();
        black_box((self.tokens.get(black_box(self.keys[number].as_str())).map(Arc::clone), now));
    }
}

/// Returns the next index in a pseudo-random order that the processor cannot predict.
pub(crate) fn random(seed: &mut u64, below: usize) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap() % below
}
