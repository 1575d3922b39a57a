//! A cached token of a managed identity, compared with one of an application's client in the same cache.

use std::hint::black_box;

use certbound::ResourceScope;
use certbound::cache::Source;
use certbound::managed_identity::IdentityId;
use certbound_testkit::Pair;
use criterion::Criterion;

use crate::support::{Cpu, Gate, ROUNDS, VAULT, in_round, print_ratios};

const GROUP: &str = "managed identity's hit";
const FLOOR: &str = "an application's hit";
const OURS: &str = "bound_token";

pub(crate) fn measure(criterion: &mut Criterion<Cpu>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group(GROUP);
    let pair = Pair::new();
    let scope = ResourceScope::parse(VAULT).unwrap();
    let machine = pair.managed_identity(IdentityId::System).build().unwrap();
    // The application has a certificate. If its Leg 1 were the machine, it would include the machine's cost.
    let application = pair.leg1();
    for source in [Source::Service, Source::Cache] {
        let tokens = async {
            (machine.bound_token(&scope).await.unwrap(), application.bound_token(&scope).await.unwrap())
        };
        let (token, other) = runtime.block_on(tokens);
        assert_eq!((token.details().source, other.details().source), (source, source));
    }
    for round in 0..ROUNDS {
        group.bench_function(in_round(FLOOR, round), |bencher| {
            bencher.to_async(&runtime).iter(|| async { application.bound_token(black_box(&scope)).await });
        });
        group.bench_function(in_round(OURS, round), |bencher| {
            bencher.to_async(&runtime).iter(|| async { machine.bound_token(black_box(&scope)).await });
        });
    }
    group.finish();
}

pub(crate) fn print() {
    print_ratios(GROUP, FLOOR, &[(OURS, Gate::AtMost(1.25))]);
}
