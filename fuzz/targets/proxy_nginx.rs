//! Parses arbitrary headers `x-ssl-client-cert`. The result is a certificate or an error.
#![no_main]

mod proxy;

use certbound_verifier::TrustedProxy;
use http::HeaderName;

use crate::proxy::{read, sources};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let proxy = TrustedProxy::nginx(sources());
    read(&proxy, HeaderName::from_static("x-ssl-client-cert"), data);
});
