//! The checklist: statements that must hold, and the evidence for each. Without evidence a statement does not hold.

mod exchange;
mod leg1;
mod machine;
mod outcome;
mod refusals;

use super::evidence::{Evidence, Scene};
use super::{CheckedLine, How, documents};
use certbound::Thumbprint;
use certbound_emulator::JournalEntry;

/// The observation of a line: `Ok` if the statement holds.
type Seen = Result<String, String>;

/// One line of the checklist.
struct Line {
    id: &'static str,
    leg: Option<u8>,
    how: How,
    text: &'static str,
    look: fn(&Evidence) -> Seen,
}

/// Judges every line, in the order of the flow.
pub(super) fn judge(evidence: &Evidence) -> Vec<CheckedLine> {
    [leg1::LINES, exchange::LINES, outcome::LINES, machine::LINES, refusals::LINES, DOCUMENTATION]
        .into_iter()
        .flatten()
        .map(|line| line.judge(evidence))
        .collect()
}

impl Line {
    fn judge(&self, evidence: &Evidence) -> CheckedLine {
        let Self { id, leg, how, text, look } = *self;
        let (ok, detail) = match look(evidence) {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        CheckedLine { id, leg, text, ok, how, detail: crate::failure::one(&detail).into_owned() }
    }
}

const DOCUMENTATION: &[Line] = &[
    Line {
        id: "docs.two-leg",
        leg: None,
        how: How::Text,
        text: "\"FIC two-leg\" or \"two-leg flow\" terminology is used",
        look: |_| documents::both_say(&["exchange"], &["two-leg flow"]),
    },
    Line {
        id: "docs.legs",
        leg: None,
        how: How::Text,
        text: "\"Leg 1\" and \"Leg 2\" are clearly distinguished",
        look: |_| documents::both_say(&["exchange"], &["Leg 1", "Leg 2"]),
    },
    Line {
        id: "docs.assertion",
        leg: None,
        how: How::Text,
        text: "\"Assertion\" is used for the intermediate token",
        look: |_| documents::both_say(&["assertion", "exchange"], &["assertion"]),
    },
    Line {
        id: "docs.jwt-pop",
        leg: None,
        how: How::Text,
        text: "\"jwt-pop\" is mentioned for the client assertion type",
        look: |_| documents::both_say(&["exchange"], &["jwt-pop"]),
    },
    Line {
        id: "docs.direct-apart",
        leg: None,
        how: How::Text,
        text: "The direct flow is not mixed in",
        look: |_| documents::direct_flow_is_apart(),
    },
];

fn want(holds: bool, detail: impl Into<String>) -> Seen {
    if holds { Ok(detail.into()) } else { Err(detail.into()) }
}

/// Returns the thumbprint of C, the binding certificate.
fn certificate(evidence: &Evidence) -> Result<Thumbprint, String> {
    evidence.certificate.ok_or_else(|| match &evidence.leg1.outcome {
        Err(reason) => reason.clone(),
        Ok(_) => "there is no binding certificate".to_owned(),
    })
}

/// Checks that the connection of this request presented exactly C.
fn presented(entry: &JournalEntry, evidence: &Evidence) -> Seen {
    let expected = certificate(evidence)?.x5t_s256();
    match &entry.client_certificate {
        Some(found) if *found == expected => Ok(format!("{} saw the certificate {found}", entry.host)),
        Some(found) => Err(format!("{} saw the certificate {found} instead of {expected}", entry.host)),
        None => Err(format!("{} saw no certificate", entry.host)),
    }
}

fn parameter(entry: &JournalEntry, name: &str, expected: &str) -> Seen {
    match entry.parameter(name) {
        Some(found) => want(found == expected, format!("{name}={found}")),
        None => Err(format!("{name} is not in the request")),
    }
}

/// Checks that the request went to the regional mutual TLS host, by the name in TLS and by the name in HTTP.
fn at_regional_host<T>(scene: &Scene<T>) -> Seen {
    const HOST: &str = "westus3.mtlsauth.microsoft.com";
    let entry = scene.token_request()?;
    want(
        entry.host == HOST && entry.server_name == HOST,
        format!("POST https://{}{}", entry.host, entry.path),
    )
}
