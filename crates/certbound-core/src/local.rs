//! Loopback and link-local hosts: this machine, and hosts on its own network link, such as the metadata service.

use core::net::IpAddr;

/// Whether a host is loopback or link-local. Requests to these hosts must not use a proxy.
///
/// Names are not resolved; `localhost` is the only name that is local.
///
/// ```
/// use certbound_core::local::is_local;
///
/// assert!(is_local("127.0.0.1") && is_local("::1") && is_local("LOCALHOST") && is_local("169.254.169.254"));
/// assert!(!is_local("10.0.0.1") && !is_local("localhost.example"));
/// ```
pub fn is_local(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unicast_link_local(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}
