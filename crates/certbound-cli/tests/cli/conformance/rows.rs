//! The rows of the matrix, by group.

use super::evidence::Evidence;
use super::{auth, bind, cache, cfg, http, idp, plat, reg, req, root, sni};

/// A row of the matrix.
pub(super) struct Row {
    pub(super) id: &'static str,
    /// 0 for a row that needs captured evidence of a whole flow, 1 for the others.
    pub(super) priority: u8,
    /// What must be seen, in our words.
    pub(super) must: &'static str,
    pub(super) result: Result,
    /// The limit of what was shown. The text follows the word "shown".
    pub(super) limit: Option<&'static str>,
}

pub(super) enum Result {
    /// The test that shows the row, with its place.
    Shown { test: fn() -> Evidence, name: &'static str, file: &'static str },
    /// The row needs a cloud or Windows. The text is the reason.
    NotHere(&'static str),
}

/// Returns a row that the test of this name shows.
macro_rules! shown {
    ($id:literal, $priority:literal, $must:literal, $test:ident) => {
        $crate::conformance::rows::Row {
            id: $id,
            priority: $priority,
            must: $must,
            result: $crate::conformance::rows::Result::Shown {
                test: $test,
                name: stringify!($test),
                file: file!(),
            },
            limit: None,
        }
    };
}
pub(super) use shown;

impl Row {
    /// Checks that no cell of the row is empty, and that its evidence has what its priority needs.
    pub(super) fn check(&self, evidence: Option<&Evidence>) {
        let Self { id, must, result, .. } = self;
        assert!(must.len() > 10, "{id}: what must be seen");
        assert!(self.priority <= 1, "{id}");
        match result {
            Result::Shown { name, file, .. } => {
                let text = std::fs::read_to_string(root().join(file)).unwrap();
                assert!(text.contains(&format!("fn {name}()")), "{id}: {file} has no {name}");
                evidence.unwrap().check(id);
            }
            Result::NotHere(why) => assert!(why.len() > 10, "{id}: the reason"),
        }
    }
}

/// The groups of the matrix with the meaning of their names and the number of their rows.
pub(super) const GROUPS: [(&str, &str, usize, &[Row]); 10] = [
    ("CFG", "Credentials", 6, cfg::ROWS),
    ("REQ", "The token request", 9, req::ROWS),
    ("SNI", "The same certificate without a bound token", 4, sni::ROWS),
    ("REG", "Regions", 7, reg::ROWS),
    ("AUTH", "Authorities", 12, auth::ROWS),
    ("IDP", "Other identity providers", 3, idp::ROWS),
    ("BIND", "The binding", 8, bind::ROWS),
    ("CACHE", "The cache", 7, cache::ROWS),
    ("HTTP", "Connections", 9, http::ROWS),
    ("PLAT", "Platforms", 4, plat::ROWS),
];

pub(super) fn all() -> Vec<&'static Row> {
    GROUPS.iter().flat_map(|(.., rows)| *rows).collect()
}

/// Returns the ids of the matrix. It does not read the rows.
pub(super) fn expected_ids() -> Vec<String> {
    let ids = |(group, _, count, _): &(&str, &str, usize, _)| {
        (1..=*count).map(|number| format!("{group}-{number:02}")).collect::<Vec<_>>()
    };
    GROUPS.iter().flat_map(ids).collect()
}
