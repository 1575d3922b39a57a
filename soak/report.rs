//! The counts and the violations of the soak, and the summary at its end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of violations whose evidence is printed.
const SHOWN: usize = 10;

/// The counts by group and row, and the violations.
#[derive(Default)]
pub(crate) struct Report {
    groups: Mutex<Groups>,
    violations: Mutex<(usize, Vec<String>)>,
}

type Groups = BTreeMap<&'static str, BTreeMap<String, u128>>;

impl Report {
    /// Adds one to a row.
    pub(crate) fn count(&self, group: &'static str, row: &str) {
        let mut groups = self.groups();
        match groups.entry(group).or_default().get_mut(row) {
            Some(count) => *count += 1,
            None => drop(groups.entry(group).or_default().insert(row.to_owned(), 1)),
        }
    }

    /// Keeps the largest value of a row.
    pub(crate) fn at_most(&self, row: &str, value: u128) {
        let mut groups = self.groups();
        let found = groups.entry("machine").or_default().entry(row.to_owned()).or_default();
        *found = value.max(*found);
    }

    /// Returns the sum of a group.
    pub(crate) fn sum(&self, group: &str) -> u128 {
        self.groups().get(group).map_or(0, |rows| rows.values().sum())
    }

    /// Records a violation with its evidence.
    pub(crate) fn violated(&self, evidence: String) {
        let mut violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        violations.0 += 1;
        if violations.1.len() < SHOWN {
            violations.1.push(evidence);
        }
    }

    /// Returns whether there is a violation.
    pub(crate) fn is_violated(&self) -> bool {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).0 > 0
    }

    /// Prints all counts and the first violations. Returns the number of violations.
    pub(crate) fn print(&self) -> usize {
        for (group, rows) in &*self.groups() {
            println!("{group}");
            rows.iter().for_each(|(row, count)| println!("  {row:<45} {count:>10}"));
        }
        let violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        println!("violations: {}", violations.0);
        violations.1.iter().for_each(|evidence| println!("  {evidence}"));
        violations.0
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
