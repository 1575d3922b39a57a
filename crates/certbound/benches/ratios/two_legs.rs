//! Acquisitions without a cached token, compared with the same HTTP requests on the same TLS without the client.

use certbound::ResourceScope;
use criterion::{BenchmarkGroup, Criterion};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use crate::support::bare::Bare;
use crate::support::server::{Keep, Key, Server};
use crate::support::{Cpu, Gate, ROUNDS, VAULT, clients, in_round, print_ratios};

const FLOOR: &str = "hyper and rustls, bare";
const LEGS: &str = "Leg 1 and Leg 2";
const DIRECT: &str = "the direct flow";

const KEPT: &str = "one request, connection kept";
const KINDS: [(&str, Keep, Key, f64); 3] = [
    ("two legs, connection kept", Keep::Open, Key::Rsa, 1.25),
    ("two legs, fresh RSA handshake", Keep::ForTwoRequests, Key::Rsa, 1.2),
    ("two legs, fresh P-256 handshake", Keep::ForTwoRequests, Key::P256, 1.25),
];

pub(crate) fn measure(criterion: &mut Criterion<Cpu>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (name, keep, key, _) in KINDS {
        let mut group = criterion.benchmark_group(name);
        legs(&mut group, &runtime, &Server::start(keep, key));
        group.finish();
    }
    let mut group = criterion.benchmark_group(KEPT);
    direct(&mut group, &runtime, &Server::start(Keep::Open, Key::Rsa));
    group.finish();
}

pub(crate) fn print() {
    for (name, .., gate) in KINDS {
        print_ratios(name, FLOOR, &[(LEGS, Gate::AtMost(gate))]);
    }
    print_ratios(KEPT, FLOOR, &[(DIRECT, Gate::AtMost(1.3))]);
}

fn legs(group: &mut BenchmarkGroup<'_, Cpu>, runtime: &Runtime, server: &Server) {
    let leg2 = clients::legs(server);
    let scope = ResourceScope::parse(VAULT).unwrap();
    for round in 0..ROUNDS {
        group.bench_function(in_round(FLOOR, round), |bencher| {
            let bare = Mutex::new(Bare::new(server));
            bencher.to_async(runtime).iter(|| async {
                let mut bare = bare.lock().await;
                bare.post(server.leg1_form()).await;
                bare.post(server.leg2_form()).await
            });
        });
        group.bench_function(in_round(LEGS, round), |bencher| {
            bencher
                .to_async(runtime)
                .iter(|| async { leg2.bound_token(&scope).force_refresh().await.unwrap() });
        });
    }
}

fn direct(group: &mut BenchmarkGroup<'_, Cpu>, runtime: &Runtime, server: &Server) {
    let client = clients::direct(server);
    let scope = ResourceScope::parse(VAULT).unwrap();
    for round in 0..ROUNDS {
        group.bench_function(in_round(FLOOR, round), |bencher| {
            let bare = Mutex::new(Bare::new(server));
            bencher.to_async(runtime).iter(|| async { bare.lock().await.post(server.direct_form()).await });
        });
        group.bench_function(in_round(DIRECT, round), |bencher| {
            bencher
                .to_async(runtime)
                .iter(|| async { client.bound_token(&scope).force_refresh().await.unwrap() });
        });
    }
}
