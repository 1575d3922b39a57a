//! The headers of a token request.

use certbound_core::endpoint::TokenEndpoint;
use http::{HeaderName, HeaderValue};

use crate::correlation::CorrelationId;
use crate::token::Kind;

/// The product name the service sees. Its own, since the service keeps statistics by it.
pub(crate) const PRODUCT: &str = "certbound";

const API_CLIENT_CREDENTIALS: u16 = 1004;
const REGION_GIVEN_BY_USER: u8 = 6;

/// Why the cache was not enough, as the telemetry header numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshReason {
    ForcedOrClaims = 1,
    NoCachedToken = 2,
}

/// The headers, in the order sent.
pub(crate) fn token_request(
    endpoint: &TokenEndpoint,
    kind: Kind,
    reason: RefreshReason,
    correlation_id: CorrelationId,
) -> [(HeaderName, HeaderValue); 9] {
    let name = HeaderName::from_static;
    let value = HeaderValue::from_static;
    [
        (http::header::ACCEPT, value("application/json")),
        (http::header::CONTENT_TYPE, value("application/x-www-form-urlencoded")),
        (name("x-client-sku"), value(PRODUCT)),
        (name("x-client-ver"), value(env!("CARGO_PKG_VERSION"))),
        (name("x-client-os"), value(operating_system())),
        (name("client-request-id"), ascii(correlation_id.to_string())),
        (name("return-client-request-id"), value("true")),
        (name("x-client-current-telemetry"), ascii(telemetry(endpoint, kind, reason))),
        (name("x-ms-lib-capability"), value("retry-after, h429")),
    ]
}

/// A GUID, or digits, commas, bars and a region's letters: always a header's value.
fn ascii(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// `5|api,reason,region,source,outcome|serialized,legacy,token type,,,`: an explicit region leaves its source empty.
fn telemetry(endpoint: &TokenEndpoint, kind: Kind, reason: RefreshReason) -> String {
    let region = endpoint.region().map_or("", |region| region.as_str());
    let outcome = endpoint.region().map_or_else(String::new, |_| REGION_GIVEN_BY_USER.to_string());
    let token_type = match kind {
        Kind::Bound => 6,
        Kind::Bearer => 1,
    };
    format!("5|{API_CLIENT_CREDENTIALS},{},{region},,{outcome}|0,1,{token_type},,,", reason as u8)
}

fn operating_system() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "MacOS",
        "windows" => "Windows",
        other => other,
    }
}
