//! Keys in a software TPM, which swtpm serves. tpm2-tools and openssl look at the results.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests; clippy excuses only the test functions themselves"
)]

mod attestation;
mod flow;
mod keys;
mod machine;
mod outages;
mod swtpm;
