//! An assertion without the certificate it is bound to.
use certbound::{BoundAssertion, Secret};

fn unbound(jwt: Secret) {
    let _ = BoundAssertion::from_jwt(jwt);
}

fn main() {}
