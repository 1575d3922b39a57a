//! Decides when the keys of an issuer are fetched: a state machine without I/O, lock or clock.
//!
//! A *demand* reports that a token needs a key now. The answer determines whether the token is verified with the
//! present keys, waits or is refused. A demand can start a fetch. At most one fetch is in progress. The caller reports
//! the end of a fetch with [`Schedule::ended`].

use std::time::Duration;

use certbound_core::time::UnixTime;

/// The verifier fetches keys of this age again in the background.
pub(super) const REFRESH_AFTER: Duration = Duration::from_secs(3600);
/// If the last fetch succeeded, the verifier fetches keys of this age again before their next use. Without a failure,
/// keys reach this age only if no token needed them for about 10 minutes.
pub(super) const WAIT_AFTER: Duration = Duration::from_secs(3600 + 600);
/// If the verifier cannot refresh its keys, it uses them up to this age.
pub(super) const KEEP_FOR: Duration = Duration::from_secs(24 * 3600);
/// The shortest time between two fetches that unknown keys cause. After a failure, the pauses below apply instead.
pub(super) const UNKNOWN_EVERY: Duration = Duration::from_secs(30);
/// The pause after the first failed fetch. The pause doubles with each further failure.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause after a failed fetch.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A fetch that has not ended after this time counts as failed. Its runtime may have been shut down.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(60);
/// If there are usable keys, a token with an unknown key waits at most this long for a fetch. An attacker can make
/// tokens with unknown keys, and each request that waits occupies a connection of the server.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// A stored time may be at most this far in the future. A later time means that the clock was set back.
const SET_BACK: Duration = Duration::from_secs(300);

/// The state of the fetches of one issuer's keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    /// The time at which the fetch of the present keys began.
    fetched: Option<UnixTime>,
    flight: Option<Flight>,
    /// The number of fetches that have begun.
    begun: u64,
    /// The start of the last fetch that an unknown key caused.
    unknown: Option<UnixTime>,
    failed: Option<Failed>,
}

/// A fetch in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    number: u64,
    began: UnixTime,
}

/// The failures since the last success.
#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    /// The time at which the last failed fetch ended.
    at: UnixTime,
}

/// The result of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The fetch returned keys.
    Keys,
    /// The issuer published a set without a usable key, so the earlier keys are withdrawn.
    Withdrawn,
    /// The present keys of the issuer are unknown: the request failed, or the answer could not be read.
    Failed,
}

/// Whether the present keys have the key that a token needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Known,
    Unknown,
}

/// The way in which the verifier handles a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The token is verified with the present keys.
    Use,
    /// The present keys do not have the token's key. These keys are recent enough to refuse the token.
    Unknown,
    /// A decision is not possible: there are no keys that may be used, or a failed fetch may have missed the token's
    /// key.
    Unavailable,
    /// The token waits for the fetch in progress, then uses the result of [`Schedule::answer`].
    Wait,
}

/// The answer to a demand, and the fetch that begins because of the demand, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) answer: Answer,
    pub(super) begin: Option<Flight>,
}

impl Schedule {
    /// Returns a schedule without failures, with keys whose fetch began at this time.
    pub(super) fn with_keys_of(fetched: Option<UnixTime>) -> Self {
        Self { fetched, ..Self::default() }
    }

    /// Returns the start of the fetch of the keys, if the keys may be used.
    pub(super) fn usable_since(&self, now: UnixTime) -> Option<UnixTime> {
        self.fetched.filter(|_| self.has_usable_keys(now))
    }

    /// Answers the demand of a token that needs a key. `may_fetch` is false for a token that would be refused with
    /// every key. This token starts no fetch and does not wait.
    pub(super) fn demand(&mut self, now: UnixTime, wanted: Wanted, may_fetch: bool) -> Decision {
        self.notice_a_clock_set_back(now);
        self.give_up_a_lost_flight(now);
        let answer = self.answer(now, wanted);
        if !may_fetch {
            return Decision { answer, begin: None };
        }
        let due = match answer {
            Answer::Use => self.age(now) >= REFRESH_AFTER,
            Answer::Unknown => passed(self.unknown, UNKNOWN_EVERY, now),
            Answer::Unavailable | Answer::Wait => true,
        };
        let begin = if due && self.flight.is_none() && self.paused_long_enough(now) {
            let by_an_unknown_key = wanted == Wanted::Unknown && self.has_usable_keys(now);
            Some(self.begin(now, by_an_unknown_key))
        } else {
            None
        };
        // After a failure, tokens with known keys must not wait: they are verified with the last fetched keys at once.
        let waits = answer != Answer::Use || (self.failed.is_none() && self.age(now) >= WAIT_AFTER);
        let answer = if waits && self.flight.is_some() { Answer::Wait } else { answer };
        Decision { answer, begin }
    }

