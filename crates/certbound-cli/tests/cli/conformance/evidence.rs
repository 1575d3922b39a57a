//! The evidence of a row: the requests that a server received, with the answers, and facts that the test read elsewhere.

use std::collections::BTreeSet;
use std::process::{ExitCode, Termination};

use certbound_emulator::JournalEntry;

use super::pki;

/// The rows about a refusal before the network. Only these rows have no request.
const QUIET: [&str; 10] =
    ["CFG-02", "CFG-03", "CFG-04", "REQ-07", "AUTH-02", "AUTH-03", "AUTH-04", "AUTH-11", "AUTH-12", "IDP-03"];

/// The rows about a server that never sends its answer.
const WITHOUT_ANSWER: [&str; 2] = ["HTTP-08", "HTTP-09"];

/// The rows about a Bearer token alone.
const BEARER: [&str; 2] = ["SNI-01", "SNI-02"];

/// The length at which the page breaks the line of a fact that has commas.
const WIDTH: usize = 120;

/// The evidence of one row. It contains no secrets, no times and no random values.
pub(super) struct Evidence {
    /// The requests. There are none if a trap saw that no connection was opened.
    requests: Vec<JournalEntry>,
    facts: Vec<(String, String)>,
    /// The thumbprint of the certificate [`pki::NEW`], if the row has one.
    new: Option<String>,
}

impl Evidence {
    /// Returns evidence with the requests in the order in which they arrived.
    pub(super) fn of(requests: Vec<JournalEntry>) -> Self {
        assert!(!requests.is_empty(), "only a trap shows that nothing was sent");
        Self { requests, facts: Vec::new(), new: None }
    }

    /// Returns evidence with requests that arrived in any order.
    pub(super) fn in_any_order(mut requests: Vec<JournalEntry>) -> Self {
        requests.sort_by_key(|request| exchange(request, None));
        Self::of(requests)
    }

    /// Returns evidence that no connection was opened. Only a [`Trap`](super::trap::Trap) calls it.
    pub(super) fn quiet() -> Self {
        Self { requests: Vec::new(), facts: Vec::new(), new: None }
    }

    /// Returns whether the row is about a refusal before the network.
    fn is_quiet(&self) -> bool {
        self.requests.is_empty()
    }

    /// Gives the name [`pki::NEW`] to a certificate that is new in each run.
    pub(super) fn with_new(mut self, x5t_s256: &str) -> Self {
        self.new = Some(x5t_s256.to_owned());
        self
    }

    /// Adds a fact that is not part of a request.
    pub(super) fn fact(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.facts.push((name.into(), value.to_string()));
        self
    }

    /// Checks that the evidence is complete: requests with the facts of their connections, or a trap that saw nothing. A row
    /// with requests has an answer with a bound token to a client with a certificate, unless it is about Bearer tokens.
    pub(super) fn check(&self, id: &str) {
        assert_eq!(self.is_quiet(), QUIET.contains(&id), "{id}: a refusal before the network");
        assert!(!self.is_quiet() || !self.facts.is_empty(), "{id}: the error of a refusal");
        let is_bound = |request: &JournalEntry| {
            request.client_certificate.is_some() && request.token_type.as_deref() == Some("mtls_pop")
        };
        let unsent = self.requests.iter().filter(|request| request.status == 0).count();
        assert_eq!(unsent, usize::from(WITHOUT_ANSWER.contains(&id)), "{id}: requests without an answer");
        let needs_bound = self.requests.len() > unsent && !BEARER.contains(&id);
        assert!(!needs_bound || self.requests.iter().any(is_bound), "{id}: no bound token was issued");
        for request in &self.requests {
            // The metadata service of a machine has no TLS.
            if request.host != certbound_emulator::IMDS_HOST {
                let has_tls = request.protocol.is_some() && !request.server_name.is_empty();
                assert!(has_tls, "{id}: {request:?}");
            }
        }
    }

    /// Returns the evidence as text. Equal requests in a row are written once, with their number.
    pub(super) fn text(&self) -> String {
        let mut blocks: Vec<(String, usize)> = Vec::new();
        for block in self.requests.iter().map(|request| exchange(request, self.new.as_deref())) {
            match blocks.last_mut() {
                Some((last, count)) if *last == block => *count += 1,
                _ => blocks.push((block, 1)),
            }
        }
        if self.is_quiet() {
            blocks.push(("no connection was opened\n".to_owned(), 1));
        }
        let times = |count: usize| if count > 1 { format!("{count} times:\n") } else { String::new() };
        let mut text: Vec<String> = blocks.into_iter().map(|(block, count)| times(count) + &block).collect();
        if !self.facts.is_empty() {
            text.push(self.facts.iter().map(|(name, value)| wrapped(&format!("{name}: {value}"))).collect());
        }
        text.join("\n")
    }
}

/// Returns the different texts that a test captured, for example the errors of several calls.
pub(super) fn joined(captured: &BTreeSet<String>) -> String {
    captured.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Breaks a long line after commas. Each line of the result ends with a line break.
fn wrapped(line: &str) -> String {
    let (mut text, mut length) = (String::new(), 0);
    for part in line.split_inclusive(", ") {
        if length > 0 && length + part.len() > WIDTH {
            text.truncate(text.trim_end().len());
            text.push_str("\n  ");
            length = 2;
        }
        text.push_str(part);
        length += part.len();
    }
    text + "\n"
}

/// Makes a row a test of its own.
impl Termination for &'static Evidence {
    fn report(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}

/// Returns a request with its connection and its answer. `new` is the thumbprint of the certificate [`pki::NEW`].
fn exchange(entry: &JournalEntry, new: Option<&str>) -> String {
    let scheme = if entry.protocol.is_some() { "https" } else { "http" };
    let mut text = format!("{} {scheme}://{}{}\n", entry.method, entry.host, entry.path);
    for (name, value) in &entry.parameters {
        // The journal has the hash of a value that may be secret. Such a value is often random.
        let value = if value.starts_with("sha256:") { "(redacted)" } else { value };
        text.push_str(&format!("  {name}={value}\n"));
    }
    if let Some(scheme) = &entry.authorization_scheme {
        text.push_str(&format!("  Authorization: {scheme} (redacted)\n"));
    }
    text.push_str(&match &entry.protocol {
        None => "  TLS: none\n".to_owned(),
        Some(protocol) => format!("  TLS: {protocol}, server name {}\n", entry.server_name),
    });
    if entry.protocol.is_some() {
        let named = match entry.client_certificate.as_deref() {
            None => "none".to_owned(),
            presented if presented == new => format!("{} (new in each run)", pki::NEW),
            Some(known) => pki::named(known),
        };
        text.push_str(&format!("  client certificate: {named}\n"));
    }
    if entry.status == 0 {
        return text + "  answer: none was sent\n";
    }
    let mut answer = vec![entry.status.to_string()];
    answer.extend(entry.aadsts.map(|number| format!("AADSTS{number}")));
    answer.extend(entry.token_type.as_ref().map(|kind| format!("token_type {kind}")));
    answer.extend(entry.expires_in.map(|seconds| format!("expires_in {seconds}")));
    answer.extend(entry.fault.map(|fault| format!("by the fault {fault}")));
    text + &format!("  answer: {}\n", answer.join(", "))
}

#[test]
fn a_long_fact_is_broken_after_a_comma() {
    assert_eq!(wrapped("a: b, c"), "a: b, c\n");
    let long = "x".repeat(70);
    assert_eq!(wrapped(&format!("{long}, {long}, c")), format!("{long},\n  {long}, c\n"));
}
