//! A cached token, compared with a map look-up, an `Arc` clone and one reading of the clock.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use certbound::ResourceScope;
use certbound::cache::Source;
use criterion::Criterion;

use crate::support::server::{Keep, Key, Server};
use crate::support::{Cpu, Gate, ROUNDS, VAULT, clients, in_round, print_ratios};

const GROUP: &str = "hit";
const FLOOR: &str = "map look-up, Arc clone, clock";
const GATE: Gate = Gate::AtMost(2.0);

#[expect(clippy::disallowed_methods, reason = "the floor reads the clock as it comes")]
pub(crate) fn measure(criterion: &mut Criterion<Cpu>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group(GROUP);

    let scope = ResourceScope::parse(VAULT).unwrap();
    let server = Server::start(Keep::Open, Key::Rsa);
    let leg2 = clients::legs(&server);
    let resource = leg2.resource(&scope);
    let first = runtime.block_on(async { leg2.bound_token(&scope).await }).unwrap();
    let again = runtime.block_on(async { leg2.bound_token(&scope).await }).unwrap();
    assert_eq!((first.details().source, again.details().source), (Source::Service, Source::Cache));

    // The key has the length of a key that names tenant, client, certificate and scope in text.
    let key = "k".repeat(149);
    let map = HashMap::<String, Arc<str>, foldhash::quality::RandomState>::from_iter([(
        key.clone(),
        Arc::from(first.secret().expose()),
    )]);

    for round in 0..ROUNDS {
        group.bench_function(in_round(FLOOR, round), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let now = SystemTime::now();
                (map.get(black_box(key.as_str())).map(Arc::clone), now)
            });
        });
        group.bench_function(in_round("bound_token", round), |bencher| {
            bencher.to_async(&runtime).iter(|| async { leg2.bound_token(black_box(&scope)).await });
        });
        group.bench_function(in_round("resource.token", round), |bencher| {
            bencher.to_async(&runtime).iter(|| async { resource.token().await });
        });
    }
    group.finish();
}

pub(crate) fn print() {
    print_ratios(GROUP, FLOOR, &[("bound_token", GATE), ("resource.token", GATE)]);
}
