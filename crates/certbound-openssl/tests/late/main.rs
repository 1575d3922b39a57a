//! The OpenSSL transport against servers that request the certificate late, at once, wrongly or never.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod apache;
mod early;
mod flow;
mod refused;
mod stranger;
mod support;
mod trust;
