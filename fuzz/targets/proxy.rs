//! The shared code of the targets for the headers of proxies.

use std::net::{IpAddr, Ipv4Addr};

use certbound_verifier::{IpNet, TrustedProxy};
use http::{HeaderMap, HeaderName, HeaderValue};

pub fn sources() -> [IpNet; 1] {
    ["127.0.0.0/8".parse().unwrap()]
}

/// Reads a header from the proxy's address, which must not panic, and from another address, which must fail.
pub fn read(proxy: &TrustedProxy, name: HeaderName, data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    let _ = proxy.certificate(IpAddr::V4(Ipv4Addr::LOCALHOST), &headers);
    assert!(proxy.certificate(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), &headers).is_err());
}
