//! Converts an error to three lines or one JSON object, and to an exit code.

mod client;
mod command_line;
mod emulator;

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use certbound_core::catalogue::explain;
use certbound_core::shown::one_line;
pub(crate) use certbound_core::shown::one_line as one;
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) use self::client::number;
pub(crate) use self::command_line::{guess, with_tip};
use crate::layout::{columns, folded};

/// Exit code: the service, the resource or a check refused.
pub(crate) const REFUSED: u8 = 1;
/// Exit code: the command, the configuration or the input is wrong.
pub(crate) const USAGE: u8 = 2;
/// Exit code: the network failed.
pub(crate) const NETWORK: u8 = 3;

/// The failure of a command. It never contains a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) fix: String,
    /// The details are boxed, because their size would increase the size of every `Result`.
    pub(crate) details: Box<Details>,
    pub(crate) exit: u8,
}

/// Facts for scripts. `None` means that the fact is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Details {
    pub(crate) leg: Option<u8>,
    pub(crate) aadsts: Option<u32>,
    pub(crate) correlation_id: Option<String>,
    /// Whether the same command may succeed later.
    pub(crate) transient: bool,
    /// The waiting time that the service requests, in seconds.
    pub(crate) retry_after: Option<u64>,
    pub(crate) host: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    /// The way in which the region was determined.
    pub(crate) region_outcome: Option<&'static str>,
    /// The place from which a detected region was read.
    pub(crate) region_source: Option<&'static str>,
    /// The reason for the use of the global endpoint although a region was chosen.
    pub(crate) region_reason: Option<String>,
    pub(crate) tenant: Option<String>,
    /// The row of the table of recoveries, for `doctor`.
    #[serde(skip)]
    pub(crate) kind: Option<certbound::error::Failure>,
}

impl Failure {
    /// Creates a failure without details, with this exit code. A failure of the network is transient.
    pub(crate) fn new(exit: u8, code: &str, what: &str, why: impl Display, fix: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            what: what.to_owned(),
            why: why.to_string(),
            fix: fix.into(),
            details: Box::new(Details { transient: exit == NETWORK, ..Details::default() }),
            exit,
        }
    }

    /// Creates a failure of the operating system.
    pub(crate) fn of_system(what: &str, error: &std::io::Error) -> Self {
        Self::new(USAGE, "system_error", what, error, "check the machine's memory, disk, files and limits")
    }

    /// Returns the same failure without control characters, because parts of it may come from a server.
    fn shown(&self) -> Self {
        let one = |text: &str| one_line(text).into_owned();
        Self {
            code: one(&self.code),
            what: one(&self.what),
            why: one(&self.why),
            fix: one(&self.fix),
            details: Box::new(Details {
                correlation_id: self.details.correlation_id.as_deref().map(one),
                host: self.details.host.as_deref().map(one),
                region_reason: self.details.region_reason.as_deref().map(one),
                ..Details::clone(&self.details)
            }),
            exit: self.exit,
        }
    }

    /// Returns the lines for people. On a terminal they end with the command that explains the code. After a failed
    /// leg, the command that checks the flow follows.
    fn lines(&self, is_seen: bool) -> String {
        let Self { code, what, why, fix, details, .. } = self.shown();
        let mut text = format!("error: {what} [{code}]\n  why: {why}\n  fix: {fix}\n");
        if let Some(id) = details.correlation_id.filter(|id| !why.contains(id)) {
            // The reason can already contain the id of the request, and the service can have used a different id.
            let label = match why.contains("correlation id") {
                true => "the service's correlation id",
                false => "correlation id",
            };
            text.push_str(&format!("  {label}: {id}\n"));
        }
        if let Some(code) = self.explained_code().filter(|_| is_seen) {
            text.push_str(&format!("  more: certbound explain {code}\n"));
        }
        // Only the two-leg flow has legs, and `doctor` checks only this flow.
        if details.leg.is_some() && is_seen {
            text.push_str("  check: certbound doctor, with the flags of this flow\n");
        }
        text
    }

    /// Returns the code for `certbound explain`: a known AADSTS number, which is more exact, or else the code of the
    /// error. The result is `None` without an explanation, and for a wrong command line or an unknown code: there the
    /// explanation would add nothing to the error.
    fn explained_code(&self) -> Option<String> {
        let number = self.details.aadsts.and_then(|number| explain(&number.to_string()));
        let found = number.or_else(|| explain(&self.code)).map(|it| it.code.into_owned());
        found.filter(|code| !matches!(code.as_str(), "usage" | "code_unknown"))
    }

    fn json(&self) -> String {
        format!("{}\n", json!({ "error": self.value() }))
    }

    /// Returns the object that describes the failure, without control characters.
    pub(crate) fn value(&self) -> Value {
        #[derive(Serialize)]
        struct Shown {
            code: String,
            message: String,
            fix: String,
            #[serde(flatten)]
            details: Box<Details>,
        }

        let Self { code, what, why, fix, details, .. } = self.shown();
        json!(Shown { code, message: format!("{what}: {why}"), fix, details })
    }
}

