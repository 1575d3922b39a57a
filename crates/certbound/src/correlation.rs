//! The id by which a call can be found in the service's logs.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// A correlation id: a GUID for one acquisition. All token requests of the acquisition contain it as
/// `client-request-id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CorrelationId(Uuid);

impl CorrelationId {
    /// Returns a new random id.
    pub fn random() -> Self {
        Self(uuid::Builder::from_random_bytes(numbers().to_le_bytes()).into_uuid())
    }
}

/// Returns a unique number that another process cannot guess. The number is not a secret, so the operating system's
/// randomness is read only once per process and not for each request.
fn numbers() -> u128 {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
    static MADE: AtomicU64 = AtomicU64::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    let [high, low] = KEYS.each_ref().map(|keys| u128::from(keys.hash_one(made)));
    high << 64 | low
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for CorrelationId {
    type Err = NotACorrelationId;

    fn from_str(text: &str) -> Result<Self, NotACorrelationId> {
        Uuid::try_parse(text).map(Self).map_err(|_| NotACorrelationId)
    }
}

/// The error for a text that is not a GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a correlation id, which is a GUID such as 2c7f0f0e-2b73-4f0c-9b1e-0b7d7a2f7c11")]
pub struct NotACorrelationId;
