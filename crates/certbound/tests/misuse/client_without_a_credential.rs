//! A client without a credential.
use certbound::{Authority, Client};

fn nothing(authority: Authority) {
    let _ = Client::builder(authority, "app").build();
}

fn main() {}
