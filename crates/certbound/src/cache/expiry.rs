//! The times of a token: the end of the time in which it is fresh, the start of its refresh ahead, and its expiry.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use certbound_core::time::UnixTime;

use crate::cache::RequestSeq;

/// A token is fresh while more than this time is left of its lifetime. A token whose lifetime is under twice this time
/// is fresh for half of the lifetime.
pub(crate) const MARGIN: Duration = Duration::from_secs(5 * 60);
/// The start of a refresh ahead is moved randomly by up to this time, earlier or later. Clients that started together
/// then do not send requests together.
const JITTER: Duration = Duration::from_secs(5 * 60);
/// The minimum time between the starts of two refreshes ahead of one token.
const PAUSE: Duration = Duration::from_secs(30);
/// After the service was unavailable, the cache returns an older token for this time without a request. A background
/// refresh starts earlier, and this time is enough for both of its legs.
const OUTAGE_EXTENSION: Duration = Duration::from_secs(120);

const NEVER: u32 = u32::MAX;

/// The times of one token by the client's clock, in seconds after `from`. Times after 136 years are limited to 136
/// years.
#[derive(Debug)]
pub(crate) struct Expiry {
    /// Five minutes before the lifetime began. If the clock shows an earlier time, it was set back, so the age of the
    /// token is unknown.
    from: UnixTime,
    /// The token is fresh before this time. During an outage `extend` moves it, but never past `expires_at`.
    until: AtomicU32,
    /// Before this time the token replaces a token of a newer certificate, because that token could not be obtained.
    is_stand_in: AtomicU32,
    expires_at: u32,
    /// The time at which the next refresh ahead may start.
    refresh: AtomicU32,
    /// The time of refresh that the service suggested.
    refresh_at: u32,
    /// The number of the request that returned the token.
    serial: u32,
}

impl Expiry {
    /// Returns the times of a token whose lifetime begins at `now`, for the request `begun`. A `refresh_at` that is not
    /// between `now` and `expires_at` starts no refresh ahead.
    pub(crate) fn new(
        now: UnixTime,
        expires_at: UnixTime,
        refresh_at: Option<UnixTime>,
        begun: RequestSeq,
    ) -> Self {
        let from = now.minus(MARGIN);
        let after = |time: UnixTime| u32::try_from(time.as_secs() - from.as_secs()).unwrap_or(NEVER - 1);
        // The maximum keeps the subtraction above from underflowing.
        let after = |time: UnixTime| after(time.max(from));
        let expires_at = after(expires_at);
        let refresh = refresh_at.filter(|at| *at > now).map(after).filter(|at| *at < expires_at);
        let margin = seconds(MARGIN).min(expires_at.saturating_sub(after(now)) / 2);
        let until = expires_at - margin;
        let jittered = refresh.map_or(NEVER, |at| {
            let jitter = seconds(JITTER).min((at - after(now)) / 10);
            // A later refresh would make callers wait. This limit is not earlier than half of the fresh time, so that a
            // token with a short lifetime is not refreshed at once.
            let last = until.saturating_sub(seconds(PAUSE) + jitter);
            let at = at.min(last.max(until.midpoint(after(now))));
            let spread = begun.random % (2 * u64::from(jitter) + 1);
            (at - jitter).saturating_add(u32::try_from(spread).unwrap_or(0))
        });
        Self {
            from,
            until: AtomicU32::new(until),
            is_stand_in: AtomicU32::new(0),
            expires_at,
            refresh: AtomicU32::new(jittered),
            refresh_at: refresh_at.map_or(NEVER, after),
            serial: begun.serial,
        }
    }

