//! The rows of the matrix, by group.

use super::evidence::Evidence;
use super::{auth, bind, cache, callers, cfg, http, idp, plat, reg, req, sni};
use crate::support::root;

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
    /// The test that shows the row, with its place. Its first call runs the test, and later calls return the same
    /// evidence.
    Shown { test: fn() -> &'static Evidence, name: &'static str, file: &'static str },
    /// The row needs a cloud or Windows. The text is the reason.
    NotHere(&'static str),
}

/// Makes the rows of a group: id, priority, what must be seen, the function that shows it, and the limit of what was shown.
/// Each function becomes a test. The test and the page share one run of the function. Rows that are not here come first.
macro_rules! rows {
    ($([$not_here:expr])? $(($id:literal, $priority:literal, $must:literal, $test:ident $(, with $limit:expr)? $(,)?)),* $(,)?) => {
        pub(super) const ROWS: &[$crate::conformance::rows::Row] = &[
            $($not_here,)?
            $($crate::conformance::rows::Row {
                id: $id,
                priority: $priority,
                must: $must,
                result: $crate::conformance::rows::Result::Shown {
                    test: row::$test,
                    name: stringify!($test),
                    file: file!(),
                },
                limit: [$(Some($limit),)? None][0],
            }),*
        ];

        mod row {
            use std::sync::OnceLock;

            use crate::conformance::evidence::Evidence;

            $(
                #[test]
                pub(super) fn $test() -> &'static Evidence {
                    static SEEN: OnceLock<Evidence> = OnceLock::new();
                    SEEN.get_or_init(super::$test)
                }
            )*
        }
    };
}
pub(super) use rows;

impl Row {
    /// Checks that the evidence is complete, and that the function is in the file to which the page links.
    pub(super) fn check(&self, evidence: Option<&Evidence>) {
        let Self { id, result, .. } = self;
        if let Result::Shown { name, file, .. } = result {
            let text = std::fs::read_to_string(root().join(file)).unwrap();
            assert!(text.contains(&format!("fn {name}()")), "{id}: {file} has no {name}");
            evidence.unwrap().check(id);
        }
    }
}

/// The groups of the matrix with the meaning of their names and the number of their rows.
pub(super) const GROUPS: [(&str, &str, usize, &[&[Row]]); 10] = [
    ("CFG", "Credentials", 6, &[cfg::ROWS]),
    ("REQ", "The token request", 9, &[req::ROWS]),
    ("SNI", "The same certificate without a bound token", 4, &[sni::ROWS]),
    ("REG", "Regions", 7, &[reg::ROWS]),
    ("AUTH", "Authorities", 12, &[auth::ROWS]),
    ("IDP", "Other identity providers", 3, &[idp::ROWS]),
    ("BIND", "The binding", 8, &[bind::ROWS]),
    ("CACHE", "The cache", 7, &[cache::ROWS]),
    ("HTTP", "Connections", 9, &[http::ROWS, callers::ROWS]),
    ("PLAT", "Platforms", 4, &[plat::ROWS]),
];

pub(super) fn all() -> Vec<&'static Row> {
    GROUPS.iter().flat_map(|(.., rows)| rows.iter().copied().flatten()).collect()
}

/// Returns the ids of the matrix. It does not read the rows.
pub(super) fn expected_ids() -> Vec<String> {
    let ids = |(group, _, count, _): &(&str, &str, usize, _)| {
        (1..=*count).map(|number| format!("{group}-{number:02}")).collect::<Vec<_>>()
    };
    GROUPS.iter().flat_map(ids).collect()
}
