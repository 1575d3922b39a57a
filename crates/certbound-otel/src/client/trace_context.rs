//! The trace context of the current OpenTelemetry span.

use certbound::transport::{TraceContext, TraceHeaders};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;

/// A hook that returns the trace context of the current OpenTelemetry span, for `with_trace_context` of a client or a
/// managed identity.
///
/// `tracing-opentelemetry` makes each entered span of `tracing` the current span. The parent in `traceparent` is
/// therefore the span of the request. The hook also returns the trace context of a span that is not recorded, without
/// the flag `sampled`.
///
/// ```
/// use certbound::transport::TracePropagation;
/// use certbound::{Authority, Client, Secret, TenantId};
/// use certbound_otel::OtelTraceContext;
///
/// let authority = Authority::public(TenantId::parse("contoso.com")?);
/// let client = Client::builder(authority, "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e")
///     .with_secret(Secret::new("secret"))
///     .with_trace_context(TracePropagation::to_resources(OtelTraceContext));
/// # drop(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct OtelTraceContext;

impl TraceContext for OtelTraceContext {
    fn headers(&self) -> Option<TraceHeaders> {
        let context = Context::current();
        let span = context.span();
        let span = span.span_context();
        if !span.is_valid() {
            return None;
        }
        let flags = span.trace_flags().to_u8() & 1;
        let parent = format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id());
        // A state that is too long for the header is omitted: the trace does not depend on it.
        TraceHeaders::parse(&parent, &span.trace_state().header())
            .or_else(|_| TraceHeaders::parse(&parent, ""))
            .ok()
    }
}
