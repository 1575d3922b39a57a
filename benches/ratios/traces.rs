//! Measures acquisitions with a subscriber of `tracing` at `info`, and with the observer of a client.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;

use certbound::observe::{CompletedAcquisition, ObservedRequest, Observer};
use tracing::dispatcher::{Dispatch, set_default};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::caches::{Filled, InProcess, REAL, fetch, hit, scope};
use crate::harness::{each, time_of_each};
use crate::sheet::Gate::{AtMost, None};
use crate::sheet::{Sheet, side};

const WITHOUT: &str = "without a subscriber";
const WITH: &str = "with a subscriber at info";
const OBSERVED: &str = "with an observer";
const HITS: usize = 1_000_000;
/// The number of misses in a round. Each miss adds a token.
const MISSES: usize = 10_000;

/// An observer that does nothing.
struct Idle;

impl Observer for Idle {
    fn before_request(&self, request: &ObservedRequest) {
        black_box(request);
    }

    fn after_acquisition(&self, acquisition: &CompletedAcquisition<'_>) {
        black_box(acquisition);
    }
}

pub(crate) fn measure(sheet: &mut Sheet) {
    // The subscriber keeps each span until it ends, and writes nothing.
    let subscriber = Dispatch::new(tracing_subscriber::registry().with(LevelFilter::INFO));
    let service = InProcess::bearer(REAL);
    let (plain, observed) = (Filled::with(1, &service), Filled::observed(1, &service, Arc::new(Idle)));
    let sides = vec![
        each(WITHOUT, HITS, async || hit(&plain.client, &plain.scopes[0])),
        side(WITH, || {
            let _guard = set_default(&subscriber);
            time_of_each(HITS, async || hit(&plain.client, &plain.scopes[0]))
        }),
        each(OBSERVED, HITS, async || hit(&observed.client, &observed.scopes[0])),
    ];
    let lines = [(WITH, AtMost(1.1), WITHOUT), (OBSERVED, AtMost(1.1), WITHOUT)];
    sheet.compare("a cached token, observed", sides, &lines);

    let next = Cell::new(1_usize);
    let miss = |filled: &Filled| {
        let number = next.replace(next.get() + 1);
        if number.is_multiple_of(MISSES) {
            filled.cache.clear();
        }
        fetch(&filled.client, &scope(number));
    };
    let sides = vec![
        each(WITHOUT, MISSES, async || miss(&plain)),
        side(WITH, || {
            let _guard = set_default(&subscriber);
            time_of_each(MISSES, async || miss(&plain))
        }),
        each(OBSERVED, MISSES, async || miss(&observed)),
    ];
    let lines = [(WITHOUT, None, WITH), (WITHOUT, None, OBSERVED)];
    sheet.compare("a token fetched and cached, without the network, observed", sides, &lines);
}
