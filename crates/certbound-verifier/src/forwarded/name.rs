//! The headers that cannot contain the certificate.

use http::HeaderName;
use strum::EnumProperty as _;

/// The reason why a header of this name cannot contain the certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum HeaderNameError {
    /// Envoy writes the certificate to one header only. A client could send a false certificate in a header of any
    /// other name.
    #[error("Envoy writes the certificate only to the header x-forwarded-client-cert")]
    #[strum(props(code = "certificate_header_name_fixed", fix = "do not set a header name for Envoy"))]
    Fixed,
    /// The header is reserved for a different purpose.
    #[error("the header {name} is reserved for a different purpose, so it cannot contain the certificate")]
    #[strum(props(code = "certificate_header_name_taken"))]
    #[strum(props(
        fix = "configure the proxy to write the certificate to a header of its own, such as x-client-cert"
    ))]
    Taken {
        /// The name of the header.
        name: HeaderName,
    },
}

impl HeaderNameError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}

/// Headers that HTTP, the token or a forward-auth request uses. No header of this list can be the certificate header:
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
