//! The headers of a token request.

use certbound_core::endpoint::TokenEndpoint;
use http::HeaderName;

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

/// Names and values in the order sent.
pub(crate) fn token_request(
    endpoint: &TokenEndpoint,
    kind: Kind,
    reason: RefreshReason,
    correlation_id: CorrelationId,
) -> Vec<(HeaderName, String)> {
    let name = HeaderName::from_static;
    vec![
        (http::header::ACCEPT, "application/json".to_owned()),
        (http::header::CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()),
        (name("x-client-sku"), PRODUCT.to_owned()),
        (name("x-client-ver"), env!("CARGO_PKG_VERSION").to_owned()),
        (name("x-client-os"), operating_system().to_owned()),
        (name("client-request-id"), correlation_id.to_string()),
        (name("return-client-request-id"), "true".to_owned()),
        (name("x-client-current-telemetry"), telemetry(endpoint, kind, reason)),
        (name("x-ms-lib-capability"), "retry-after, h429".to_owned()),
    ]
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
