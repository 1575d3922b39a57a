//! Judges each result and each request: decides whether the token, the error or the request is allowed.
//!
//! The oracle judges a request by the emulator's journal, and an error by the requests before the error. So an error
//! waits until the journal contains all earlier requests. The oracle judges a token at once.

mod errors;
mod tokens;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certbound::cache::Source;
use certbound::observe::CorrelationId;
use certbound::{Error, Thumbprint};
use certbound_emulator::{Emulator, JournalEntry};

use self::errors::Unexplained;
use self::tokens::Checked;
pub(crate) use self::tokens::Obtained;
use self::wire::Wire;
use crate::clock::{FastClock, LIFETIME, Moment, fast};
use crate::report::Report;
use crate::subjects::{Kind, Subject};

/// The time for which facts of past requests are needed. No acquisition takes longer.
const REMEMBERED: Moment = fast(Duration::from_secs(180));
/// An acquisition that takes this long may have got an older token. If such a token is valid, the client waits for the
/// service for at most two seconds.
const SLOW: Moment = fast(Duration::from_millis(1_800));
/// The largest error of a moment, because moments are rounded.
const ROUNDING: Moment = 2;

/// The purpose of an acquisition, as far as the cache distinguishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Any valid token.
    Plain,
    /// A new token in every case.
    Forced,
    /// A new token with certain claims.
    Claims,
    /// A token that differs from a rejected token.
    Rejected,
}

/// The token that a caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    /// The index of the client.
    pub(crate) subject: usize,
    pub(crate) kind: Kind,
    pub(crate) resource: &'static str,
    pub(crate) tenant: Option<&'static str>,
}

/// An acquisition that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) wanted: Wanted,
    pub(crate) purpose: Purpose,
    pub(crate) id: CorrelationId,
    began: Moment,
    /// The client's certificate at the beginning.
    certificate: Option<Thumbprint>,
}

/// The oracle, which judges results and requests.
pub(crate) struct Oracle {
    pub(crate) clock: FastClock,
    pub(crate) report: Arc<Report>,
    emulator: Arc<Emulator>,
    subjects: Arc<Vec<Subject>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The acquisitions by correlation id, and whether their callers gave up.
    calls: HashMap<String, (Call, bool)>,
    /// The tokens that callers received and that have not expired. An emptied cache no longer has them.
    cached: HashMap<Wanted, Vec<Cached>>,
    /// The time at which each client's cache was emptied.
    cleared: HashMap<usize, Moment>,
    /// The client, the time and the new certificate of each rotation.
    rotations: Vec<(usize, Moment, Thumbprint)>,
    checked: Checked,
    wire: Wire,
    /// The errors that wait for the journal.
    pending: VecDeque<Unexplained>,
    /// The times in which the region could not be reached. The last of these times may not have ended.
    away: Vec<(Moment, Option<Moment>)>,
    /// The recent delays of a task that only sleeps, in seconds of the fast clock.
    delays: VecDeque<(Moment, Moment)>,
    /// The evidence that was not reported yet.
    violations: Vec<String>,
    /// The last slow acquisition of each client. After a slow acquisition the cache may return older tokens.
    slow: HashMap<usize, Moment>,
}

/// A token of the cache that a caller received.
struct Cached {
    obtained: Moment,
    expires_at: Moment,
}

impl Oracle {
    pub(crate) fn new(
        clock: FastClock,
        emulator: Arc<Emulator>,
        subjects: Arc<Vec<Subject>>,
        report: Arc<Report>,
    ) -> Self {
        Self { clock, report, emulator, subjects, state: Mutex::default() }
    }

    /// Records the beginning of an acquisition.
    pub(crate) fn begin(&self, wanted: Wanted, purpose: Purpose, id: CorrelationId) -> Call {
        let certificate = self.certificate_of(wanted.subject);
        let call = Call { wanted, purpose, id, began: self.clock.moment(), certificate };
        self.state().calls.insert(id.to_string(), (call, false));
        call
    }