/// Writes a failure to stderr and returns the exit code.
pub(crate) fn report(failure: &Failure, json: bool) -> ExitCode {
    let is_seen = std::io::stderr().is_terminal();
    let text = match (json, is_seen) {
        (true, _) => failure.json(),
        (false, true) => folded(&failure.lines(true), columns(std::io::stderr())),
        (false, false) => failure.lines(false),
    };
    // If stderr is closed, nobody can read the failure.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(failure.exit)
}

#[cfg(test)]
mod tests {
    use certbound_core::shown::is_active;

    use super::*;

    #[test]
    fn an_error_is_three_lines_whatever_a_stranger_wrote_into_it() {
        let code = "x\u{1b}]0;\u{9b}";
        let failure = Failure::new(
            REFUSED,
            code,
            "it\u{1b}[2J\u{202e}failed",
            "line one\r\nline two",
            "do\u{2028}that",
        );
        let details = Details { correlation_id: Some("\u{1b}c\n".to_owned()), ..Details::default() };
        let failure = Failure { details: Box::new(details), ..failure };
        assert_eq!(
            failure.lines(true),
            "error: it [2J failed [x ]0; ]\n  why: line one  line two\n  fix: do that\n  correlation id:  c \n"
        );
        let json = failure.json();
        assert!(json.ends_with('\n') && !json.trim_end().contains(is_active), "{json:?}");
    }

    #[test]
    fn the_id_of_the_service_is_not_taken_for_the_id_of_the_request() {
        let failure = |why: &str| {
            let details = Details { correlation_id: Some("of-service".to_owned()), ..Details::default() };
            let failure = Failure::new(REFUSED, "c", "no token was issued", why, "wait");
            Failure { details: Box::new(details), ..failure }.lines(false)
        };
        assert!(
            failure("No (correlation id of-request)")
                .ends_with("  the service's correlation id: of-service\n")
        );
        assert!(failure("No").ends_with("\n  correlation id: of-service\n"));
        assert!(!failure("No (correlation id of-service)").contains("service's"));
    }

    #[test]
    fn the_last_line_on_a_terminal_is_the_command_that_explains_the_code() {
        let last = |code: &str, aadsts, is_seen| {
            let details = Details { aadsts, ..Details::default() };
            let failure = Failure::new(REFUSED, code, "no token was issued", "No", "wait");
            let text = Failure { details: Box::new(details), ..failure }.lines(is_seen);
            text.lines().last().unwrap_or_default().to_owned()
        };
        let explain = |code: &str| format!("  more: certbound explain {code}");
        assert_eq!(last("invalid_tenant", None, true), explain("invalid_tenant"));
        assert_eq!(last("invalid_client", Some(700_027), true), explain("AADSTS700027"));
        assert_eq!(last("invalid_client", Some(1), true), explain("invalid_client"));
        let of_leg = Details { leg: Some(2), ..Details::default() };
        let of_leg = Failure { details: Box::new(of_leg), ..Failure::new(REFUSED, "c", "no", "No", "wait") };
        assert!(of_leg.lines(true).ends_with("\n  check: certbound doctor, with the flags of this flow\n"));
        assert!(of_leg.lines(false).ends_with("\n  fix: wait\n"));
        for (code, is_seen) in [("invalid_tenant", false), ("of_a_stranger", true), ("usage", true)] {
            assert_eq!(last(code, None, is_seen), "  fix: wait", "{code}");
        }
    }
}
