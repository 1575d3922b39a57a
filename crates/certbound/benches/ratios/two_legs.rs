//! A cold two-leg exchange, against the same two HTTP requests on the same TLS done bare.

use certbound::ResourceScope;
use criterion::{BenchmarkGroup, Criterion};
use tokio::sync::Mutex;

use crate::support::bare::Bare;
use crate::support::server::{Keep, Server};
use crate::support::{Cpu, ROUNDS, VAULT, clients, in_round, print_ratios};

const FLOOR: &str = "hyper and rustls, bare";
const OURS: &str = "Leg 1 and Leg 2";

const KINDS: [(&str, Keep); 2] =
    [("two legs, connection kept", Keep::Open), ("two legs, fresh RSA handshake", Keep::ForTwoRequests)];

pub(crate) fn measure(criterion: &mut Criterion<Cpu>) {
    for (name, keep) in KINDS {
        let mut group = criterion.benchmark_group(name);
        measure_in(&mut group, keep);
        group.finish();
    }
}

pub(crate) fn print() {
    for (name, _) in KINDS {
        print_ratios(name, FLOOR, &[(OURS, Some(1.5))]);
    }
}

fn measure_in(group: &mut BenchmarkGroup<'_, Cpu>, keep: Keep) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = Server::start(keep);
    let (leg2, cache) = clients::legs(&server);
    let scope = ResourceScope::parse(VAULT).unwrap();
    for round in 0..ROUNDS {
        group.bench_function(in_round(FLOOR, round), |bencher| {
            let bare = Mutex::new(Bare::new(&server));
            bencher.to_async(&runtime).iter(|| async {
                let mut bare = bare.lock().await;
                bare.post(server.leg1_form()).await;
                bare.post(server.leg2_form()).await
            });
        });
        group.bench_function(in_round(OURS, round), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                cache.clear();
                leg2.bound_token(&scope).await.unwrap()
            });
        });
    }
}
