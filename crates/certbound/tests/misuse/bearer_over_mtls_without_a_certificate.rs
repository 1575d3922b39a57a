use certbound::{Authority, Client};

/// There is no certificate to present yet.
fn misuse(authority: Authority) {
    let _ = Client::builder(authority, "app").bearer_over_mtls();
}

fn main() {}
