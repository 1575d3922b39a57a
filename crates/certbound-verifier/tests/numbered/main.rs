//! The refusals that a resource must make. The number in a test's name is the number of its case: `v01` is case 1.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod algorithms;
mod binding;
mod candidates;
mod discovery;
mod floods;
mod http_form;
mod jwt;
mod jwt_claims;
mod keys;
mod layer;
mod observe;
mod proxy;
mod serve;
mod standard_issuers;
mod support;
