//! Parses arbitrary headers `x-arr-clientcert`. The result is a certificate or an error.
#![no_main]

mod proxy;

use certbound_verifier::TrustedProxy;
use http::HeaderName;

use crate::proxy::{read, sources};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let proxy = TrustedProxy::app_service(sources());
    read(&proxy, HeaderName::from_static("x-arr-clientcert"), data);
});
