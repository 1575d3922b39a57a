//! The cost of retries and throttling for a token that is not cached.

use std::cell::Cell;
use std::hint::black_box;

use bytes::Bytes;
use certbound::credential::BySecret;
use certbound::error::TransportError;
use certbound::retry::RetryPolicy;
use certbound::transport::{Answer, TlsFacts, Via};
use certbound::{Client, ResourceScope, Secret, TokenCache, Transport};
use futures_util::FutureExt as _;
use rustix::time::ClockId;

use crate::caches::{InProcess, REAL, at_once, scope};
use crate::harness::{scaled, used};
use crate::ours::{SECRET, SECRET_APP, authority};
use crate::sheet::Gate::AtMost;
use crate::sheet::{Sheet, side};

/// The number of misses of one client before the turn of the other client. The turns are short, so a load on the
/// machine affects both clients.
const BATCH: usize = 50;
const BATCHES: usize = 200;
/// The scope whose requests the service refuses with `Retry-After`.
const THROTTLED: usize = 0;

pub(crate) fn measure(sheet: &mut Sheet) {
    const NEITHER: &str = "without retries and throttling";
    const BOTH: &str = "with retries and throttling";
    let mut compare = |what, is_throttled, most| {
        let (neither, both) =
            (client(RetryPolicy::none(), false), client(RetryPolicy::default(), is_throttled));
        let of_both = Cell::new(0.0);
        let measure = || {
            let [first, second] = in_turn(&neither, &both);
            of_both.set(second);
            first
        };
        // The first side measures both clients, in turn.
        let sides = vec![side(NEITHER, measure), side(BOTH, || of_both.get())];
        sheet.compare(what, sides, &[(BOTH, AtMost(most), NEITHER)]);
    };
    compare("a token fetched, without the network", false, 1.02);
    // While the service asks to wait, the client compares each request with the throttled request.
    compare("the same, while the service throttles another token", true, 1.05);
}

/// A client without a cache, whose service answers at once.
fn client(policy: RetryPolicy, is_throttled: bool) -> Client<BySecret> {
    let builder = Client::builder(authority(), SECRET_APP).with_transport(Service(InProcess::bearer(REAL)));
    let builder = builder.with_cache(TokenCache::none()).with_retry_policy(policy);
    let client = builder.with_secret(Secret::new(SECRET)).build().unwrap();
    if is_throttled {
        let refused =
            || client.bearer_token(&scope(THROTTLED)).into_future().now_or_never().unwrap().unwrap_err();
        assert!(!refused().is_throttled() && refused().is_throttled());
    }
    client
}

/// Returns the CPU time of one miss of each client, in nanoseconds.
fn in_turn(first: &Client<BySecret>, second: &Client<BySecret>) -> [f64; 2] {
    let scope = scope(1);
    let (batches, mut times) = (scaled(BATCHES), [0.0; 2]);
    for batch in 0..=batches {
        for (time, fetch) in times.iter_mut().zip([fetch_first, fetch_second] as [Fetch; 2]) {
            let before = used(ClockId::ProcessCPUTime);
            fetch([first, second], &scope);
            // The first batch only warms up.
            *time += if batch == 0 { 0.0 } else { used(ClockId::ProcessCPUTime) - before };
        }
    }
    times.map(|time| time / (batches * BATCH) as f64)
}

type Fetch = fn([&Client<BySecret>; 2], &ResourceScope);

/// The two functions have names of their own, so that a profiler can count the instructions of each function.
#[inline(never)]
fn fetch_first([client, _]: [&Client<BySecret>; 2], scope: &ResourceScope) {
    (0..BATCH).for_each(|_| drop(black_box(at_once(client.bearer_token(scope)))));
}

#[inline(never)]
fn fetch_second([_, client]: [&Client<BySecret>; 2], scope: &ResourceScope) {
    (0..BATCH).for_each(|_| drop(black_box(at_once(client.bearer_token(scope)))));
}

/// A service that answers at once. It answers requests for one scope with 429, and all other requests with a token.
struct Service(InProcess);

impl Transport for Service {
    async fn send(&self, request: http::Request<Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
        let mut response = http::Response::new(self.0.answer().await);
        let number = format!("{THROTTLED:012}");
        if request.body().windows(number.len()).any(|part| part == number.as_bytes()) {
            *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
            response.headers_mut().insert("retry-after", http::HeaderValue::from_static("3600"));
        }
        Ok(Answer { response, tls: TlsFacts::default() })
    }
}
