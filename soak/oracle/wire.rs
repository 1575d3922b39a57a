//! Checks each request that the emulator received: the client must have been allowed to send it.

use std::collections::HashMap;
use std::time::Duration;

use certbound::Thumbprint;
use certbound_emulator::world::builtin::USER_IDENTITY;
use certbound_emulator::{IMDS_HOST, JournalEntry};

use super::{Purpose, ROUNDING, State};
use crate::clock::{Moment, fast};
use crate::faults::{MACHINE_CERTIFICATE, WAITS};
use crate::report::Report;
use crate::subjects::{EXCHANGE, Subject};

/// The correlation id of requests that the oracle itself sends.
pub(super) const OWN_CHECK: &str = "own-check";
/// The shortest wait before a retry.
const WAIT: Moment = fast(Duration::from_secs(1));
/// The longest usual time between the decision to send a request and its arrival.
pub(super) const UNDER_WAY: Moment = fast(Duration::from_secs(1));
/// A request for a token is a violation if the same token was issued less than this time earlier. The tolerance is
/// [`UNDER_WAY`]. A refresh ahead starts at least 34 seconds after the start of the token's lifetime.
const FRESH: Moment = 34;
/// The same time for a managed identity.
const FRESH_OF_MACHINE: Moment = 20;
/// The age at which the client should have renewed a machine's certificate. Faults of the platform can delay the
/// renewal, so tokens may expire together with an older certificate.
const OLD: Moment = MACHINE_CERTIFICATE / 2;
/// A delay by the machine of at least this length explains a request that takes too long.
pub(super) const SLOW: Moment = fast(Duration::from_secs(1));
/// The maximum number of attempts of one request to a token service.
const ATTEMPTS: u32 = 2;
/// The maximum number of attempts of one request to the metadata service.
const ATTEMPTS_AT_PLATFORM: u32 = 4;
/// The longest time that an answer asks to wait.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// The fault of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// An error status with `Retry-After`.
    AskedToWait,
    /// An error status without `Retry-After`.
    Refused(u16),
    /// The answer was sent late, perhaps after the client's time limit.
    Delayed,
    /// The connection was reset, or it ended within the body.
    Broken,
}

/// The requests so far.
#[derive(Default)]
pub(super) struct Wire {
    /// The faults by correlation id, with the time of the last fault.
    faults: HashMap<String, (Moment, Vec<Cause>)>,
    /// The times of the faults of the platform.
    of_platform: Vec<Moment>,
    /// The acquisitions in which a connection ended after a certificate was sent. The client then suspects the
    /// certificate, and a managed identity requests a new certificate.
    suspected: HashMap<String, Moment>,
    /// The time of the first request of each correlation id.
    started: HashMap<String, Moment>,
    attempts: HashMap<Attempt, Attempts>,
    waits: HashMap<Equal, Wait>,
    answered: HashMap<Equal, Answered>,
    /// The time of the first request with each certificate.
    certificates: HashMap<String, Moment>,
}

/// The facts of a request that its retries share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    id: String,
    equal: Equal,
}

struct Attempts {
    made: u32,
    last: Moment,
    fault: Option<Cause>,
    /// Whether these attempts are for the certificate that replaces a suspected certificate.
    is_of_replacement: bool,
}

/// The facts in which two requests of one client are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Equal {
    client: String,
    host: String,
    path: String,
    scope: String,
    token_type: String,
    assertion: String,
    claims: String,
    certificate: Option<String>,
}

/// An answer that asks to wait.
#[derive(Clone)]
struct Wait {
    since: Moment,
    until: Moment,
    id: String,
}

/// A correct answer with a token.
struct Answered {
    at: Moment,
    /// Whether the answer certainly arrived in time. A delayed answer may arrive too late.
    is_certain: bool,
    /// The time of the acquisition's first request. The cache keeps the token whose acquisition began last.
    started: Moment,
    id: String,
    is_plain: bool,
}

impl Wire {
    /// Returns whether a request with this correlation id had the fault.
    pub(super) fn had(&self, id: &str, cause: Cause) -> bool {
        self.faults.get(id).is_some_and(|(_, causes)| causes.contains(&cause))
    }

    pub(super) fn platform_had_fault(&self, from: Moment, to: Moment) -> bool {
        self.of_platform.iter().any(|at| (from.saturating_sub(ROUNDING)..=to + ROUNDING).contains(at))
    }

    /// Records a token. Of two acquisitions that began at about the same time, the earlier answer counts.
    fn answer(&mut self, equal: Equal, answered: Answered) {
        match self.answered.get(&equal) {
            Some(before) if answered.started <= before.started + UNDER_WAY => {}
            _ => drop(self.answered.insert(equal, answered)),
        }
    }

    pub(super) fn forget_before(&mut self, moment: Moment) {
        self.faults.retain(|_, (at, _)| *at > moment);
        self.of_platform.retain(|at| *at > moment);
        self.suspected.retain(|_, at| *at > moment);
        self.started.retain(|_, at| *at > moment);
        self.attempts.retain(|_, attempts| attempts.last > moment);
        self.waits.retain(|_, wait| wait.until > moment);
        self.answered.retain(|_, answered| answered.at > moment);
        self.certificates.retain(|_, at| *at > moment);
    }
}

