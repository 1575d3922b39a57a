//! The headers of a token request.

use certbound_core::endpoint::{Flow, TokenEndpoint};
use certbound_core::refusal::HeaderFacts;
use certbound_core::region::{RegionOutcome, RegionSource};
use certbound_core::time::UnixTime;
use http::{HeaderName, HeaderValue};

use crate::cache::Kind;
use crate::correlation::CorrelationId;
use crate::retry::retry_after;

/// The name of this library in its requests. It differs from MSAL's name, because the service keeps statistics by name.
pub(crate) const PRODUCT: &str = "certbound";

/// The flow of an acquisition. The telemetry header contains its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    ClientCredentials,
    OnBehalfOf,
    #[cfg(feature = "managed-identity")]
    SystemIdentity,
    #[cfg(feature = "managed-identity")]
    UserIdentity,
}

impl Api {
    /// Returns the flow of an application or a user.
    pub(crate) fn of(flow: Flow) -> Self {
        match flow {
            Flow::ClientCredentials => Self::ClientCredentials,
            Flow::User => Self::OnBehalfOf,
        }
    }

    /// Returns the flow of a managed identity.
    #[cfg(feature = "managed-identity")]
    pub(crate) fn of_identity(is_system: bool) -> Self {
        if is_system { Self::SystemIdentity } else { Self::UserIdentity }
    }

    fn number(self) -> &'static str {
        match self {
            Self::ClientCredentials => "1004",
            Self::OnBehalfOf => "1006",
            #[cfg(feature = "managed-identity")]
            Self::SystemIdentity => "1015",
            #[cfg(feature = "managed-identity")]
            Self::UserIdentity => "1016",
        }
    }

    /// Returns the name in spans and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::OnBehalfOf => "on_behalf_of",
            #[cfg(feature = "managed-identity")]
            Self::SystemIdentity => "system_assigned_identity",
            #[cfg(feature = "managed-identity")]
            Self::UserIdentity => "user_assigned_identity",
        }
    }
}

/// The reason for a request to the token service. The telemetry header contains its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshReason {
    ForcedOrClaims,
    NoCachedToken,
    Expired,
    Proactive,
    CacheDisabled,
}

impl RefreshReason {
    fn number(self) -> &'static str {
        match self {
            Self::ForcedOrClaims => "1",
            Self::NoCachedToken => "2",
            Self::Expired => "3",
            Self::Proactive => "4",
            Self::CacheDisabled => "5",
        }
    }

    /// Returns the name in spans and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ForcedOrClaims => "forced_or_claims",
            Self::NoCachedToken => "no_cached_token",
            Self::Expired => "expired",
            Self::Proactive => "proactive",
            Self::CacheDisabled => "cache_disabled",
        }
    }
}

/// The facts about one request in the telemetry header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telemetry<'a> {
    pub(crate) api: Api,
    pub(crate) kind: Kind,
    pub(crate) reason: RefreshReason,
    /// The name and the version of a library that uses certbound, and the flag `ManagedCert`. A text is empty if it is
    /// not set.
    pub(crate) caller: [&'a str; 3],
}

/// Names of headers outside the HTTP standard. The names are constants, so that they are not parsed for each request.
mod name {
    use http::HeaderName;

    pub(super) const SKU: HeaderName = HeaderName::from_static("x-client-sku");
    pub(super) const VERSION: HeaderName = HeaderName::from_static("x-client-ver");
    pub(super) const SYSTEM: HeaderName = HeaderName::from_static("x-client-os");
    pub(super) const CORRELATION: HeaderName = HeaderName::from_static("client-request-id");
    pub(super) const RETURN_CORRELATION: HeaderName = HeaderName::from_static("return-client-request-id");
    pub(super) const TELEMETRY: HeaderName = HeaderName::from_static("x-client-current-telemetry");
    pub(super) const CAPABILITY: HeaderName = HeaderName::from_static("x-ms-lib-capability");
    pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
}