    /// Returns whether the request for this token started after the request for `other`.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        // The numbers wrap around after 2^32 requests.
        self.serial != other.serial && self.serial.wrapping_sub(other.serial) <= u32::MAX / 2
    }

    pub(crate) fn serial(&self) -> u32 {
        self.serial
    }

    /// Returns the start of the lifetime.
    pub(crate) fn counts_from(&self) -> UnixTime {
        self.from.plus(MARGIN)
    }

    pub(crate) fn expires_at(&self) -> UnixTime {
        self.at(self.expires_at)
    }

    pub(crate) fn refresh_at(&self) -> Option<UnixTime> {
        (self.refresh_at != NEVER).then(|| self.at(self.refresh_at))
    }

    /// Returns whether the token is returned without a request.
    pub(crate) fn is_fresh(&self, now: UnixTime) -> bool {
        self.age(now).is_some_and(|age| age < self.until.load(Ordering::Relaxed))
    }

    /// Returns whether this token is returned without a request instead of a newer certificate's token.
    pub(crate) fn is_stand_in(&self, now: UnixTime) -> bool {
        self.age(now).is_some_and(|age| age < self.is_stand_in.load(Ordering::Relaxed))
    }

    /// Returns whether the token has not expired.
    pub(crate) fn is_usable(&self, now: UnixTime) -> bool {
        self.age(now).is_some_and(|age| age < self.expires_at)
    }

    /// Returns whether a refresh must start. Only one caller gets `true`. After that, all callers get `false` for 30
    /// seconds.
    pub(crate) fn take_refresh(&self, now: UnixTime) -> bool {
        let Some(age) = self.age(now) else { return false };
        let due = self.refresh.load(Ordering::Relaxed);
        if age < due {
            return false;
        }
        let next = age.saturating_add(seconds(PAUSE));
        self.refresh.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Makes an unexpired token fresh for two more minutes, because the service is unavailable. Returns whether the
    /// token is unexpired.
    pub(crate) fn extend(&self, now: UnixTime) -> bool {
        if !self.is_usable(now) {
            return false;
        }
        let age = self.age(now).unwrap_or(self.expires_at);
        let until = age.saturating_add(seconds(OUTAGE_EXTENSION)).min(self.expires_at);
        self.until.fetch_max(until, Ordering::Relaxed);
        self.is_stand_in.fetch_max(until, Ordering::Relaxed);
        self.refresh.store(age.saturating_add(seconds(PAUSE)), Ordering::Relaxed);
        true
    }

    /// Returns the seconds since `from`. The result is `None` if the clock was set back to a time before `from`.
    fn age(&self, now: UnixTime) -> Option<u32> {
        let age = now.as_secs().checked_sub(self.from.as_secs())?;
        Some(u32::try_from(age).unwrap_or(NEVER - 1))
    }

    fn at(&self, after: u32) -> UnixTime {
        self.from.plus(Duration::from_secs(after.into()))
    }
}