/// Judges one request.
pub(super) fn judge(entry: &JournalEntry, state: &mut State, subjects: &[Subject], report: &Report) {
    let id = entry.client_request_id.clone().unwrap_or_default();
    if id == OWN_CHECK {
        return report.count("tokens", "verified by a resource");
    }
    let (leg, fault) = (leg_of(entry), fault_of(entry));
    report.count("requests", &format!("{leg}, {}", entry.status));
    if let Some(name) = entry.fault {
        report.count("faults", name);
    }
    if leg == "resource" {
        return;
    }
    let is_of_platform = entry.host == IMDS_HOST;
    if let Some(fault) = fault {
        let (at, causes) = state.wire.faults.entry(id.clone()).or_default();
        *at = entry.time;
        causes.push(fault);
        state.wire.of_platform.extend(is_of_platform.then_some(entry.time));
        if !is_of_platform && entry.client_certificate.is_some() && fault == Cause::Broken {
            state.wire.suspected.insert(id.clone(), entry.time);
        }
    } else if !matches!(entry.status, 200..300) {
        state.violated(format!("the service refuses a request: {}", shown(entry)));
    }
    state.wire.started.entry(id.clone()).or_insert(entry.time);
    if let Some(certificate) = &entry.client_certificate {
        state.wire.certificates.entry(certificate.clone()).or_insert(entry.time);
    }
    let equal = Equal::of(entry);
    let is_first = attempt(entry, &id, &equal, fault, state, is_of_platform);
    if is_of_platform {
        return;
    }
    let subject = subjects.iter().position(|subject| subject.client_id == equal.client);
    throttled(entry, &equal, state, subject);
    if let (true, Some(subject)) = (leg != "Leg 1" && is_first, subject) {
        let fresh = if subjects[subject].is_of_machine() { FRESH_OF_MACHINE } else { FRESH };
        needed(entry, &id, &equal, state, subject, fresh);
    }
    if matches!(fault, None | Some(Cause::Delayed)) && leg != "Leg 1" {
        let is_plain = state.calls.get(&id).is_none_or(|(call, _)| call.purpose == Purpose::Plain);
        let started = state.wire.started.get(&id).copied().unwrap_or(entry.time);
        let is_certain = fault.is_none();
        let answered = Answered { at: entry.time, is_certain, started, id: id.clone(), is_plain };
        state.wire.answer(equal.without_claims(), answered);
    }
    if fault == Some(Cause::AskedToWait) {
        let seconds =
            WAITS.iter().find(|(status, _)| *status == entry.status).map_or(0, |(_, seconds)| *seconds);
        let (since, until) = (entry.time, entry.time + u64::from(seconds));
        state.wire.waits.insert(equal, Wait { since, until, id });
    }
}

/// Checks the table of retries. Returns whether this is the first attempt.
fn attempt(
    entry: &JournalEntry,
    id: &str,
    equal: &Equal,
    fault: Option<Cause>,
    state: &mut State,
    is_of_platform: bool,
) -> bool {
    let key = Attempt { id: id.to_owned(), equal: equal.clone() };
    let first = Attempts { made: 1, last: entry.time, fault, is_of_replacement: false };
    let Some(before) = state.wire.attempts.insert(key.clone(), first) else { return true };
    let gap = entry.time.saturating_sub(before.last);
    // With a new certificate the acquisition begins again. The certificate of a managed identity can be renewed at any
    // time.
    let begun = before.last.saturating_sub(fast(EXCHANGE * 2));
    let is_renewed = equal.client == USER_IDENTITY || state.rotations.iter().any(|(_, at, _)| *at > begun);
    if !is_of_platform && is_renewed && before.fault.is_none() {
        return true;
    }
    let is_suspected = state.wire.suspected.get(id).is_some_and(|at| *at + ROUNDING >= before.last);
    if is_of_platform && before.fault.is_none() && is_suspected && !before.is_of_replacement {
        let first = Attempts { made: 1, last: entry.time, fault, is_of_replacement: true };
        state.wire.attempts.insert(key, first);
        return true;
    }
    // The limit of an exchange includes the time until the request arrives.
    let late = UNDER_WAY + state.delay(before.last);
    let (most, may_repeat) = match (is_of_platform, before.fault) {
        (true, fault) => (ATTEMPTS_AT_PLATFORM, fault.is_some()),
        (false, Some(Cause::Refused(500..=599))) => (ATTEMPTS, true),
        (false, Some(Cause::Delayed)) => (ATTEMPTS, gap + late >= fast(EXCHANGE) + WAIT),
        _ => (ATTEMPTS, false),
    };
    let made = before.made + 1;
    if made > most || !may_repeat || gap + ROUNDING < WAIT {
        state.violated(format!(
            "attempt {made} of a request, {gap} s after {:?}: {}\n    all faults of this acquisition: {:?}",
            before.fault,
            shown(entry),
            state.wire.faults.get(id)
        ));
    }
    state.wire.attempts.insert(key, Attempts { made, last: entry.time, fault, ..before });
    false
}

