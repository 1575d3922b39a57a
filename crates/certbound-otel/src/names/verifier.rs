//! The metrics of the verifier.

use super::Metric;

/// The decisions.
pub const VERIFIER_DECISIONS: Metric =
    Metric::new("certbound.verifier.decisions", "{decision}", "Decisions about requests.");
/// The durations of decisions.
pub const VERIFIER_DECISION_DURATION: Metric = Metric::new(
    "certbound.verifier.decision.duration",
    "s",
    "The duration of a decision, including the wait for keys.",
);
/// The fetches of keys.
pub const VERIFIER_KEY_FETCHES: Metric =
    Metric::new("certbound.verifier.key.fetches", "{fetch}", "Fetches of the keys of issuers.");
/// The durations of fetches.
pub const VERIFIER_KEY_FETCH_DURATION: Metric =
    Metric::new("certbound.verifier.key.fetch.duration", "s", "The duration of a fetch of keys.");
/// The time of the last successful fetch.
pub const VERIFIER_KEYS_FETCH_TIME: Metric = Metric::new(
    "certbound.verifier.keys.fetch.time",
    "s",
    "The time at which the keys in use were fetched, in seconds since 1970.",
);
/// Whether tokens of an issuer can be accepted.
pub const VERIFIER_KEYS_USABLE: Metric = Metric::new(
    "certbound.verifier.keys.usable",
    "",
    "1 if there are keys with which tokens of the issuer can be accepted, otherwise 0.",
);

/// Every metric of the verifier.
pub const VERIFIER: [Metric; 6] = [
    VERIFIER_DECISIONS,
    VERIFIER_DECISION_DURATION,
    VERIFIER_KEY_FETCHES,
    VERIFIER_KEY_FETCH_DURATION,
    VERIFIER_KEYS_FETCH_TIME,
    VERIFIER_KEYS_USABLE,
];
