//! The checks of a request's sender: the sender must run on this machine and must address this service.

use bytes::Bytes;
use http::Request;
use http::header::HOST;

use super::{Platform, Rejection, reject};
use crate::paths::{IMDS_HOST, REAL_CLOUD_SHELL, REAL_CLOUD_SHELL_HOST, without_slash};

impl Platform<'_> {
    /// Checks that the request names this service and was not forwarded by a proxy.
    pub(super) fn check_caller(&self, request: &Request<Bytes>) -> Result<(), Rejection> {
        self.check_host(request)?;
        if request.headers().contains_key("x-forwarded-for") {
            return Err(reject(
                400,
                "invalid_request",
                "The header X-Forwarded-For shows that a proxy sent the request. Send it directly.",
            ));
        }
        Ok(())
    }

    /// Checks the host name. By DNS rebinding, a web page can send requests to this service, but only with a host name
    /// that the page's author controls.
    fn check_host(&self, request: &Request<Bytes>) -> Result<(), Rejection> {
        let known = |host: &str| match without_slash(request.uri().path()) {
            // Cloud Shell's environment contains this address with its host name, and clients use the address
            // unchanged.
            REAL_CLOUD_SHELL => host == REAL_CLOUD_SHELL_HOST,
            _ => [IMDS_HOST, self.own_host].contains(&host.strip_suffix(":80").unwrap_or(host)),
        };
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
        // A host in the request line has priority over `Host` (RFC 9112, section 3.2.2).
        let line = request.uri().authority().is_none_or(|line| known(line.as_str()));
        if line && known(host) && hosts.next().is_none() {
            return Ok(());
        }
        Err(reject(400, "invalid_request", "The Host header does not name this service."))
    }

    /// Checks the header `Metadata`, which neither a web page nor a redirect can add.
    pub(super) fn check_metadata_header(&self, request: &Request<Bytes>) -> Result<(), Rejection> {
        if has_once(request, "metadata", "true") {
            return Ok(());
        }
        Err(reject(400, "invalid_request", "Required metadata header not specified"))
    }
}

/// Returns whether the header is present exactly once, with this value.
pub(super) fn has_once(request: &Request<Bytes>, header: &str, value: &str) -> bool {
    let mut values = request.headers().get_all(header).iter();
    values.next().is_some_and(|found| found == value) && values.next().is_none()
}
