//! A copy of an assertion.
use certbound::BoundAssertion;

fn copy(assertion: &BoundAssertion) -> BoundAssertion {
    assertion.clone()
}

fn main() {}
