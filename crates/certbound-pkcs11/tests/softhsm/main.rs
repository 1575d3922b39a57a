//! Tokens of SoftHSM, with keys that no file holds in the clear and that cannot be extracted.
//!
//! SoftHSM reads its configuration from an environment variable, and its tokens belong to the process. So each test runs in
//! a process of its own, with tokens of its own ([`hsm::isolated`]).
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests; clippy excuses only the test functions themselves"
)]

mod certificates;
mod faults;
mod flow;
mod hsm;
mod machine;
mod pins;
mod removal;
mod signing;
