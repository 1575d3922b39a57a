//! Parses arbitrary key sets. The number of keys is limited.
#![no_main]

use std::sync::LazyLock;

use certbound_verifier::{Algorithm, Issuer, KeySet};

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let all = [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa];
    Issuer::oidc("https://idp.example", all).unwrap()
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(keys) = KeySet::of_jwks(&ISSUER, data) {
        assert!((1..=KeySet::MAX_KEYS).contains(&keys.len()));
    }
});