/// Returns the headers of a token request, in the order in which they are sent.
pub(crate) fn token_request(
    endpoint: &TokenEndpoint,
    telemetry: Telemetry<'_>,
    correlation_id: CorrelationId,
) -> [(HeaderName, HeaderValue); 9] {
    let value = HeaderValue::from_static;
    [
        (http::header::ACCEPT, value("application/json")),
        (http::header::CONTENT_TYPE, value("application/x-www-form-urlencoded")),
        (name::SKU, value(PRODUCT)),
        (name::VERSION, value(env!("CARGO_PKG_VERSION"))),
        (name::SYSTEM, value(operating_system())),
        (name::CORRELATION, ascii(correlation_id.to_string())),
        (name::RETURN_CORRELATION, value("true")),
        (name::TELEMETRY, ascii(telemetry.text(endpoint))),
        (name::CAPABILITY, value("retry-after, h429")),
    ]
}

/// Returns the headers of a request for a document about an authority.
pub(crate) fn discovery(correlation_id: CorrelationId) -> [(HeaderName, HeaderValue); 6] {
    let value = HeaderValue::from_static;
    [
        (http::header::ACCEPT, value("application/json")),
        (name::SKU, value(PRODUCT)),
        (name::VERSION, value(env!("CARGO_PKG_VERSION"))),
        (name::SYSTEM, value(operating_system())),
        (name::CORRELATION, ascii(correlation_id.to_string())),
        (name::RETURN_CORRELATION, value("true")),
    ]
}

/// Reads those headers of a response that the library uses.
pub(crate) fn facts(headers: &http::HeaderMap, now: UnixTime) -> HeaderFacts {
    let text =
        |name: http::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    HeaderFacts {
        content_type: text(http::header::CONTENT_TYPE),
        retry_after: retry_after(headers, now),
        location: text(http::header::LOCATION),
        request_id: text(name::REQUEST_ID),
    }
}

/// Reads the time of the server, in the form that servers must use (RFC 9110, section 5.6.7).
pub(crate) fn date(headers: &http::HeaderMap) -> Option<UnixTime> {
    UnixTime::from_http_date(headers.get(http::header::DATE)?.to_str().ok()?)
}

/// Turns a text into a header value. The text is a GUID or the telemetry header. Both contain only visible ASCII, so
/// the text is always a valid value.
fn ascii(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

impl Telemetry<'_> {
    /// Formats the header: `5|api,reason,region,source,outcome|serialized,legacy,token type,caller,its version,managed
    /// certificate`.
    fn text(self, endpoint: &TokenEndpoint) -> String {
        let region = endpoint.region().map_or("", |region| region.as_str());
        let (source, outcome) = region_numbers(endpoint.region_outcome());
        let token_type = match self.kind {
            Kind::Bound => "6",
            Kind::Bearer => "1",
        };
        let [caller, version, managed] = self.caller;
        let (api, reason) = (self.api.number(), self.reason.number());
        // `concat` takes a third of the time of `format!`, and this code runs for every request.
        [
            "5|", api, ",", reason, ",", region, ",", source, ",", outcome, "|0,1,", token_type, ",", caller,
            ",", version, ",", managed,
        ]
        .concat()
    }
}

/// Returns MSAL's numbers for the source of the region and for the outcome. The source is 1 if the detection failed, 2
/// for the result of an earlier detection, 3 for an environment variable and 4 for the metadata service. The outcome is
/// 4 for a detected region, 5 for the global endpoint instead of a region's endpoint, and 6 for a region that was
/// named.
fn region_numbers(outcome: &RegionOutcome) -> (&'static str, &'static str) {
    match outcome {
        RegionOutcome::Named => ("", "6"),
        RegionOutcome::Detected { remembered: true, .. } => ("2", "4"),
        RegionOutcome::Detected { source: RegionSource::MetadataService, .. } => ("4", "4"),
        RegionOutcome::Detected { .. } => ("3", "4"),
        RegionOutcome::NotDetected { .. } => ("1", "5"),
        RegionOutcome::Unreachable { .. } => ("", "5"),
        _ => ("", ""),
    }
}

fn operating_system() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "MacOS",
        "windows" => "Windows",
        other => other,
    }
}
