use certbound::{Authority, BindingCertificate, Client};

/// A client needs a certificate, not an `Option`.
fn misuse(authority: Authority, certificate: Option<BindingCertificate>) {
    let _ = Client::builder(authority, "app").with_certificate(certificate);
}

fn main() {}