    /// Records that the caller dropped the acquisition.
    pub(crate) fn dropped(&self, call: &Call) {
        self.report.count("acquisitions", "dropped by the caller");
        if let Some((_, is_dropped)) = self.state().calls.get_mut(&call.id.to_string()) {
            *is_dropped = true;
        }
    }

    /// Judges a token that a caller received.
    pub(crate) fn received(&self, call: &Call, token: &Obtained) {
        let (now, current) = (self.clock.moment(), self.certificate_of(call.wanted.subject));
        self.report.count("acquisitions", &format!("token, {:?}", token.source));
        let subject = &self.subjects[call.wanted.subject];
        let mut state = self.state();
        let leeway = ROUNDING + state.delay(call.began);
        let mut wrong = tokens::wrong(token, &call.wanted, subject, now.saturating_sub(leeway));
        if !state.checked.contains(token, now) {
            // The emulator's resource verifies signature and binding.
            wrong.extend(tokens::refused(token, &call.wanted, &self.emulator));
        }
        if let Some(presented) = token.certificate {
            let replaced = |(of, at, to): &(usize, Moment, Thumbprint)| {
                (*of == call.wanted.subject && *at + ROUNDING >= call.began).then_some(*to)
            };
            let in_use: Vec<_> = [call.certificate, current]
                .into_iter()
                .flatten()
                .chain(state.rotations.iter().filter_map(replaced))
                .collect();
            let is_current = in_use.is_empty() || in_use.contains(&presented);
            if !is_current {
                self.report.count("tokens", "of an earlier certificate, during an outage");
            }
            // During an outage a cached token of an earlier certificate is allowed. A calm client has no outage, unless
            // the machine is too busy to answer its requests in time.
            if now - call.began >= SLOW {
                state.slow.insert(call.wanted.subject, now);
            }
            let is_slow = state.slow.get(&call.wanted.subject).is_some_and(|at| at + LIFETIME > now);
            if !is_current && ((subject.is_calm() && !is_slow) || token.source != Source::Cache) {
                wrong.push(format!("it is bound to {presented}, but the client's certificate is {in_use:?}"));
            }
        }
        let cached = state.cached.entry(call.wanted).or_default();
        cached.retain(|cached| cached.expires_at > now);
        if cached.last().is_none_or(|last| last.expires_at < token.expires_at) {
            cached.push(Cached { obtained: now, expires_at: token.expires_at });
        }
        for problem in wrong {
            state
                .violated(format!("wrong token: {problem}\n    {call:?}, at {now}, from {:?}", token.source));
        }
    }

    /// Records an error. The oracle judges it when the journal is complete.
    pub(crate) fn failed(&self, call: &Call, error: Error) {
        let now = self.clock.moment();
        let mut state = self.state();
        let cleared = state.cleared.get(&call.wanted.subject).copied().unwrap_or(0);
        let leeway = ROUNDING + state.delay(call.began);
        let works = |cached: &&Cached| {
            cached.obtained > cleared + leeway
                && cached.obtained + leeway < call.began
                && cached.expires_at > now + leeway
        };
        let cached = state.cached.get(&call.wanted).and_then(|all| all.iter().find(works));
        if let Some(Cached { obtained, expires_at }) = cached.filter(|_| call.purpose == Purpose::Plain) {
            let (obtained, expires_at) = (*obtained, *expires_at);
            state.violated(format!(
                "an error, although the cache has a token of {obtained} that expires at {expires_at}: {error}\n    {call:?}, at {now}"
            ));
        }
        state.pending.push_back(Unexplained { call: *call, at: now, error });
    }

    /// Records that an acquisition took longer than its limit.
    pub(crate) fn hung(&self, call: &Call, limit: Duration) {
        self.violated(format!(
            "an acquisition did not end within {limit:?}\n    {call:?}, at {}",
            self.clock.moment()
        ));
    }

    /// Records that the client's cache was emptied. Call this method before and after the cache is emptied.
    pub(crate) fn cleared(&self, subject: usize) {
        self.state().cleared.insert(subject, self.clock.moment());
    }

