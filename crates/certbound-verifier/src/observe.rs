//! The observer of a verifier, for metrics.

use std::time::Duration;

use crate::refusal::Refusal;

/// Observes the decisions and the key fetches of a verifier.
///
/// The verifier calls the observer on the task that decides or fetches, so the observer must not block. Without an
/// observer, the verifier takes no measurements. A panic of the observer is a panic of that task.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use certbound_verifier::{Decision, Observer};
///
/// #[derive(Default)]
/// struct Refused(AtomicU64);
///
/// impl Observer for Refused {
///     fn decided(&self, decision: &Decision<'_>) {
///         if decision.refusal.is_some() {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Observes a decision about a request, or about a token. By default, it does nothing.
    ///
    /// [`Verifier::verify`](crate::Verifier::verify) and the layers report each decision once.
    /// [`Verifier::check`](crate::Verifier::check) and [`Verifier::explain`](crate::Verifier::explain) report no
    /// decision.
    fn decided(&self, _decision: &Decision<'_>) {}

    /// Observes the end of a fetch of an issuer's keys. By default, it does nothing.
    fn fetched(&self, _fetch: &KeyFetch<'_>) {}
}

/// A decision of a verifier. Its refusal may contain claims of the token, but never the token.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Decision<'a> {
    /// The refusal. It is `None` if the request was accepted.
    pub refusal: Option<&'a Refusal>,
    /// The duration of the decision. It includes the time in which the request waited for the issuer's keys.
    pub duration: Duration,
}

/// A fetch of an issuer's keys: its metadata and its key set.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct KeyFetch<'a> {
    /// The issuer, as its metadata names it. For several tenants of Entra it contains `{tenantid}`.
    pub issuer: &'a str,
    /// The result.
    pub outcome: FetchOutcome,
    /// The duration of the fetch.
    pub duration: Duration,
}

/// The result of a fetch of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum FetchOutcome {
    /// The fetch returned usable keys.
    Fetched,
    /// The issuer published a set without a usable key. The earlier keys are not used any more.
    Withdrawn,
    /// The request failed, or the answer could not be read. The earlier keys are still used.
    Failed,
}

impl FetchOutcome {
    /// The stable name: `fetched`, `withdrawn` or `failed`.
    pub fn id(self) -> &'static str {
        self.into()
    }
}
