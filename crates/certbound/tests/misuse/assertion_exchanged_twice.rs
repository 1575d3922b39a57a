//! One assertion in two clients.
use certbound::{Authority, BoundAssertion, Client};

fn twice(authority: Authority, assertion: BoundAssertion) {
    let _ = Client::builder(authority.clone(), "app").with_assertions(assertion);
    let _ = Client::builder(authority, "app").with_assertions(assertion);
}

fn main() {}
