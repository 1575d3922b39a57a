//! The report of `doctor`: one line for each check. It contains no token, assertion, password or key, so that users can
//! paste it into a ticket.

use std::collections::HashSet;

use certbound_core::refusal::without_tokens;
use serde::Serialize;
use serde_json::Value;

use super::blame::{Blamed, Origin};
use crate::config::ShownValue;
use crate::failure::{Failure, one};

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Ok,
    /// The flow works, but something should be changed.
    Warning,
    Failed,
    /// The check was not made, for the reason in the summary.
    Skipped,
}

/// One check with its result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// The stable name.
    pub(crate) id: &'static str,
    #[serde(skip)]
    pub(crate) group: &'static str,
    pub(crate) title: String,
    pub(crate) status: Status,
    pub(crate) summary: String,
    pub(crate) details: Vec<String>,
    /// The values that differ from the registered values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) differences: Vec<Difference>,
    pub(crate) why: Option<String>,
    pub(crate) fix: Option<String>,
    /// The common issue of the two-leg flow that this line shows.
    pub(crate) issue: Option<&'static str>,
    /// The party at fault, by the table of recoveries.
    #[serde(rename = "atFault", skip_serializing_if = "Option::is_none")]
    pub(crate) at_fault: Option<&'static str>,
    /// The error, with the same members as the errors of other commands.
    pub(crate) error: Option<Value>,
    #[serde(skip)]
    pub(crate) blamed: Option<Blamed>,
}

/// Two values that must be equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub(crate) what: &'static str,
    pub(crate) assertion: String,
    pub(crate) credential: String,
    /// The index of the first different character, counted from 0.
    pub(crate) at: usize,
    pub(crate) how: String,
}

impl Line {
    fn new(id: &'static str, title: impl Into<String>, status: Status, summary: impl Into<String>) -> Self {
        Self {
            id,
            group: group(id),
            title: title.into(),
            status,
            summary: summary.into(),
            details: Vec::new(),
            differences: Vec::new(),
            why: None,
            fix: None,
            issue: None,
            at_fault: None,
            error: None,
            blamed: None,
        }
    }

    pub(crate) fn ok(id: &'static str, title: impl Into<String>, summary: impl Into<String>) -> Self {
        Self::new(id, title, Status::Ok, summary)
    }

    pub(crate) fn warning(
        id: &'static str,
        title: impl Into<String>,
        summary: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { fix: Some(fix.into()), ..Self::new(id, title, Status::Warning, summary) }
    }

    pub(crate) fn wrong(
        id: &'static str,
        title: impl Into<String>,
        summary: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { status: Status::Failed, ..Self::warning(id, title, summary, fix) }
    }

    /// Creates a failed line from the error of a step.
    pub(crate) fn failed(id: &'static str, title: impl Into<String>, failure: &Failure) -> Self {
        Self {
            why: Some(failure.why.clone()),
            fix: Some(failure.fix.clone()),
            issue: super::issue::of(failure),
            error: Some(failure.value()),
            blamed: failure.details.kind.map(|kind| Blamed { failure: kind, leg: failure.details.leg }),
            ..Self::new(id, title, Status::Failed, failure.what.clone())
        }
    }

    pub(crate) fn skipped(id: &'static str, title: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(id, title, Status::Skipped, reason)
    }

    /// Creates a skipped line. `needed` names the line or the group of lines that the check needs.
    pub(crate) fn needs(id: &'static str, title: impl Into<String>, needed: &str) -> Self {
        Self::skipped(id, title, format!("needs: {needed}"))
    }

    #[must_use]
    pub(crate) fn with(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    #[must_use]
    pub(crate) fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// Adds the party at fault, and adds the library's action on the certificate to the fix.
    fn blamed(mut self, origin: Origin) -> Self {
        // The table is about requests to the token service.
        let is_of_resource = self.id.starts_with("resource.") || self.id == "network.resource";
        let Some(blamed) = self.blamed.filter(|_| !is_of_resource) else { return self };
        self.at_fault = blamed.at_fault();
        if let (Some(fix), Some(then)) = (&mut self.fix, blamed.then(origin)) {
            fix.push_str(&format!("; {then}"));
        }
        self
    }

    /// Removes control characters and tokens, because texts can come from a server or from a file.
    fn cleaned(mut self) -> Self {
        let clean = |text: &mut String| *text = without_tokens(&one(text));
        clean(&mut self.title);
        clean(&mut self.summary);
        self.details.iter_mut().chain(&mut self.why).chain(&mut self.fix).for_each(clean);
        for difference in &mut self.differences {
            clean(&mut difference.assertion);
            clean(&mut difference.credential);
        }
        if let Some(Value::Object(error)) = &mut self.error {
            for value in error.values_mut() {
                if let Value::String(text) = value {
                    clean(text);
                }
            }
        }
        self
    }
}

/// Returns the heading of the group to which a line belongs.
fn group(id: &str) -> &'static str {
    match id.split('.').next().unwrap_or_default() {
        "configuration" => "Configuration",
        "certificate" => "Certificate",
        "network" => "Network",
        "leg1" => "Leg 1",
        "federated_credential" => "Federated credential",
        "leg2" => "Leg 2",
        "token" => "Token",
        _ => "Resource",
    }
}

/// All lines, in the order of the flow.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) values: Vec<ShownValue>,
    pub(crate) lines: Vec<Line>,
    pub(crate) milliseconds: u64,
    /// The origin of the certificate.
    pub(crate) origin: Origin,
}

impl Report {
    pub(crate) fn add(&mut self, line: Line) {
        self.lines.push(line.blamed(self.origin).cleaned());
    }

    /// Adds a line before the line `next`, for a check that runs later than its place in the report.
    pub(crate) fn add_before(&mut self, next: &str, line: Line) {
        let at = self.lines.iter().position(|line| line.id == next).unwrap_or(self.lines.len());
        self.lines.insert(at, line.blamed(self.origin).cleaned());
    }

    /// Returns the name of the first of these lines that failed.
    pub(crate) fn first_failed(&self, ids: &[&str]) -> Option<String> {
        let failed = self.lines.iter().filter(|line| line.status == Status::Failed);
        failed.into_iter().find(|line| ids.contains(&line.id)).map(|line| match line.title.as_str() {
            "" => line.group.to_owned(),
            title => format!("{}, {title}", line.group),
        })
    }

    /// Returns whether one of these lines failed.
    pub(crate) fn has_failed(&self, ids: &[&str]) -> bool {
        self.lines.iter().any(|line| line.status == Status::Failed && ids.contains(&line.id))
    }

    pub(crate) fn count(&self, status: Status) -> usize {
        self.lines.iter().filter(|line| line.status == status).count()
    }

    pub(crate) fn value(&self) -> Value {
        debug_assert_eq!(
            self.lines.iter().map(|line| line.id).collect::<HashSet<_>>().len(),
            self.lines.len()
        );
        serde_json::json!({
            "ok": self.count(Status::Failed) == 0,
            "values": self.values.iter().map(|value| value.json.clone()).collect::<Vec<_>>(),
            "checks": self.lines,
            "passed": self.count(Status::Ok),
            "warnings": self.count(Status::Warning),
            "failed": self.count(Status::Failed),
            "skipped": self.count(Status::Skipped),
            "milliseconds": self.milliseconds,
        })
    }
}