/// Converts one of the durations above to seconds. All of them fit into 32 bits.
fn seconds(of: Duration) -> u32 {
    u32::try_from(of.as_secs()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;
    const HOUR: u64 = 3_600;
    const BEGUN: RequestSeq = RequestSeq { serial: 0, random: 3 };

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(seconds)
    }

    fn life(expires_in: u64, refresh_in: Option<u64>, random: u64) -> Expiry {
        let begun = RequestSeq { serial: 0, random };
        Expiry::new(at(NOW), at(NOW + expires_in), refresh_in.map(|after| at(NOW + after)), begun)
    }

    #[test]
    fn it_is_served_until_five_minutes_before_its_end_and_lasts_to_the_end() {
        let life = life(HOUR, None, 0);
        for (second, serves, lasts) in [
            (NOW, true, true),
            (NOW + HOUR - 301, true, true),
            (NOW + HOUR - 300, false, true),
            (NOW + HOUR - 1, false, true),
            (NOW + HOUR, false, false),
        ] {
            assert_eq!((life.is_fresh(at(second)), life.is_usable(at(second))), (serves, lasts), "{second}");
        }
    }

    #[test]
    fn the_newer_one_is_that_of_the_later_request_also_when_their_numbers_begin_anew() {
        let of = |serial| Expiry::new(at(NOW), at(NOW + HOUR), None, RequestSeq { serial, random: 0 });
        for (older, newer) in [(0, 1), (1, 1_000_000), (u32::MAX, 0), (u32::MAX - 5, 5)] {
            assert!(of(newer).is_newer_than(&of(older)) && !of(older).is_newer_than(&of(newer)), "{older}");
        }
        assert!(!of(7).is_newer_than(&of(7)));
        // A token from a store is older than the token of any request, even of a request that started before the load.
        for (loaded, begun) in
            [(7, 2), (7, 7), (7, 9), (2, u32::MAX), (u32::MAX, 2), (1 << 30, 100), (1 << 31, 1 << 31)]
        {
            let load_from_store =
                Expiry::new(at(NOW), at(NOW + HOUR), None, RequestSeq { serial: loaded, ..BEGUN }.of_store());
            assert!(
                of(begun).is_newer_than(&load_from_store) && !load_from_store.is_newer_than(&of(begun)),
                "{loaded} {begun}"
            );
        }
    }

    #[test]
    fn centuries_are_cut_off_and_nothing_wraps_around() {
        let life = Expiry::new(at(NOW), at(u64::MAX), Some(at(u64::MAX - 1)), BEGUN);
        assert!(life.is_fresh(at(NOW)) && life.is_usable(at(NOW + (1 << 31))));
        assert!(!life.is_fresh(at(u64::MAX)) && !life.is_usable(at(u64::MAX)) && !life.extend(at(u64::MAX)));
        assert!(life.expires_at() > at(NOW + (1 << 31)));
        let over = Expiry::new(at(NOW), at(0), Some(at(0)), BEGUN);
        assert!(!over.is_usable(at(NOW)) && !over.take_refresh(at(NOW)));
        let new_year_1970 = Expiry::new(at(0), at(HOUR), None, BEGUN);
        assert!(new_year_1970.is_fresh(at(0)) && new_year_1970.expires_at() == at(HOUR));
    }

    #[test]
    fn a_clock_that_was_set_back_ends_it_and_one_that_comes_back_does_not() {
        let life = life(HOUR, None, 0);
        // The margin allows the clock to be set back by five minutes. If it is set back further, the age is unknown.
        assert!(life.is_fresh(at(NOW - 300)));
        assert!(!life.is_fresh(at(NOW - 301)) && !life.is_usable(at(NOW - 301)));
        assert!(!life.is_fresh(at(NOW + 24 * HOUR)));
        assert!(life.is_fresh(at(NOW + 60)));
    }

    #[test]
    fn a_refresh_is_due_near_its_time_once_and_after_a_pause_again() {
        for random in [0, 1, 359, 360, 361, u64::MAX] {
            let life = life(HOUR, Some(HOUR / 2), random);
            assert!(!life.take_refresh(at(NOW + 1_619)), "{random}");
            assert!(life.take_refresh(at(NOW + 1_980)), "{random}");
            assert!(!life.take_refresh(at(NOW + 2_009)));
            assert!(life.take_refresh(at(NOW + 2_010)));
        }
        let spread: Vec<_> =
            (0..361).map(|random| life(HOUR, Some(1_800), random).refresh.into_inner()).collect();
        assert_eq!((spread.first(), spread.last()), (Some(&(300 + 1_620)), Some(&(300 + 1_980))));
    }

    #[test]
    fn one_that_lives_for_minutes_is_served_for_half_of_them() {
        for (lives, serves) in [(601, 301), (600, 300), (599, 300), (300, 150), (2, 1), (1, 1)] {
            let life = life(lives, None, 0);
            assert!(life.is_fresh(at(NOW + serves - 1)) && !life.is_fresh(at(NOW + serves)), "{lives}");
            assert!(life.is_usable(at(NOW + lives - 1)) && !life.is_usable(at(NOW + lives)), "{lives}");
        }
    }

    #[test]
    fn a_refresh_is_due_while_nobody_has_to_wait_for_it() {
        // The refresh must be due before the token stops being fresh, for every suggested time and every random number.
        for refresh_in in [3_000, 3_200, 3_299, 3_300, 3_599] {
            for random in [0, 1, 299, 600, 601, u64::MAX] {
                let life = life(HOUR, Some(refresh_in), random);
                assert!(life.take_refresh(at(NOW + HOUR - 300 - 30)), "{refresh_in} {random}");
                assert_eq!(
                    life.refresh_at(),
                    Some(at(NOW + refresh_in)),
                    "the suggested time is reported unchanged"
                );
            }
        }
        let spread = |random| life(HOUR, Some(3_599), random).refresh.into_inner();
        assert_ne!(spread(0), spread(1));
        for lives in 20..700 {
            let life = life(lives, Some(lives - 1), lives);
            assert!(!life.take_refresh(at(NOW + lives / 10)), "{lives}");
            assert!(life.take_refresh(at(NOW + (lives / 2).max(lives.saturating_sub(300)))), "{lives}");
        }
    }

    #[test]
    fn a_refresh_that_makes_no_sense_is_none() {
        for refresh_in in [Some(0), Some(HOUR), Some(2 * HOUR), None] {
            let life = life(HOUR, refresh_in, 7);
            assert!((0..=HOUR).all(|after| !life.take_refresh(at(NOW + after))), "{refresh_in:?}");
            assert_eq!(
                life.refresh_at(),
                refresh_in.map(|after| at(NOW + after)),
                "the suggested time is reported unchanged"
            );
        }
    }

    #[test]
    fn while_the_service_is_away_it_is_served_to_its_end_and_no_further() {
        let life = life(HOUR, None, 0);
        let late = NOW + HOUR - 200;
        assert!(!life.is_fresh(at(late)) && !life.is_stand_in(at(late)) && life.extend(at(late)));
        assert!(life.is_fresh(at(late + 119)) && !life.is_fresh(at(late + 120)));
        assert!(life.is_stand_in(at(late + 119)) && !life.is_stand_in(at(late + 120)));
        assert!(!life.take_refresh(at(late + 29)) && life.take_refresh(at(late + 30)));
        let last = NOW + HOUR - 10;
        assert!(life.extend(at(last)));
        assert!(life.is_fresh(at(last + 9)) && !life.is_fresh(at(last + 10)));
        assert!(!life.extend(at(NOW + HOUR)));
    }
}
