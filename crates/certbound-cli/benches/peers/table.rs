//! The results: values of the rounds, their medians and ratios.

use std::fmt::Write as _;

use serde_json::json;

use crate::report::{add_line, median};

pub(crate) struct Table {
    names: Vec<&'static str>,
    rows: Vec<Row>,
}

struct Row {
    text: &'static str,
    unit: &'static str,
    /// The values by worker, then by round.
    rounds: Vec<Vec<f64>>,
}

impl Table {
    pub(crate) fn new(names: impl Iterator<Item = &'static str>) -> Self {
        Self { names: names.collect(), rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, text: &'static str, unit: &'static str, worker: usize, value: f64) {
        let at = match self.rows.iter().position(|row| row.text == text) {
            Some(at) => at,
            None => {
                self.rows.push(Row { text, unit, rounds: vec![Vec::new(); self.names.len()] });
                self.rows.len() - 1
            }
        };
        self.rows[at].rounds[worker].push(value);
    }

    /// Returns the value of each round; empty if it was not measured.
    pub(crate) fn rounds(&self, text: &str, who: &str) -> &[f64] {
        let row = self.rows.iter().find(|row| row.text == text);
        let at = self.names.iter().position(|name| *name == who);
        row.zip(at).map(|(row, at)| row.rounds[at].as_slice()).unwrap_or_default()
    }

    /// Returns `who` divided by `other` for each round. A load on the machine affects both in the same round.
    pub(crate) fn ratios(&self, text: &str, who: &str, other: &str) -> Vec<f64> {
        let (who, other) = (self.rounds(text, who), self.rounds(text, other));
        who.iter().zip(other).map(|(who, other)| who / other).collect()
    }

    /// Formats the table as Markdown: our values, and all others as multiples of them.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("\n");
        for cells in self.cells() {
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text
    }

    /// Writes the same values as JSON, for a table of several benchmarks.
    pub(crate) fn report(&self) {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                let of = |(at, name): (usize, &&str)| json!({ "who": name, "rounds": row.rounds[at] });
                let measured: Vec<_> = self.names.iter().enumerate().map(of).collect();
                json!({ "what": row.text, "unit": row.unit, "measured": measured })
            })
            .collect();
        add_line(&json!({ "peers": rows, "cells": self.cells() }));
    }

    fn cells(&self) -> Vec<Vec<String>> {
        let head = std::iter::once("What").chain(self.names.iter().copied()).map(str::to_owned).collect();
        let rule = vec!["---".to_owned(); self.names.len() + 1];
        let rows = self.rows.iter().map(|row| {
            let ours = shown(median(&row.rounds[0]), row.unit);
            let others = self.names[1..].iter().map(|name| {
                let ratios = self.ratios(row.text, name, self.names[0]);
                times(&ratios)
            });
            let unit = if row.unit == "ns of CPU" { ", CPU" } else { "" };
            [format!("{}{unit}", row.text), ours].into_iter().chain(others).collect()
        });
        [head, rule].into_iter().chain(rows).collect()
    }
}

fn times(ratios: &[f64]) -> String {
    if ratios.is_empty() {
        return "–".to_owned();
    }
    match median(ratios) {
        ratio if ratio < 10.0 => format!("{ratio:.2}x"),
        ratio => format!("{ratio:.0}x"),
    }
}

fn shown(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => format!("{:.1} MiB", value / 1024.0 / 1024.0),
        _ if value < 1e3 => format!("{value:.0} ns"),
        _ if value < 1e6 => format!("{:.0} µs", value / 1e3),
        _ => format!("{:.1} ms", value / 1e6),
    }
}
