//! The cache: cache hits, cache keys, and one request for all callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound::cache::Source;
use certbound::credential::{ByAssertion, ByCertificate, NoCredential, leg1_fn};
use certbound::error::TransportError;
use certbound::token::TokenHash;
use certbound::transport::{Answer, Via};
use certbound::{
    Authority, BoundToken, Client, ClientBuilder, Cloud, Error, Region, ResourceScope, Secret, TokenCache,
    Transport,
};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, LegKind};
use certbound_testkit::{AnsweringTransport, MemoryTransport, Pair};

use crate::two_leg::vault;

/// Acceptance check 7: a second identical call sends nothing, calls no provider, and returns the token with its
/// certificate.
#[tokio::test]
async fn a_hit_runs_nothing() {
    let pair = Pair::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let (counted, client) = (Arc::clone(&calls), pair.leg1());
    let leg1 = leg1_fn(pair.certificate(), move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        let client = client.clone();
        async move { client.assertion().await.map(|assertion| Secret::new(assertion.secret().expose())) }
    });
    let leg2 = pair.builder(builtin::APP).with_assertions(leg1).build().unwrap();
    let first = leg2.bound_token(&vault()).await.unwrap();
    let sent = pair.emulator().journal().len();
    let second = leg2.bound_token(&vault()).await.unwrap();
    assert_eq!((first.details().source, second.details().source), (Source::Service, Source::Cache));
    assert_eq!(first, second);
    assert_eq!(second.binding().thumbprint(), pair.certificate().thumbprint());
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(pair.emulator().journal().len(), sent);
}

#[tokio::test]
async fn clients_of_one_id_share_no_token_where_their_secrets_differ() {
    let (pair, cache) = (Pair::new(), TokenCache::new());
    let transport = AnsweringTransport::with_tokens();
    for (secret, asked) in [("one", 1), ("other", 2), ("one", 2), ("other", 2)] {
        let builder = pair.builder(builtin::APP).with_transport(transport.clone());
        let client = builder.with_cache(cache.clone()).with_secret(Secret::new(secret)).build().unwrap();
        client.bearer_token(&vault()).await.unwrap();
        assert_eq!(transport.seen().len(), asked, "{secret}");
    }
}

/// All hosts of one cloud issue the same tokens, and a region only chooses the host of the request.
#[tokio::test]
async fn aliases_and_regions_of_one_cloud_share_a_token() {
    let (cache, transport) = (TokenCache::new(), AnsweringTransport::with_tokens());
    let at = |url: &str| Authority::parse(url).unwrap();
    let regional = |url: &str, region: &str| at(url).with_region(Region::parse(region).unwrap());
    let public = "https://login.microsoftonline.com/a.example";
    let client = |authority: Authority| {
        let builder = Client::builder(authority, builtin::APP).with_transport(transport.clone());
        let builder = builder.with_cache(cache.clone()).without_authority_validation();
        builder.with_secret(Secret::new("s")).build().unwrap()
    };
    for (authority, asked) in [
        (at(public), 1),
        (at("https://login.windows.net/a.example"), 1),
        (at("https://login.microsoft.com/a.example"), 1),
        (at("https://sts.windows.net/a.example"), 1),
        (regional(public, "westus3"), 1),
        (regional("https://login.windows.net/a.example", "eastus"), 1),
        // Another tenant, port or cloud, and a host of no known cloud.
        (at("https://login.windows.net/b.example"), 2),
        (at("https://login.microsoftonline.com:8443/a.example"), 3),
        (at("https://login.microsoftonline.us/a.example"), 4),
        (regional("https://login.usgovcloudapi.net/a.example", "usgovvirginia"), 4),
        (at("https://login.a.example/a.example"), 5),
        (at("https://login.b.example/a.example"), 6),
    ] {
        let url = authority.url();
        client(authority).bearer_token(&vault()).await.unwrap();
        assert_eq!(transport.seen().len(), asked, "{url}");
    }

    // A request for an alias of the client's authority is a request for the same token.
    let (global, west) = (client(at(public)), client(regional(public, "westus3")));
    let alias = || at("https://login.windows.net/a.example");
    let token = global.bearer_token(&vault()).authority(alias()).await.unwrap();
    assert_eq!((token.details().source, transport.seen().len()), (Source::Cache, 6));
    // The request is refused even though a token is cached.
    let refused = west.bearer_token(&vault()).authority(alias()).await.unwrap_err();
    assert_eq!(refused.code(), "authority_override_regional");
}

