//! Parses arbitrary headers `client-cert`. The result is a certificate or an error.
#![no_main]

mod proxy;

use certbound_verifier::TrustedProxy;
use http::HeaderName;

use crate::proxy::{read, sources};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let proxy = TrustedProxy::rfc9440(sources());
    read(&proxy, HeaderName::from_static("client-cert"), data);
});
