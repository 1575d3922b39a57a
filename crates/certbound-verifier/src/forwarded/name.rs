//! The headers that cannot have the certificate.

use http::HeaderName;

use super::HeaderNameError;

/// Headers that HTTP, the token or a forward-auth request uses. Each of them is a mistake as a certificate header:
/// every request would be refused, or a client could send the header through the proxy.
const TAKEN: [&str; 34] = [
    "accept",
    "authorization",
    "client-cert-chain",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-auth-request-redirect",
    "x-envoy-original-path",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-uri",
    "x-ms-tokenboundauth",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
];

pub(super) fn check(name: &HeaderName) -> Result<(), HeaderNameError> {
    let text = name.as_str();
    if text.starts_with("x-certbound-") || TAKEN.contains(&text) {
        return Err(HeaderNameError::Taken { name: name.clone() });
    }
    Ok(())
}
