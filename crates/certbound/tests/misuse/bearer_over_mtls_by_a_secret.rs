use certbound::{Authority, Client, Secret};

/// There is no certificate to present.
fn misuse(authority: Authority, secret: Secret) {
    let _ = Client::builder(authority, "app").with_secret(secret).bearer_over_mtls();
}

fn main() {}
