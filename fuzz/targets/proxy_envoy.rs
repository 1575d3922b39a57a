//! Parses arbitrary headers `x-forwarded-client-cert`. The result is a certificate or an error.
#![no_main]

mod proxy;

use certbound_verifier::TrustedProxy;
use http::HeaderName;

use crate::proxy::{read, sources};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let proxy = TrustedProxy::envoy(sources());
    read(&proxy, HeaderName::from_static("x-forwarded-client-cert"), data);
});