    /// Records that the client uses a new certificate.
    pub(crate) fn rotated(&self, subject: usize, to: Thumbprint) {
        self.report.count("rotations", self.subjects[subject].name);
        self.state().rotations.push((subject, self.clock.moment(), to));
    }

    /// Records that the host of the region becomes unreachable or reachable.
    pub(crate) fn region_is_away(&self, is_away: bool) {
        let (now, mut state) = (self.clock.moment(), self.state());
        match (is_away, state.away.last_mut()) {
            (false, Some((_, end))) => *end = Some(now),
            _ => {
                self.report.count("faults", "region unreachable");
                state.away.push((now, None));
            }
        }
    }

    /// Records the delay of a task that only sleeps. On a busy machine the oracle allows longer times.
    pub(crate) fn delayed(&self, by: Duration) {
        self.report.at_most("the longest delay by the machine, in ms", by.as_millis());
        let (now, mut state) = (self.clock.moment(), self.state());
        if by > Duration::from_millis(50) {
            state.delays.push_back((now, fast(by)));
        }
    }

    /// Judges the requests that the emulator received, and the errors that these requests explain.
    pub(crate) fn judge(&self, entries: &[JournalEntry]) {
        let now = self.clock.moment();
        let mut state = self.state();
        for entry in entries {
            wire::judge(entry, &mut state, &self.subjects, &self.report);
        }
        let complete = fast(Duration::from_secs(2));
        while state.pending.front().is_some_and(|waiting| waiting.at + complete < now) {
            let Some(waiting) = state.pending.pop_front() else { break };
            match errors::explanation(&waiting, &state, &self.subjects) {
                Ok(kind) => self.report.count("acquisitions", &format!("error, {kind}")),
                Err(problem) => {
                    let Unexplained { call, at, error } = waiting;
                    state.violated(format!(
                        "an error without a fault ({problem}): {error}\n    {error:?}\n    {call:?}, at {at}"
                    ));
                }
            }
        }
        state.forget_before(now.saturating_sub(REMEMBERED));
        let violations = std::mem::take(&mut state.violations);
        violations.into_iter().for_each(|evidence| self.report.violated(evidence));
    }

    /// Returns whether the machine was so busy since the beginning of the acquisition that a request may take too long.
    pub(crate) fn was_busy(&self, call: &Call) -> bool {
        self.state().delay(call.began) >= wire::SLOW
    }

    /// Records a violation with its evidence.
    pub(crate) fn violated(&self, evidence: String) {
        self.report.violated(evidence);
    }

    fn certificate_of(&self, subject: usize) -> Option<Thumbprint> {
        self.subjects[subject].certificate.as_ref().map(|holder| holder.thumbprint())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the longest delay by the machine since this moment.
    fn delay(&self, since: Moment) -> Moment {
        let recent = self.delays.iter().filter(|(at, _)| *at + ROUNDING >= since);
        recent.map(|(_, by)| *by).max().unwrap_or(0)
    }

    /// Returns whether the caller of the acquisition gave up. The client then drops the request, unless other callers
    /// wait for it too.
    fn was_dropped(&self, id: &str) -> bool {
        self.calls.get(id).is_some_and(|(_, is_dropped)| *is_dropped)
    }

    /// Returns whether the region was unreachable at some time between these moments.
    fn was_away(&self, from: Moment, to: Moment) -> bool {
        let overlaps = |(begin, end): &(Moment, Option<Moment>)| {
            *begin <= to + ROUNDING && end.is_none_or(|end| end + ROUNDING >= from)
        };
        self.away.iter().any(overlaps)
    }

    fn violated(&mut self, evidence: String) {
        self.violations.push(evidence);
    }

    fn forget_before(&mut self, moment: Moment) {
        self.calls.retain(|_, (call, _)| call.began > moment);
        self.cached.values_mut().for_each(|all| all.retain(|cached| cached.expires_at > moment));
        self.rotations.retain(|(_, at, _)| *at > moment);
        self.away.retain(|(_, end)| end.is_none_or(|end| end > moment));
        self.delays.retain(|(at, _)| *at > moment);
        self.checked.forget_before(moment);
        self.wire.forget_before(moment);
    }
}
