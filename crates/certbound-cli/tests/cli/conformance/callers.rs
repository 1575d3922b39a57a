//! HTTP-06 to HTTP-09: parallel callers, cancelled ones, and an endpoint that does not answer.

use std::future::{IntoFuture as _, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use certbound::error::TransportError;
use certbound::region::RegionDetector;
use certbound::retry::RetryPolicy;
use certbound::{Client, Region, TokenCache};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::rustls::ALL_VERSIONS;

use super::door::door_to;
use super::evidence::Evidence;
use super::gate::{PATIENCE, without_answer};
use super::pki;
use super::rows::rows;
use super::stage::{MTLS_HOST, Stage, global, graph, is_bound_by_certificate, only, order, orders};
use crate::support::APP;

rows! {
    (
        "HTTP-06",
        0,
        "Many callers that use one certificate at the same time share one connection, one request and one token.",
        many_callers_with_one_certificate_share_a_request
    ),
    (
        "HTTP-07",
        0,
        "If many callers use several certificates at the same time, each token and each connection has the certificate of its \
         caller.",
        many_callers_with_several_certificates_are_kept_apart
    ),
    (
        "HTTP-08",
        0,
        "An acquisition that is cancelled during the detection of the region sends no token request. An acquisition that is \
         cancelled during its token request ends its connection at once. Nothing is cached.",
        a_cancelled_acquisition_leaves_nothing
    ),
    (
        "HTTP-09",
        1,
        "If an endpoint does not answer, the caller gets an error at the configured time limit. The error names the endpoint \
         and the limit.",
        a_stalled_endpoint_is_an_error_in_time
    ),
}

const CALLERS: usize = 32;

/// Counts the callers that wait at the same time.
#[derive(Clone)]
struct Waiting(watch::Sender<usize>);

impl Waiting {
    fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Begins a call, counts it, and waits for its result. The call must need an answer that is held.
    async fn call<T>(self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        let begun = poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_pending())).await;
        assert!(begun, "a call ended although the answer that it needs is held");
        self.0.send_modify(|count| *count += 1);
        call.await
    }

    /// Waits until this number of callers wait, and returns the number.
    async fn are(&self, count: usize) -> usize {
        let mut waiting = self.0.subscribe();
        let all = tokio::time::timeout(PATIENCE, waiting.wait_for(|waiting| *waiting >= count));
        *all.await.expect("a caller does not wait").unwrap()
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_with_one_certificate_share_a_request() -> Evidence {
    let stage = Stage::new().await;
    let door = door_to(&stage, ALL_VERSIONS).await;
    let builder = Client::builder(global(), APP).with_network(&door.network());
    let client = builder.with_certificate(pki::c().binding()).build().unwrap();
    door.gate().close();
    let waiting = Waiting::new();
    let callers = (0..CALLERS).map(|_| {
        let (client, waiting) = (client.clone(), waiting.clone());
        tokio::spawn(async move { waiting.call(client.bound_token(&graph()).into_future()).await.unwrap() })
    });
    let callers: Vec<_> = callers.collect();
    let at_once = waiting.are(CALLERS).await;
    door.gate().has_held(1).await;
    door.gate().open();
    let mut tokens = Vec::new();
    for caller in callers {
        let token = caller.await.unwrap();
        assert_eq!(token.binding().thumbprint(), pki::c().thumbprint());
        tokens.push(token.secret().expose().to_owned());
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!((tokens.len(), door.handshakes()), (1, 1));
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    Evidence::of(journal)
        .fact("callers that waited while the server held its answer", at_once)
        .fact("different tokens", tokens.len())
        .fact("handshakes that the server saw", door.handshakes())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_with_several_certificates_are_kept_apart() -> Evidence {
    let stage = Stage::new().await;
    let door = door_to(&stage, ALL_VERSIONS).await;
    let (network, cache) = (door.network(), TokenCache::new());
    let certificates = [pki::c(), pki::renewed(), pki::d()];
    let client = |named: &pki::Named| {
        let builder = Client::builder(global(), APP).with_network(&network).with_cache(cache.clone());
        builder.with_certificate(named.binding()).build().unwrap()
    };
    let clients = certificates.map(client);
    door.gate().close();
    let waiting = Waiting::new();
    let callers = (0..CALLERS * 3).map(|caller| {
        let resource = clients[caller % 3].resource(&orders());
        let (own, waiting) = (certificates[caller % 3].thumbprint(), waiting.clone());
        tokio::spawn(async move {
            let answer = waiting.call(resource.call(order())).await.unwrap();
            let facts = answer.extensions().get::<certbound::resource::CallFacts>().unwrap().0;
            assert_eq!((answer.status().as_u16(), facts.presented), (200, Some(own)));
            assert_eq!(resource.token().await.unwrap().binding().thumbprint(), own);
        })
    });
    let callers: Vec<_> = callers.collect();
    let at_once = waiting.are(CALLERS * 3).await;
    door.gate().has_held(certificates.len()).await;
    door.gate().open();
    for caller in callers {
        caller.await.unwrap();
    }
    let journal = stage.journal();
    assert_eq!(journal.len(), 3 + CALLERS * 3);
    for named in certificates {
        let own: Vec<_> = journal
            .iter()
            .filter(|entry| entry.client_certificate == Some(named.thumbprint().x5t_s256()))
            .collect();
        assert_eq!(own.len(), 1 + CALLERS);
        let requests: Vec<_> = own.iter().filter(|entry| entry.host == MTLS_HOST).collect();
        assert_eq!(requests.len(), 1, "one request for each certificate");
        is_bound_by_certificate(requests[0], MTLS_HOST, named);
    }
    Evidence::in_any_order(journal)
        .fact("callers that waited while the server held the three answers of the token service", at_once)
}

/// Cancels an acquisition while it waits for the metadata service, and checks that it sent no token request. Returns the
/// number of connections to the token service.
async fn cancelled_before_its_request(stage: &Stage, cache: &TokenCache) -> usize {
    let metadata = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", metadata.local_addr().unwrap());
    let detector = RegionDetector::with_environment(move |name| {
        (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| url.clone())
    });
    let door = door_to(stage, ALL_VERSIONS).await;
    let builder = Client::builder(global().with_region(Region::detect()), APP).with_network(&door.network());
    let builder = builder.with_region_detector(detector).with_cache(cache.clone());
    let client = builder.with_certificate(pki::c().binding()).build().unwrap();
    let task = tokio::spawn(async move { client.bound_token(&graph()).await.map(drop) });
    let (mut connection, _) = metadata.accept().await.unwrap();
    let mut head = [0; 4];
    connection.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"GET ", "the acquisition asks for the region");
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    // An acquisition that went on in the background would read this answer, and keep its connection.
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\neastus";
    let _ = connection.write_all(answer).await;
    let ended = async { while connection.read(&mut [0; 512]).await.is_ok_and(|length| length > 0) {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the connection was ended");
    door.connections()
}

#[tokio::main(flavor = "current_thread")]
async fn a_cancelled_acquisition_leaves_nothing() -> Evidence {
    let stage = Stage::new().await;
    let cache = TokenCache::new();
    let connections = cancelled_before_its_request(&stage, &cache).await;
    let cached_before = cache.len();
    assert_eq!((connections, cached_before), (0, 0));

    let door = door_to(&stage, ALL_VERSIONS).await;
    let builder = Client::builder(global(), APP).with_network(&door.network()).with_cache(cache.clone());
    let client = builder.with_certificate(pki::c().binding()).build().unwrap();
    door.gate().close();
    let caller = client.clone();
    let task = tokio::spawn(async move { caller.bound_token(&graph()).await.map(drop) });
    door.gate().has_held(1).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    // The server still holds its answer, so only the client can have ended the connection.
    door.gate().has_dropped(1).await;
    let (unsent, cached) = (door.gate().unsent(), cache.len());
    assert_eq!((unsent, cached), (1, 0));
    // The cache is in order: the next acquisition sends a request of its own.
    door.gate().open();
    let token = client.bound_token(&graph()).await.unwrap();
    assert_eq!((token.details().source, cache.len()), (certbound::cache::Source::Service, 1));
    let mut journal = stage.journal();
    assert_eq!(journal.len(), 2);
    journal.iter().for_each(|entry| is_bound_by_certificate(entry, MTLS_HOST, pki::c()));
    journal[0] = without_answer(journal[0].clone());
    Evidence::of(journal)
        .fact(
            "connections to the token service by the acquisition that was cancelled before its request",
            connections,
        )
        .fact("cached tokens after this acquisition", cached_before)
        .fact(
            "held answers whose connection the client ended, after the cancellation during the request",
            unsent,
        )
        .fact("cached tokens after the second cancelled acquisition", cached)
}

#[tokio::main(flavor = "current_thread")]
async fn a_stalled_endpoint_is_an_error_in_time() -> Evidence {
    const LIMIT: Duration = Duration::from_secs(7);
    let half = Duration::from_millis(500);
    let stage = Stage::new().await;
    let door = door_to(&stage, ALL_VERSIONS).await;
    let network = door.network_with(|builder| builder.exchange_timeout(LIMIT));
    let cache = TokenCache::new();
    let builder = Client::builder(global(), APP).with_network(&network).with_cache(cache.clone());
    let builder = builder.with_retry_policy(RetryPolicy::none());
    let client = builder.with_certificate(pki::c().binding()).build().unwrap();
    door.gate().close();
    let task = tokio::spawn(async move { client.bound_token(&graph()).await.map(drop) });
    door.gate().has_held(1).await;
    // The request is at the service. The time passes without waiting.
    tokio::time::pause();
    let mut states = Vec::new();
    for (step, at) in [(LIMIT - half, LIMIT - half), (2 * half, LIMIT + half)] {
        tokio::time::advance(step).await;
        // The task runs now if its time limit has expired.
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        states.push((at, if task.is_finished() { "the caller has its error" } else { "the caller waits" }));
    }
    tokio::time::resume();
    assert_eq!(
        states.iter().map(|state| state.1).collect::<Vec<_>>(),
        ["the caller waits", "the caller has its error"]
    );
    let error = task.await.unwrap().unwrap_err();
    let cached = cache.len();
    assert_eq!((error.code(), cached), ("request_timeout", 0));
    let certbound::Error::Transport { cause: TransportError::TimedOut { host, limit, .. }, .. } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!((host.as_str(), *limit), (MTLS_HOST, LIMIT));
    assert!(error.is_transient() && error.to_string().contains(MTLS_HOST), "{error}");
    door.gate().has_dropped(1).await;
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    let journal = journal.into_iter().map(without_answer).collect();
    let evidence = states.iter().fold(Evidence::of(journal), |evidence, (at, state)| {
        evidence.fact(format!("after {} seconds", at.as_secs_f32()), state)
    });
    evidence
        .fact("error", format!("{}, with the host {host} and the limit {limit:?}", error.code()))
        .fact("cached tokens after the error", cached)
}
