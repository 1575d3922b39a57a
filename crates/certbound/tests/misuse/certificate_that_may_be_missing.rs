use certbound::{Authority, BindingCertificate, Client};

/// Whether there is a certificate is settled before a client has one.
fn misuse(authority: Authority, certificate: Option<BindingCertificate>) {
    let _ = Client::builder(authority, "app").with_certificate(certificate);
}

fn main() {}