/// Checks that the client does not send a request while an answer to an equal request asks it to wait.
fn throttled(entry: &JournalEntry, equal: &Equal, state: &mut State, subject: Option<usize>) {
    let Some(Wait { since, until, id }) = state.wire.waits.get(equal).cloned() else { return };
    // If no caller waited for that answer any more, the client dropped the request and did not read the answer.
    if state.was_dropped(&id) {
        return;
    }
    // Requests with assertions of different certificates are different, but the journal shows no certificate of an
    // assertion.
    let is_rotated =
        |(of, at, _): &(usize, Moment, Thumbprint)| Some(*of) == subject && *at + UNDER_WAY >= since;
    if equal.certificate.is_none() && state.rotations.iter().any(is_rotated) {
        return;
    }
    let leeway = UNDER_WAY + state.delay(since);
    if entry.time > since + leeway && entry.time + ROUNDING < until {
        state.violated(format!(
            "a request {} s after an answer to an equal request asked to wait {} s: {}",
            entry.time - since,
            until - since,
            shown(entry)
        ));
    }
}

/// Checks that the client had no fresh token of this kind when it decided to send the request.
fn needed(entry: &JournalEntry, id: &str, equal: &Equal, state: &mut State, subject: usize, fresh: Moment) {
    let is_plain =
        |state: &State, id: &str| state.calls.get(id).is_none_or(|(call, _)| call.purpose == Purpose::Plain);
    let Some(before) = state.wire.answered.get(&equal.without_claims()).filter(|it| it.is_certain) else {
        return;
    };
    // A request that no caller waits for any more is dropped, and its token is not cached.
    let is_dropped = state.was_dropped(&before.id);
    let is_cleared = state.cleared.get(&subject).is_some_and(|at| *at + ROUNDING >= before.at);
    if before.id == id || is_dropped || is_cleared || !is_plain(state, id) {
        return;
    }
    let certificate =
        entry.client_certificate.as_ref().and_then(|certificate| state.wire.certificates.get(certificate));
    if fresh == FRESH_OF_MACHINE && certificate.is_none_or(|first| before.at > first + OLD) {
        return;
    }
    let delay = state.delay(before.at);
    // On a busy machine the answer may have arrived too late.
    if delay >= SLOW {
        return;
    }
    // A forced request and a plain request for the same token can run at the same time.
    let leeway = if before.is_plain { 0 } else { UNDER_WAY } + delay;
    let started = state.wire.started.get(id).copied().unwrap_or(entry.time);
    let (since, was_plain) = (before.at, before.is_plain);
    if started > since + leeway
        && started + UNDER_WAY + delay < since + fresh
        && (was_plain || fresh == FRESH)
    {
        state.violated(format!(
            "a token was requested {} s after the same token was issued, by the request {}: {}",
            started - since,
            state.wire.answered.get(&equal.without_claims()).map_or("", |before| &before.id),
            shown(entry)
        ));
    }
}

impl Equal {
    fn of(entry: &JournalEntry) -> Self {
        let parameter = |name| entry.parameter(name).unwrap_or_default().to_owned();
        Self {
            client: parameter("client_id"),
            host: entry.host.clone(),
            path: entry.path.clone(),
            scope: parameter("scope") + &parameter("resource"),
            token_type: parameter("token_type"),
            assertion: parameter("client_assertion_type"),
            claims: parameter("claims"),
            certificate: entry.client_certificate.clone(),
        }
    }

    /// Returns the facts on which the cached token depends: all except the claims of a challenge and the host. The host
    /// differs only by the region.
    fn without_claims(&self) -> Self {
        Self { claims: String::new(), host: String::new(), ..self.clone() }
    }
}

fn leg_of(entry: &JournalEntry) -> &'static str {
    let is = |name: &str, part: &str| entry.parameter(name).is_some_and(|value| value.contains(part));
    if entry.host == IMDS_HOST {
        return "platform";
    }
    if !entry.path.ends_with("/oauth2/v2.0/token") {
        return "resource";
    }
    match () {
        () if is("client_assertion_type", "jwt-pop") => "Leg 2",
        () if is("scope", "AzureADTokenExchange") => "Leg 1",
        () if is("token_type", "mtls_pop") => "direct",
        () => "Bearer",
    }
}

fn fault_of(entry: &JournalEntry) -> Option<Cause> {
    match entry.fault? {
        "status" => Some(Cause::AskedToWait),
        "refusal" => Some(Cause::Refused(entry.status)),
        "delay" => Some(Cause::Delayed),
        "connection_reset" | "truncated_body" => Some(Cause::Broken),
        // A certificate with a short lifetime is not a failure.
        _ => None,
    }
}

fn shown(entry: &JournalEntry) -> String {
    format!(
        "{} {}{} at {}, status {}, fault {:?}, id {:?}, certificate {:?}\n    {:?}",
        entry.method,
        entry.host,
        entry.path,
        entry.time,
        entry.status,
        entry.fault,
        entry.client_request_id,
        entry.client_certificate,
        entry.parameters
    )
}
