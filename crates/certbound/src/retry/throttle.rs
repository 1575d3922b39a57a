//! Throttled requests: the response to an equal request asked the client to wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certbound_core::retry_after::whole_seconds;
use certbound_core::time::UnixTime;

use super::RetryPolicy;

/// The maximum number of responses that are kept.
const CAPACITY: usize = 256;
/// A clock that is behind the time of a response by this difference or less does not count as set back. Parallel tasks
/// read the clock before they take the lock.
const SLACK: Duration = Duration::from_secs(5);

/// The responses that asked one client to wait, by the common facts of equal requests.
pub(crate) struct Throttle<K, A> {
    is_on: bool,
    /// The lock is held only for a look-up or a change. A cache hit does not take it.
    answers: Mutex<HashMap<K, Waiting<A>>>,
}

struct Waiting<A> {
    answer: A,
    from: UnixTime,
    until: UnixTime,
}

impl<A> Waiting<A> {
    /// Returns whether the wait has not ended. If the clock was set back, the result is false: the remaining time is
    /// unknown, and the next response states it again.
    fn is_current(&self, now: UnixTime) -> bool {
        self.from <= now.plus(SLACK) && now < self.until
    }
}

impl<K: Clone + Eq + Hash, A: Clone> Throttle<K, A> {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { is_on: policy.throttles, answers: Mutex::default() }
    }

    /// Returns the response to an equal request and the remaining time, if the wait has not ended at `now`.
    pub(crate) fn find(&self, key: impl FnOnce() -> K, now: UnixTime) -> Option<(A, Duration)> {
        let mut answers = self.lock();
        // In the usual case no key is composed.
        if answers.is_empty() {
            return None;
        }
        let key = key();
        let waiting = answers.get(&key)?;
        if waiting.is_current(now) {
            return Some((waiting.answer.clone(), waiting.until.since(now)));
        }
        answers.remove(&key);
        None
    }

    /// Keeps a response that asks to wait. If the limit is reached, the function removes the responses with an ended
    /// wait, or else the response with the earliest end.
    pub(crate) fn keep(&self, key: K, answer: A, wait: Duration, now: UnixTime) {
        let until = now.plus(Duration::from_secs(whole_seconds(wait)));
        if !self.is_on || until == now {
            return;
        }
        let mut answers = self.lock();
        if answers.len() >= CAPACITY && !answers.contains_key(&key) {
            answers.retain(|_, waiting| waiting.is_current(now));
            let first = answers.iter().min_by_key(|(_, waiting)| waiting.until).map(|(key, _)| key.clone());
            if let Some(first) = first.filter(|_| answers.len() >= CAPACITY) {
                answers.remove(&first);
            }
        }
        answers.insert(key, Waiting { answer, from: now, until });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Waiting<A>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000_000);

    fn throttle() -> Throttle<u64, &'static str> {
        Throttle::new(RetryPolicy::default())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_answer_holds_until_its_time_is_over() {
        let throttle = throttle();
        assert_eq!(throttle.find(|| unreachable!("there is no answer"), NOW), None);
        throttle.keep(1, "busy", seconds(30), NOW);
        assert_eq!(throttle.find(|| 2, NOW), None);
        for (after, left) in [(0, 30), (1, 29), (29, 1)] {
            assert_eq!(throttle.find(|| 1, NOW.plus(seconds(after))), Some(("busy", seconds(left))));
        }
        assert_eq!(throttle.find(|| 1, NOW.plus(seconds(30))), None);
        assert!(throttle.lock().is_empty());
        throttle.keep(1, "busy", Duration::from_millis(1), NOW);
        assert_eq!(throttle.find(|| 1, NOW), Some(("busy", seconds(1))));
        throttle.keep(2, "at once", Duration::ZERO, NOW);
        assert_eq!(throttle.find(|| 2, NOW), None);
    }

    #[test]
    fn a_clock_that_was_set_back_ends_the_wait() {
        let throttle = throttle();
        throttle.keep(1, "busy", seconds(30), NOW);
        // Here one task reads the clock before another task keeps the response.
        assert!(throttle.find(|| 1, NOW.minus(seconds(1))).is_some());
        assert_eq!(throttle.find(|| 1, NOW.minus(seconds(10))), None);
        assert_eq!(throttle.find(|| 1, NOW), None);
    }

    #[test]
    fn a_policy_without_throttling_keeps_nothing() {
        for policy in [RetryPolicy::none(), RetryPolicy::default().without_throttling()] {
            let throttle = Throttle::new(policy);
            throttle.keep(1, "busy", seconds(30), NOW);
            assert_eq!(throttle.find(|| 1, NOW), None);
        }
    }

    #[test]
    fn it_is_bounded_and_keeps_the_longest_waits() {
        let throttle = throttle();
        for key in 0..10_000 {
            throttle.keep(key, "busy", seconds(10 + key), NOW);
            assert!(throttle.lock().len() <= CAPACITY);
        }
        assert!(throttle.find(|| 9_999, NOW).is_some() && throttle.find(|| 9_900, NOW).is_some());
        assert!(throttle.find(|| 0, NOW).is_none());
        // Responses with equal waits, and responses whose wait has ended, are removed too.
        let throttle = self::throttle();
        for key in 0..10_000 {
            throttle.keep(key, "busy", seconds(10), NOW);
            assert!(throttle.lock().len() <= CAPACITY);
        }
        throttle.keep(10_000, "busy", seconds(3_600), NOW.plus(seconds(10)));
        for key in 0..300 {
            throttle.keep(key, "busy", seconds(10), NOW.plus(seconds(100)));
            assert!(throttle.lock().len() <= CAPACITY);
        }
        assert!(throttle.find(|| 10_000, NOW.plus(seconds(100))).is_some());
    }
}