/// For an application with many identities, only the assertion names the identity.
#[tokio::test]
async fn identities_that_come_with_one_certificate_share_no_token() {
    let (pair, cache) = (Pair::new(), TokenCache::new());
    let payload = format!(
        r#"{{"aud":"api://AzureADTokenExchange","exp":1790000000,"cnf":{{"x5t#S256":"{}"}}}}"#,
        pair.certificate().thumbprint().x5t_s256()
    );
    let jwt = format!("eyJhbGciOiJSUzI1NiJ9.{}.AA", URL_SAFE_NO_PAD.encode(payload));
    let answer = format!(r#"{{"token_type":"mtls_pop","access_token":"{jwt}","expires_in":3600}}"#);
    let transport = AnsweringTransport::new(move |_| (200, answer.clone()));
    let leg1_of = |app: &str| {
        let builder = pair.builder(app).with_transport(transport.clone());
        builder.with_certificate(pair.certificate()).build().unwrap()
    };
    let by_function = || {
        let jwt = jwt.clone();
        leg1_fn(pair.certificate(), move |_| {
            let jwt = Secret::new(jwt.clone());
            async move { Ok::<_, Error>(jwt) }
        })
    };
    let leg2 = |leg1: Box<dyn FnOnce(ClientBuilder<NoCredential>) -> ClientBuilder<ByAssertion>>,
                app: &str| {
        let builder = pair.builder(app).with_transport(transport.clone()).with_cache(cache.clone());
        leg1(builder).build().unwrap()
    };
    macro_rules! with {
        ($leg1:expr) => {{
            let leg1 = $leg1;
            Box::new(move |builder: ClientBuilder<NoCredential>| builder.with_assertions(leg1))
        }};
    }
    const FMI: &str = "urn:microsoft:identity:fmi";
    let clients = [
        (leg2(with!(leg1_of(builtin::APP)), FMI), Source::Service),
        (leg2(with!(leg1_of(builtin::TARGET_APP)), FMI), Source::Service),
        (leg2(with!(leg1_of(builtin::APP)), FMI), Source::Cache),
        // A function does not name the identity of its assertions.
        (leg2(with!(by_function()), FMI), Source::Service),
        (leg2(with!(by_function()), FMI), Source::Service),
        // An application with one identity does not need the name.
        (leg2(with!(by_function()), builtin::TARGET_APP), Source::Service),
        (leg2(with!(by_function()), builtin::TARGET_APP), Source::Cache),
    ];
    for (at, (client, source)) in clients.iter().enumerate() {
        let token = client.bound_token(&vault()).await.unwrap();
        assert_eq!(token.details().source, *source, "{at}");
        let again = client.bound_token(&vault()).await.unwrap();
        assert_eq!(again.details().source, Source::Cache, "{at}");
    }
}

/// Acceptance check 8: each certificate has its own token.
#[tokio::test]
async fn another_certificate_is_another_token() {
    let pair = Pair::new();
    let cache = TokenCache::new();
    let client = |certificate| {
        pair.builder(builtin::APP).with_cache(cache.clone()).with_certificate(certificate).build().unwrap()
    };
    let first = client(pair.certificate()).bound_token(&vault()).await.unwrap();
    let other = client(pair.other_certificate()).bound_token(&vault()).await.unwrap();
    assert_ne!(first, other);
    assert_ne!(first.binding(), other.binding());
    assert_eq!(client(pair.certificate()).bound_token(&vault()).await.unwrap(), first);
}

#[tokio::test]
async fn kind_scope_tenant_and_extras_are_kept_apart() {
    let pair = Pair::new();
    let client =
        pair.builder(builtin::MULTI_TENANT_APP).with_certificate(pair.certificate()).build().unwrap();
    let graph = ResourceScope::graph(Cloud::Public);
    let other = certbound::TenantId::parse(builtin::OTHER_TENANT).unwrap();
    let (vault, sources) = (vault(), std::cell::RefCell::new(Vec::new()));
    for _ in 0..2 {
        let push = |source: Source| sources.borrow_mut().push(source);
        push(client.bound_token(&vault).await.unwrap().details().source);
        push(client.bearer_token(&vault).await.unwrap().details().source);
        push(client.bound_token(&graph).await.unwrap().details().source);
        push(client.bound_token(&vault).tenant(other.clone()).await.unwrap().details().source);
        push(client.bound_token(&vault).query("dc", "1").await.unwrap().details().source);
        push(client.bound_token(&vault).query("dc", "2").await.unwrap().details().source);
    }
    let sources = sources.into_inner();
    assert_eq!(&sources[..6], [Source::Service; 6], "six different tokens");
    assert_eq!(&sources[6..], [Source::Cache; 6], "each token is found again");
}

#[tokio::test]
async fn a_token_is_served_while_more_than_five_minutes_are_left() {
    let pair = Pair::new();
    let client = pair.leg1();
    let token = client.bound_token(&vault()).await.unwrap();
    let margin = Duration::from_secs(300);
    pair.clock().set(token.expires_at().minus(margin).minus(Duration::from_secs(1)));
    assert_eq!(client.bound_token(&vault()).await.unwrap().details().source, Source::Cache);
    pair.clock().set(token.expires_at().minus(margin));
    assert_eq!(client.bound_token(&vault()).await.unwrap().details().source, Source::Service);
}

#[tokio::test]
async fn a_token_ends_with_its_certificate() {
    use certbound_testkit::emulator::IssueOptions;
    let pair = Pair::new();
    let now = certbound::clock::Clock::now(pair.clock());
    let ends = now.plus(Duration::from_secs(600));
    let certificate = pair.issue(
        IssueOptions::new(builtin::CLIENT_COMMON_NAME).valid(now.minus(Duration::from_secs(60)), ends),
    );
    let client = pair.builder(builtin::APP).with_certificate(certificate).build().unwrap();
    assert_eq!(client.bound_token(&vault()).await.unwrap().expires_at(), ends);
}

#[tokio::test]
async fn force_claims_and_a_rejected_hash_each_do_what_they_say() {
    let pair = Pair::new();
    let client = pair.leg1();
    let first = client.bound_token(&vault()).await.unwrap();
    let hash = TokenHash::of(first.secret());
    pair.clock().advance(Duration::from_secs(10));

    let forced = client.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!(forced.details().source, Source::Service);
    assert_ne!(TokenHash::of(forced.secret()), hash);
    let kept = client.bound_token(&vault()).rejected(hash).claims("{}").await.unwrap();
    assert_eq!(kept.details().source, Source::Cache, "the cached token differs from the rejected token");
    let replaced = client.bound_token(&vault()).rejected(TokenHash::of(forced.secret())).await.unwrap();
    assert_eq!(replaced.details().source, Source::Service);
    let challenged = client.bound_token(&vault()).claims(r#"{"access_token":{}}"#).await.unwrap();
    assert_eq!(challenged.details().source, Source::Service);
    let error = client.bound_token(&vault()).force_refresh().rejected(hash).await.unwrap_err();
    assert_eq!(error.code(), "force_refresh_and_token_hash_not_compatible");
}

/// Query parameters are inserted into the URL unchanged, so a value must not end a parameter or the query.
#[tokio::test]
async fn a_query_parameter_that_would_change_the_url_is_refused() {
    let pair = Pair::new();
    let client = pair.leg1();
    let cases = [
        ("a b", "c"),
        ("a&b", "c"),
        ("a=b", "c"),
        ("a#b", "c"),
        ("", "c"),
        ("a", ""),
        ("a", "b c"),
        ("a", "b&c"),
        ("a", "b#c"),
        ("a", "b\r\nc"),
        ("a", "\u{e9}"),
        ("token_type", "bearer"),
        ("Token_Type", "bearer"),
        ("token%5Ftype", "bearer"),
        ("req_cnf", "x"),
    ];
    for (name, value) in cases {
        let error = client.bound_token(&vault()).query(name, value).await.unwrap_err();
        assert_eq!(error.code(), "invalid_query_parameter", "{name:?} {value:?}");
    }
    assert!(pair.emulator().journal().is_empty(), "nothing was sent");
    client.bound_token(&vault()).query("dc", "a=b?c%20d").await.unwrap();
    assert!(pair.emulator().journal()[0].path.ends_with("/token"));
}

#[tokio::test]
async fn however_many_wait_one_request_is_made() {
    let (pair, gated, client) = gated_client();
    let results = all_wait(&client, &gated, 10_000).await;
    let tokens: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(pair.emulator().journal().len(), 1);
    let joined = tokens.iter().filter(|token| token.details().source == Source::Joined).count();
    assert_eq!(joined, 9_999);
    assert!(tokens.iter().all(|token| *token == tokens[0]));
}

#[tokio::test]
async fn a_failure_reaches_every_waiter_and_is_not_kept() {
    let (pair, gated, client) = gated_client();
    pair.emulator().add_fault(Fault::once(Condition::leg(LegKind::Direct), FaultResult::BearerForMtlsPop));
    let results = all_wait(&client, &gated, 20).await;
    assert!(
        results
            .iter()
            .all(|result| result.as_ref().is_err_and(|error| error.code() == "token_type_mismatch"))
    );
    assert_eq!(pair.emulator().journal().len(), 1);
    client.bound_token(&vault()).await.unwrap();
}

/// Starts `count` calls for one token, opens the gate once all of them wait, and returns their results.
async fn all_wait(
    client: &Client<ByCertificate>,
    gated: &Gated<MemoryTransport>,
    count: usize,
) -> Vec<Result<BoundToken, Error>> {
    let scope = vault();
    let calls =
        futures_util::future::join_all((0..count).map(|_| async { client.bound_token(&scope).await }));
    let mut calls = std::pin::pin!(calls);
    // After one poll of all calls, the first call waits at the gate, and the other calls wait for its result.
    assert!(futures_util::poll!(&mut calls).is_pending());
    gated.gate.add_permits(count);
    calls.await
}

fn gated_client() -> (Pair, Gated<MemoryTransport>, Client<ByCertificate>) {
    let pair = Pair::new();
    let closed = || Arc::new(tokio::sync::Semaphore::new(0));
    let gated = Gated { inner: pair.transport(), gate: closed(), arrived: closed() };
    let client = Client::builder(pair.authority(), builtin::APP)
        .with_transport(gated.clone())
        .with_clock(pair.clock().clone())
        .with_certificate(pair.certificate())
        .build()
        .unwrap();
    (pair, gated, client)
}

/// A transport that waits at a gate until the test opens it.
#[derive(Clone)]
struct Gated<T> {
    inner: T,
    gate: Arc<tokio::sync::Semaphore>,
    arrived: Arc<tokio::sync::Semaphore>,
}

impl<T: Transport> Transport for Gated<T> {
    async fn send(
        &self,
        request: http::Request<bytes::Bytes>,
        via: Via<'_>,
    ) -> Result<Answer, TransportError> {
        self.arrived.add_permits(1);
        let _open = self.gate.acquire().await.unwrap();
        self.inner.send(request, via).await
    }
}

#[tokio::test]
async fn a_cancelled_leader_strands_nobody_and_other_keys_do_not_wait() {
    let (pair, gated, client) = gated_client();
    let leader = tokio::spawn({
        let client = client.clone();
        async move { client.bound_token(&vault()).await }
    });
    gated.arrived.acquire().await.unwrap().forget();
    let follower = tokio::spawn({
        let client = client.clone();
        async move { client.bound_token(&vault()).await }
    });
    tokio::task::yield_now().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    gated.gate.add_permits(1);
    let token = follower.await.unwrap().unwrap();
    assert_eq!(token.details().source, Source::Joined);
    assert_eq!(pair.emulator().journal().len(), 1, "the leader's request continued for the follower");

    // After all callers of a request were dropped, the next call starts a new request.
    let lonely = tokio::spawn({
        let client = client.clone();
        async move { client.bound_token(&ResourceScope::graph(Cloud::Public)).await }
    });
    gated.arrived.acquire().await.unwrap().forget();
    gated.arrived.try_acquire().ok();
    lonely.abort();
    let _ = lonely.await;
    gated.gate.add_permits(8);
    client.bound_token(&ResourceScope::graph(Cloud::Public)).await.unwrap();
}

/// The map and the order of expiry are two structures. They must agree under concurrent use.
#[test]
fn threads_that_fetch_forget_and_clear_leave_map_and_order_in_agreement() {
    const PATHS: usize = 12;
    for cache in [TokenCache::new(), TokenCache::with_capacity(5), TokenCache::with_limits(100, 3_000)] {
        let client = Client::builder(Pair::new().authority(), builtin::APP)
            .with_cache(cache.clone())
            .with_clock(Pair::new().clock().clone())
            .with_transport(AnsweringTransport::with_tokens())
            .with_secret(Secret::new("s"))
            .build()
            .unwrap();
        let (client, cache) = (&client, &cache);
        let work = |thread: usize| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for round in 0..400 {
                    let path = ((round * (thread + 1)) % PATHS).to_string();
                    let acquire = client.bearer_token(&vault()).fmi_path(&path).await.unwrap();
                    assert_eq!(acquire.secret().expose(), "T");
                    match (round + thread) % 7 {
                        0 => drop(client.bearer_token(&vault()).fmi_path(&path).force_refresh().await),
                        1 | 2 => drop(client.bearer_token(&vault()).fmi_path(&path).forget().await),
                        3 if round % 50 == 0 => cache.clear(),
                        _ => {}
                    }
                }
            });
        };
        std::thread::scope(|scope| {
            let work = &work;
            (0..4).for_each(|thread| drop(scope.spawn(move || work(thread))));
        });
        let statistics = cache.statistics();
        assert!(statistics.stored > 100 && statistics.hits > 100, "{statistics:?}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(async {
            let mut found = 0;
            for path in 0..PATHS {
                let scope = vault();
                let forget = client.bearer_token(&scope).fmi_path(path.to_string()).forget();
                found += usize::from(forget.await.unwrap());
            }
            found
        });
        assert_eq!(found, statistics.tokens, "each counted token is found");
        assert_eq!((cache.len(), cache.bytes()), (0, 0), "both structures are empty");
    }
}

#[tokio::test]
async fn the_cache_is_bounded_and_the_soonest_to_end_goes_first() {
    let pair = Pair::new();
    let cache = TokenCache::with_capacity(2);
    let client = pair
        .builder(builtin::APP)
        .with_cache(cache.clone())
        .with_certificate(pair.certificate())
        .build()
        .unwrap();
    let scopes = [
        vault(),
        ResourceScope::graph(Cloud::Public),
        ResourceScope::parse("api://orders/.default").unwrap(),
    ];
    for scope in &scopes {
        client.bound_token(scope).await.unwrap();
        pair.clock().advance(Duration::from_secs(10));
    }
    assert_eq!(cache.len(), 2);
    assert_eq!(client.bound_token(&scopes[2]).await.unwrap().details().source, Source::Cache);
    assert_eq!(client.bound_token(&scopes[1]).await.unwrap().details().source, Source::Cache);
    assert_eq!(client.bound_token(&scopes[0]).await.unwrap().details().source, Source::Service);
    cache.clear();
    assert!(cache.is_empty());
}
