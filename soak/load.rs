//! The tasks that acquire tokens and use them.

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use certbound::observe::CorrelationId;
use certbound::token::TokenHash;
use certbound::{Acquire, BoundToken, Error, ResourceScope, TenantId, TokenSource as _};
use certbound_emulator::world::builtin::{GRAPH, GRAPH_BOUND_HOST, ORDERS, ORDERS_HOST, VAULT, VAULT_HOST};

use crate::chance::Chance;
use crate::oracle::{Call, Obtained, Oracle, Purpose, Wanted};
use crate::subjects::{Kind, Subject};

/// The claims of a challenge.
const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

/// One task: it acquires random tokens until `stop` is set.
pub(crate) async fn run(
    mut chance: Chance,
    subjects: Arc<Vec<Subject>>,
    oracle: Arc<Oracle>,
    stop: Arc<AtomicBool>,
) {
    let (mut last, mut failed) = (None, None);
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(chance.milliseconds(50..1_000)).await;
        // After an error, some callers repeat the acquisition and force a request.
        let insists = failed.take().filter(|_| chance.one_in(4));
        let wanted = insists.unwrap_or_else(|| wanted(&mut chance, &subjects));
        let subject = &subjects[wanted.subject];
        if chance.one_in(500) {
            clear(subject, wanted.subject, &oracle);
        }
        let purpose = match chance.among(0..100) {
            _ if insists.is_some() => Purpose::Forced,
            0 => Purpose::Forced,
            1 => Purpose::Claims,
            2 => Purpose::Rejected,
            _ => Purpose::Plain,
        };
        let patience = chance.one_in(30).then(|| chance.milliseconds(0..400));
        let call = oracle.begin(wanted, purpose, CorrelationId::random());
        let acquired = acquire(subject, &call, last.as_ref());
        let limit = patience.unwrap_or(subject.limit);
        match tokio::time::timeout(limit, acquired).await {
            Err(_) if patience.is_some() => oracle.dropped(&call),
            Err(_) => oracle.hung(&call, limit),
            Ok(Err(error)) => {
                failed = Some(wanted);
                oracle.failed(&call, error);
            }
            Ok(Ok((obtained, bound))) => {
                oracle.received(&call, &obtained);
                last = Some(TokenHash::of(&obtained.secret));
                if let Some(bound) = bound.filter(|_| chance.one_in(8)) {
                    use_at_resource(&call, &bound, &oracle).await;
                }
            }
        }
    }
}

/// Chooses a client and a token.
fn wanted(chance: &mut Chance, subjects: &[Subject]) -> Wanted {
    let subject = usize::try_from(chance.among(0..subjects.len() as u64)).unwrap_or(0);
    let of = &subjects[subject];
    let kind = *chance.pick(of.kinds);
    let resource = match kind {
        Kind::Bound => *chance.pick(&[GRAPH, VAULT, ORDERS]),
        // The resource of the orders accepts bound tokens only.
        Kind::Bearer => *chance.pick(&[GRAPH, VAULT]),
    };
    let tenant = (!of.tenants.is_empty()).then(|| *chance.pick(of.tenants));
    Wanted { subject, kind, resource, tenant }
}

/// Empties the client's cache. This also releases the earlier certificates.
fn clear(subject: &Subject, at: usize, oracle: &Oracle) {
    oracle.cleared(at);
    subject.cache.clear();
    oracle.cleared(at);
    oracle.report.count("caches emptied", subject.name);
}

/// Acquires the token. For a bound token, the result also contains the token itself.
async fn acquire(
    subject: &Subject,
    call: &Call,
    last: Option<&TokenHash>,
) -> Result<(Obtained, Option<BoundToken>), Error> {
    let scope = ResourceScope::parse(&format!("{}/.default", call.wanted.resource)).unwrap();
    Ok(match call.wanted.kind {
        Kind::Bound => {
            let token = with_options(subject.source.bound_token(&scope), call, last).into_future().await?;
            (Obtained::from(&token), Some(token))
        }
        Kind::Bearer => {
            let token = with_options(subject.source.bearer_token(&scope), call, last).into_future().await?;
            (Obtained::from(&token), None)
        }
    })
}

fn with_options<'a, T>(acquire: Acquire<'a, T>, call: &Call, last: Option<&TokenHash>) -> Acquire<'a, T> {
    let acquire = acquire.correlation_id(call.id);
    let acquire = match call.wanted.tenant {
        Some(tenant) => acquire.tenant(TenantId::parse(tenant).unwrap()),
        None => acquire,
    };
    match (call.purpose, last) {
        (Purpose::Forced, _) => acquire.force_refresh(),
        (Purpose::Claims, _) => acquire.claims(CLAIMS),
        (Purpose::Rejected, Some(last)) => acquire.rejected(*last),
        _ => acquire,
    }
}

/// Calls the protected resource over TLS. The call may fail only because of a fault of the resource, the expiry of the
/// token, or a busy machine.
async fn use_at_resource(call: &Call, token: &BoundToken, oracle: &Oracle) {
    let (host, path) = match call.wanted.resource {
        GRAPH => (GRAPH_BOUND_HOST, "/v1.0/applications"),
        ORDERS => (ORDERS_HOST, "/orders"),
        _ => (VAULT_HOST, "/secrets/demo"),
    };
    let request = http::Request::get(format!("https://{host}{path}")).body(Bytes::new()).unwrap();
    let sent = token.resource().call(request).await;
    // The token may expire before the resource verifies it.
    let ended = |oracle: &Oracle| token.expires_at().as_secs() < oracle.clock.moment() + 20;
    match sent {
        Ok(response) if response.status() == 200 => oracle.report.count("calls of a resource", "200"),
        Ok(_) if ended(oracle) => oracle.report.count("calls of a resource", "refused, the token expired"),
        Ok(response) => {
            let body = String::from_utf8_lossy(response.body()).into_owned();
            oracle.violated(format!("{host} answers {} {body}\n    {call:?}", response.status()));
        }
        // Of the resources, only the vault has faults.
        Err(error) if (host == VAULT_HOST || oracle.was_busy(call)) && error.is_transient() => {
            oracle.report.count("calls of a resource", error.code());
        }
        Err(error) => {
            oracle.violated(format!("a call of {host} failed: {error}\n    {error:?}\n    {call:?}"))
        }
    }
}

/// Measures the delays of sleeps of 50 ms.
pub(crate) async fn watch_delays(oracle: Arc<Oracle>) {
    let tick = Duration::from_millis(50);
    loop {
        let before = tokio::time::Instant::now();
        tokio::time::sleep(tick).await;
        oracle.delayed(before.elapsed().saturating_sub(tick));
    }
}
