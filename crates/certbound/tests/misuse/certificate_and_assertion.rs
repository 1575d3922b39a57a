//! Leg 2 with a certificate *and* an assertion.
use certbound::{Authority, BindingCertificate, BoundAssertion, Client};

fn both(authority: Authority, certificate: BindingCertificate, assertion: BoundAssertion) {
    let _ = Client::builder(authority, "app").with_certificate(certificate).with_assertions(assertion);
}

fn main() {}