    /// Returns the answer for a token that starts no fetch and does not wait.
    pub(super) fn answer(&self, now: UnixTime, wanted: Wanted) -> Answer {
        match wanted {
            _ if !self.has_usable_keys(now) => Answer::Unavailable,
            Wanted::Known => Answer::Use,
            Wanted::Unknown if self.failed.is_some() => Answer::Unavailable,
            Wanted::Unknown => Answer::Unknown,
        }
    }

    /// Records the end of a fetch. Returns false if the schedule has given up the fetch. In this case the caller must
    /// ignore the result of the fetch.
    pub(super) fn ended(&mut self, flight: Flight, now: UnixTime, end: End) -> bool {
        if self.flight != Some(flight) {
            return false;
        }
        self.flight = None;
        match end {
            // The keys are at least as recent as the start of their fetch.
            End::Keys => (self.fetched, self.failed) = (Some(flight.began), None),
            End::Withdrawn => {
                self.fetched = None;
                self.fail(now);
            }
            End::Failed => self.fail(now),
        }
        true
    }

    pub(super) fn is_fetching(&self) -> bool {
        self.flight.is_some()
    }

    /// Returns the longest time that a token waits for a fetch. If there are usable keys, a token with an unknown key
    /// waits at most [`PATIENCE`]. Every other waiting token can wait until the fetch ends: the result is `None`.
    pub(super) fn longest_wait(&self, now: UnixTime, wanted: Wanted) -> Option<Duration> {
        (wanted == Wanted::Unknown && self.has_usable_keys(now)).then_some(PATIENCE)
    }

    /// Returns the time span in which tokens with known keys start no fetch and do not wait.
    pub(super) fn quiet(&self) -> Option<(UnixTime, UnixTime)> {
        let fetched = self.fetched?;
        let refresh = fetched.plus(REFRESH_AFTER);
        let retry = self.failed.map_or(refresh, |failed| failed.at.plus(failed.pause()));
        Some((fetched, refresh.max(retry).min(fetched.plus(KEEP_FOR))))
    }

    /// Returns the time that a caller should wait before its next request.
    pub(super) fn retry_after(&self, now: UnixTime) -> Duration {
        let pause = self.failed.map(|failed| failed.at.plus(failed.pause()).since(now));
        pause.filter(|left| !left.is_zero()).unwrap_or(FIRST_PAUSE)
    }

    fn has_usable_keys(&self, now: UnixTime) -> bool {
        self.fetched.is_some() && self.age(now) < KEEP_FOR
    }

    fn age(&self, now: UnixTime) -> Duration {
        self.fetched.map_or(Duration::MAX, |fetched| now.since(fetched))
    }

    fn paused_long_enough(&self, now: UnixTime) -> bool {
        self.failed.is_none_or(|failed| now >= failed.at.plus(failed.pause()))
    }

    fn begin(&mut self, now: UnixTime, by_an_unknown_key: bool) -> Flight {
        self.begun += 1;
        let flight = Flight { number: self.begun, began: now };
        self.flight = Some(flight);
        if by_an_unknown_key {
            self.unknown = Some(now);
        }
        flight
    }

    fn fail(&mut self, now: UnixTime) {
        let before = self.failed.map_or(0, |failed| failed.times);
        self.failed = Some(Failed { times: before.saturating_add(1), at: now });
    }

    fn give_up_a_lost_flight(&mut self, now: UnixTime) {
        if self.flight.is_some_and(|flight| now.since(flight.began) >= LOST_AFTER) {
            self.flight = None;
            self.fail(now);
        }
    }

    /// Handles a clock that was set back. A stored time in the future was stored before the change. The pauses begin
    /// again, and keys of unknown age are refreshed.
    fn notice_a_clock_set_back(&mut self, now: UnixTime) {
        let set_back = |time: UnixTime| time > now.plus(SET_BACK);
        if self.fetched.is_some_and(set_back) {
            self.fetched = Some(now.minus(REFRESH_AFTER));
        }
        if self.unknown.is_some_and(set_back) {
            self.unknown = Some(now);
        }
        if let Some(failed) = self.failed.as_mut().filter(|failed| set_back(failed.at)) {
            failed.at = now;
        }
        // `ended` compares the whole `Flight`, so this method gives up the fetch instead of changing it.
        if self.flight.is_some_and(|flight| set_back(flight.began)) {
            self.flight = None;
            self.fail(now);
        }
    }
}

impl Failed {
    fn pause(self) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << (self.times - 1).min(16));
        doubled.min(LONGEST_PAUSE)
    }
}

fn passed(since: Option<UnixTime>, pause: Duration, now: UnixTime) -> bool {
    since.is_none_or(|since| now >= since.plus(pause))
}

#[cfg(test)]
mod tests;
