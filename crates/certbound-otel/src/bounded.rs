//! Two limits for the values of an attribute. A server chooses some of these values, and each new value is a new time
//! series.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The value that replaces every value beyond the limits, as in OpenTelemetry's conventions for `error.type`.
pub(crate) const OTHER: &str = "_OTHER";
/// The maximum number of values.
const VALUES: usize = 100;
/// The maximum length of a value, in bytes.
const LENGTH: usize = 64;

/// The first 100 values of an attribute. Every later value, and every value of more than 64 bytes, becomes [`OTHER`].
#[derive(Default)]
pub(crate) struct Bounded(Mutex<HashSet<Arc<str>>>);

impl Bounded {
    pub(crate) fn value(&self, text: &str) -> Arc<str> {
        // Each change of the set is one step, so the set is usable even after a panic.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = known.get(text) {
            return Arc::clone(value);
        }
        if known.len() >= VALUES || text.len() > LENGTH {
            return Arc::from(OTHER);
        }
        let value: Arc<str> = Arc::from(text);
        known.insert(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_and_longer_values_are_one_value() {
        let bounded = Bounded::default();
        assert_eq!(&*bounded.value(&"x".repeat(LENGTH + 1)), OTHER);
        for n in 0..VALUES {
            assert_eq!(&*bounded.value(&n.to_string()), n.to_string());
        }
        assert_eq!(&*bounded.value("one more"), OTHER);
        assert_eq!(&*bounded.value("7"), "7");
    }
}
