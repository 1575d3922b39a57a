//! What the targets of the proxies' headers share.

use std::net::{IpAddr, Ipv4Addr};

use certbound_verifier::{IpNet, TrustedProxy};
use http::{HeaderMap, HeaderName, HeaderValue};

pub fn sources() -> [IpNet; 1] {
    ["127.0.0.0/8".parse().unwrap()]
}

/// From the proxy anything is read; from elsewhere nothing is believed.
pub fn read(proxy: &TrustedProxy, name: HeaderName, data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    let _ = proxy.certificate(IpAddr::V4(Ipv4Addr::LOCALHOST), &headers);
    assert!(proxy.certificate(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), &headers).is_err());
}
