//! Each row of the acceptance matrix for bound tokens, on real connections, and the page with the evidence.
//!
//! A row is a test that returns its evidence. The test of the page compares `docs/conformance.md` with the evidence of all
//! rows. A row that another test has already run is not run again. A row whose check fails never becomes a row of the page.

mod auth;
mod bind;
mod cache;
mod callers;
mod cfg;
mod door;
mod elsewhere;
mod evidence;
mod gate;
mod http;
mod idp;
mod old_tls;
mod page;
mod pki;
mod plat;
mod recorder;
mod reg;
mod req;
mod rows;
mod sni;
mod stage;
mod token_key;
mod trap;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

use self::evidence::Evidence;
use self::rows::{Result, Row, all, expected_ids};
use crate::support;

/// The number of rows that run at the same time.
const WORKERS: usize = 4;

/// Runs the rows that are shown, and returns their evidence by the number of the row.
fn run(rows: &[&Row]) -> Vec<Option<&'static Evidence>> {
    let (next, seen) = (Mutex::new(0), Mutex::new(Vec::new()));
    let work = || loop {
        let at = {
            let mut next = next.lock().unwrap();
            *next += 1;
            *next - 1
        };
        let Some(row) = rows.get(at) else { break };
        let evidence = match &row.result {
            Result::Shown { test, .. } => Some(catch_unwind(AssertUnwindSafe(test))),
            Result::NotHere(_) => None,
        };
        seen.lock().unwrap().push((at, evidence));
    };
    thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(work))));
    let mut seen = seen.into_inner().unwrap();
    seen.sort_by_key(|(at, _)| *at);
    let failed = seen.iter().filter(|(_, evidence)| matches!(evidence, Some(Err(_))));
    let failed: Vec<&str> = failed.map(|(at, _)| rows[*at].id).collect();
    assert!(failed.is_empty(), "the page was not made, because these rows failed: {}", failed.join(", "));
    seen.into_iter().map(|(_, evidence)| evidence.and_then(std::result::Result::ok)).collect()
}

/// With `CERTBOUND_WRITE_DOCS=1` this test writes the page instead of comparing it.
#[test]
fn the_page_of_conformance_is_what_a_run_shows() {
    let rows = all();
    let evidence = run(&rows);
    for (row, evidence) in rows.iter().zip(&evidence) {
        row.check(*evidence);
    }
    support::page("docs/conformance.md", |_| page::render(&rows, &evidence));
}

#[test]
fn the_rows_are_those_of_the_matrix_in_its_order() {
    let ids: Vec<&str> = all().iter().map(|row| row.id).collect();
    assert_eq!(ids, expected_ids());
}

/// Only this row may lack evidence. The limits of the others must stand in the page.
#[test]
fn no_more_rows_than_agreed_are_not_shown() {
    let rows = all();
    let others = rows.iter().filter(|row| !matches!(row.result, Result::Shown { .. }));
    let others: Vec<&str> = others.map(|row| row.id).collect();
    assert!(others.iter().all(|id| *id == "PLAT-01"), "{others:?}");
    let limited: Vec<&str> = rows.iter().filter(|row| row.limit.is_some()).map(|row| row.id).collect();
    assert_eq!(limited, ["CFG-06", "IDP-01", "IDP-02", "PLAT-04"]);
}
