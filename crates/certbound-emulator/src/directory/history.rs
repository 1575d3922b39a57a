//! A list whose changes take effect after a delay.

use std::sync::Arc;
use std::time::Duration;

use certbound_core::time::UnixTime;

/// The largest number of removed entries that may still be effective. If the number is exceeded, the oldest removal
/// takes effect at once.
const MAX_REMOVED: usize = 200;

/// The entries of a list, and the entries that were removed and are still effective.
pub(super) struct History<T> {
    /// The entries in the order of the list.
    current: Vec<Current<T>>,
    /// The removed entries in the order of removal.
    removed: Vec<Removed<T>>,
}

struct Current<T> {
    value: Arc<T>,
    /// The time of the addition. It is `None` if the entry was effective from the start.
    added: Option<UnixTime>,
}

struct Removed<T> {
    value: Arc<T>,
    at: UnixTime,
}

impl<T> Current<T> {
    fn is_effective(&self, now: UnixTime, delay: Duration) -> bool {
        self.added.is_none_or(|added| added.plus(delay) <= now)
    }
}

impl<T> Removed<T> {
    fn is_effective(&self, now: UnixTime, delay: Duration) -> bool {
        now < self.at.plus(delay)
    }
}

impl<T> History<T> {
    /// Creates a list of values that were added at this time. `None` makes them effective at once.
    pub(super) fn new(values: impl IntoIterator<Item = T>, added: Option<UnixTime>) -> Self {
        let current = values.into_iter().map(|value| Current { value: Arc::new(value), added });
        Self { current: current.collect(), removed: Vec::new() }
    }

    pub(super) fn current(&self) -> Vec<Arc<T>> {
        self.current.iter().map(|entry| Arc::clone(&entry.value)).collect()
    }

    pub(super) fn effective(&self, now: UnixTime, delay: Duration) -> Vec<Arc<T>> {
        let current = self.current.iter().filter(|entry| entry.is_effective(now, delay));
        let removed = self.removed.iter().filter(|entry| entry.is_effective(now, delay));
        let removed = removed.map(|entry| Arc::clone(&entry.value));
        current.map(|entry| Arc::clone(&entry.value)).chain(removed).collect()
    }

    /// Returns the entries of the list that are not effective yet.
    pub(super) fn pending(&self, now: UnixTime, delay: Duration) -> Vec<Arc<T>> {
        let pending = self.current.iter().filter(|entry| !entry.is_effective(now, delay));
        pending.map(|entry| Arc::clone(&entry.value)).collect()
    }

    /// Replaces the list. A value of the present list stays the same entry only if it is the same `Arc`. A removed
    /// entry that was not effective yet is discarded.
    pub(super) fn replace(&mut self, values: Vec<Arc<T>>, now: UnixTime, delay: Duration) {
        let mut before = std::mem::take(&mut self.current);
        for value in values {
            let known = before.iter().position(|entry| Arc::ptr_eq(&entry.value, &value));
            let entry = known.map(|at| before.remove(at));
            self.current.push(entry.unwrap_or(Current { value, added: Some(now) }));
        }
        self.removed.retain(|entry| entry.is_effective(now, delay));
        let gone = before.into_iter().filter(|entry| entry.is_effective(now, delay));
        self.removed.extend(gone.map(|entry| Removed { value: entry.value, at: now }));
        let too_many = self.removed.len().saturating_sub(MAX_REMOVED);
        self.removed.drain(..too_many);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(1_000 + seconds)
    }

    fn effective(history: &History<u32>, seconds: u64) -> Vec<u32> {
        history.effective(at(seconds), DELAY).iter().map(|value| **value).collect()
    }

    #[test]
    fn additions_and_removals_take_effect_after_the_delay() {
        let mut history = History::new([1], None);
        let mut values = history.current();
        values.push(Arc::new(2));
        history.replace(values.clone(), at(0), DELAY);
        assert_eq!((effective(&history, 59), history.pending(at(59), DELAY).len()), (vec![1], 1));
        assert_eq!((effective(&history, 60), history.pending(at(60), DELAY).len()), (vec![1, 2], 0));
        values.remove(0);
        history.replace(values, at(100), DELAY);
        assert_eq!(*history.current()[0], 2);
        assert_eq!((effective(&history, 159), effective(&history, 160)), (vec![2, 1], vec![2]));
    }

    #[test]
    fn an_entry_that_was_never_effective_leaves_nothing() {
        let mut history = History::new([], None);
        history.replace(vec![Arc::new(1)], at(0), DELAY);
        history.replace(Vec::new(), at(59), DELAY);
        assert_eq!(effective(&history, 61), Vec::<u32>::new());
    }

    #[test]
    fn without_a_delay_each_change_takes_effect_at_once() {
        let mut history = History::new([1], Some(at(0)));
        history.replace(vec![Arc::new(2)], at(0), Duration::ZERO);
        let effective = history.effective(at(0), Duration::ZERO);
        assert_eq!((effective.len(), *effective[0]), (1, 2));
    }

    #[test]
    fn the_number_of_removed_entries_is_bounded() {
        let mut history = History::new(0..300, None);
        history.replace(Vec::new(), at(0), DELAY);
        assert_eq!(effective(&history, 1), (100..300).collect::<Vec<_>>());
    }
}
