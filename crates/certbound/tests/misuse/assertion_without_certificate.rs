//! An assertion without its certificate.
use certbound::{BoundAssertion, Secret};

fn unbound(jwt: Secret) {
    let _ = BoundAssertion::from_jwt(jwt);
}

fn main() {}
