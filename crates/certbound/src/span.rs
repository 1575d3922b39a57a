//! The spans of `tracing`: their names, levels and fields. `docs/observability.md` lists them, and `tests/logs.rs`
//! compares that list with the code.
//!
//! No field contains a token, an assertion, a secret or a query, because a query can contain any of them.

use certbound_core::region::Region;
use http::{Request, Uri};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::correlation::CorrelationId;
use crate::error::{Error, Leg};

/// The values of `certbound.outcome` and of the metric's attribute with the same name.
pub(crate) const SUCCESS: &str = "success";
pub(crate) const FAILURE: &str = "failure";
pub(crate) const CANCELLED: &str = "cancelled";

/// Returns the span of one acquisition. A cache hit has no span if its certificate is known without waiting.
pub(crate) fn acquisition(
    token_type: &'static str,
    api: &'static str,
    scope: &str,
    id: CorrelationId,
) -> Span {
    tracing::info_span!(
        "acquire_token",
        otel.name = "acquire token",
        otel.status_code = Empty,
        certbound.token_type = token_type,
        certbound.api = api,
        certbound.refresh_reason = Empty,
        certbound.scope = scope,
        certbound.correlation_id = %id,
        certbound.ahead = Empty,
        certbound.outcome = Empty,
        certbound.source = Empty,
        certbound.region = Empty,
        certbound.aadsts = Empty,
        error.type = Empty,
    )
}

/// Returns the span of a whole leg: a bound assertion of Leg 1 from any source, or the exchange of Leg 2. The direct flow
/// and the exchange of an unbound assertion have no such span.
pub(crate) fn leg(leg: Leg) -> Span {
    tracing::info_span!(
        "leg",
        otel.name = %leg,
        otel.status_code = Empty,
        certbound.leg = leg.as_str(),
        certbound.aadsts = Empty,
        error.type = Empty,
    )
}

/// Runs Leg 1 within its span, and records the error of Leg 1 in the span.
pub(crate) async fn in_leg1<T>(leg1: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let span = leg(Leg::One);
    let result = leg1.instrument(span.clone()).await;
    if let Err(error) = &result {
        record_error(&span, error);
    }
    result
}

/// Returns the span of the wait for a load of the cache.
pub(crate) fn cache_load() -> Span {
    tracing::debug_span!("cache_load", otel.name = "cache load", certbound.joined = Empty)
}

/// Returns the span of one operation of the cache's store: `load`, `save` or `remove`.
pub(crate) fn store(operation: &'static str) -> Span {
    tracing::info_span!(
        "store",
        otel.name = %format_args!("store {operation}"),
        otel.status_code = Empty,
        certbound.store.operation = operation,
        certbound.correlation_id = Empty,
        certbound.found = Empty,
        error.type = Empty,
    )
}

/// Returns the span of the detection of the region.
pub(crate) fn region_detection() -> Span {
    tracing::info_span!(
        "detect_region",
        otel.name = "detect region",
        otel.status_code = Empty,
        certbound.region = Empty,
        error.type = Empty,
    )
}

/// Returns the span of the request for a certificate of a machine, with the creation of its key and its attestation.
#[cfg(feature = "managed-identity")]
pub(crate) fn certificate(id: CorrelationId) -> Span {
    tracing::info_span!(
        "issue_certificate",
        otel.name = "issue certificate",
        otel.status_code = Empty,
        certbound.correlation_id = %id,
        error.type = Empty,
    )
}

/// The span of one HTTP request, with the names of OpenTelemetry's conventions for HTTP clients.
macro_rules! http_span {
    ($name:literal, $request:expr, $attempt:expr, { $($more:tt)* }) => {
        tracing::info_span!(
            $name,
            otel.kind = "client",
            otel.name = %$request.method(),
            otel.status_code = Empty,
            http.request.method = %$request.method(),
            http.request.resend_count = $attempt.checked_sub(1).filter(|resent| *resent > 0),
            http.response.status_code = Empty,
            server.address = $request.uri().host(),
            server.port = port_of($request.uri()),
            error.type = Empty,
            $($more)*
        )
    };
}

/// The target of an HTTP request.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// The token endpoint.
    TokenService { leg: Option<Leg>, region: Option<&'a Region>, id: CorrelationId },
    /// The platform of a managed identity, or the metadata service.
    Platform,
    /// A document about an authority.
    Discovery { leg: Option<Leg> },
    /// A resource. Its URL is not recorded, because the application's paths can contain personal data.
    Resource,
}

impl<'a> Target<'a> {
    pub(crate) fn leg(self) -> Option<Leg> {
        match self {
            Self::TokenService { leg, .. } | Self::Discovery { leg } => leg,
            Self::Platform | Self::Resource => None,
        }
    }

    pub(crate) fn region(self) -> Option<&'a Region> {
        match self {
            Self::TokenService { region, .. } => region,
            _ => None,
        }
    }
}

/// Returns the span of one HTTP request. The first attempt has the number 1.
pub(crate) fn request<B>(target: Target<'_>, request: &Request<B>, attempt: u32) -> Span {
    match target {
        Target::TokenService { leg, region, id } => http_span!("token_request", request, attempt, {
            url.full = without_query(request.uri()),
            certbound.leg = leg.map(Leg::as_str),
            certbound.region = region.map(Region::as_str),
            certbound.correlation_id = %id,
        }),
        Target::Platform => {
            http_span!("platform_request", request, attempt, { url.full = without_query(request.uri()) })
        }
        Target::Discovery { leg } => http_span!("discovery_request", request, attempt, {
            url.full = without_query(request.uri()),
            certbound.leg = leg.map(Leg::as_str),
        }),
        Target::Resource => http_span!("resource_request", request, attempt, {}),
    }
}

/// Records the status of a response. A status of 400 or more is an error, as in OpenTelemetry's conventions.
pub(crate) fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 400 {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", tracing::field::display(status));
    }
}

/// Records a failure by its code.
pub(crate) fn failed(span: &Span, code: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", code);
}

/// Records the code of an error, and the service's own number for the error.
pub(crate) fn record_error(span: &Span, error: &Error) {
    failed(span, error.code());
    if let Some(number) = error.aadsts() {
        span.record("certbound.aadsts", number);
    }
}

/// Returns a URL without user name, query and fragment.
fn without_query(url: &Uri) -> String {
    let (scheme, host) = (url.scheme_str().unwrap_or_default(), url.host().unwrap_or_default());
    match url.port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}{}", url.path()),
        None => format!("{scheme}://{host}{}", url.path()),
    }
}

fn port_of(url: &Uri) -> u16 {
    url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 })
}
