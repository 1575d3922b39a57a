//! W3C trace context: the headers that connect a request with the trace of the program.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::{Answer, AnyTransport, Via};
use crate::error::TransportError;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The maximum length of `tracestate`. Every receiver should accept this length.
const STATE_LENGTH: usize = 512;
/// The maximum number of members of `tracestate`.
const STATE_MEMBERS: usize = 32;

/// A hook that returns the trace context of the current task. `certbound-otel` has a hook for OpenTelemetry.
///
/// The hook is called for each request that [`TracePropagation`] selects, on the task that sends the request and within
/// the span of the request. The hook can set no other header. Closures `Fn() -> Option<TraceHeaders>` are hooks.
pub trait TraceContext: Send + Sync + 'static {
    /// Returns the headers for the request that is sent now, or `None` to send the request without these headers.
    fn headers(&self) -> Option<TraceHeaders>;
}

impl<F: Fn() -> Option<TraceHeaders> + Send + Sync + 'static> TraceContext for F {
    fn headers(&self) -> Option<TraceHeaders> {
        self()
    }
}

/// The values of the headers `traceparent` and `tracestate` (W3C Trace Context).
///
/// ```
/// use certbound::transport::TraceHeaders;
///
/// let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// assert!(TraceHeaders::parse(parent, "vendor=value").is_ok());
/// assert!(TraceHeaders::parse("00-00", "").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceHeaders {
    parent: HeaderValue,
    state: Option<HeaderValue>,
}

/// A text that is not a trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceHeadersError {
    /// `traceparent` does not have the form of version `00`.
    #[error(
        "`traceparent` is not of the form 00-TRACE-PARENT-FLAGS with 32, 16 and 2 hexadecimal digits in lower case, or \
         TRACE or PARENT is zero"
    )]
    Parent,
    /// `tracestate` is not a list of members, or is too long.
    #[error(
        "`tracestate` is not a list of at most 32 different KEY=VALUE members, or is longer than 512 characters"
    )]
    State,
}

impl TraceHeaders {
    /// Checks both values. An empty `tracestate` is not sent.
    ///
    /// # Errors
    /// [`TraceHeadersError`], if a value does not have the form of its header (W3C Trace Context, sections 3.2 and
    /// 3.3).
    pub fn parse(traceparent: &str, tracestate: &str) -> Result<Self, TraceHeadersError> {
        let parent = HeaderValue::from_str(traceparent).ok().filter(|_| is_parent(traceparent));
        let parent = parent.ok_or(TraceHeadersError::Parent)?;
        let state = match tracestate.trim_matches([' ', '\t']) {
            "" => None,
            state if is_state(state) => {
                Some(HeaderValue::from_str(state).map_err(|_| TraceHeadersError::State)?)
            }
            _ => return Err(TraceHeadersError::State),
        };
        Ok(Self { parent, state })
    }

    /// Writes the headers. If the application has set one of them, the request belongs to the application's trace, and
    /// nothing is written.
    fn write(self, headers: &mut HeaderMap) {
        if headers.contains_key(TRACEPARENT) || headers.contains_key(TRACESTATE) {
            return;
        }
        headers.insert(TRACEPARENT, self.parent);
        if let Some(state) = self.state {
            headers.insert(TRACESTATE, state);
        }
    }
}

fn is_parent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |part: &str, length| is_hex(part, length) && part.bytes().any(|byte| byte != b'0');
    match parts[..] {
        ["00", trace, parent, flags] => is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2),
        _ => false,
    }
}

fn is_state(text: &str) -> bool {
    let members =
        || text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|it| !it.is_empty());
    let keys: Vec<&str> = members().filter_map(|member| Some(member.split_once('=')?.0)).collect();
    let is_different = |(at, key): (usize, &&str)| !keys.iter().take(at).any(|earlier| earlier == key);
    text.len() <= STATE_LENGTH
        && keys.len() <= STATE_MEMBERS
        && members()
            .all(|member| member.split_once('=').is_some_and(|(key, value)| is_key(key) && is_value(value)))
        && keys.iter().enumerate().all(is_different)
}

/// Returns whether a text is the key of a member: a simple key, or `tenant@system`.
fn is_key(key: &str) -> bool {
    let is_rest = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let (tenant, system) = match key.split_once('@') {
        Some((tenant, system)) => (Some(tenant), system),
        None => (None, key),
    };
    let starts_with_letter = |part: &str| part.starts_with(|first: char| first.is_ascii_lowercase());
    let is_system = starts_with_letter(system) && system.bytes().all(is_rest) && system.len() <= 256;
    let is_tenant = |tenant: &str| {
        let starts = starts_with_letter(tenant) || tenant.starts_with(|first: char| first.is_ascii_digit());
        starts && tenant.bytes().all(is_rest) && tenant.len() <= 241 && system.len() <= 14
    };
    is_system && tenant.is_none_or(is_tenant)
}

fn is_value(value: &str) -> bool {
    let is_allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    !value.is_empty() && value.len() <= 256 && !value.ends_with(' ') && value.bytes().all(is_allowed)
}

/// The requests with the headers of a [`TraceContext`]: requests to resources, and other requests only if the
/// application selects them.
///
/// From the headers, a token service or a platform can learn which requests of the program belong together. The
/// builders of clients and of managed identities take this value in `with_trace_context`.
#[derive(Clone)]
pub struct TracePropagation {
    hook: Arc<dyn TraceContext>,
    to_token_services: bool,
    to_platforms: bool,
}

impl TracePropagation {
    /// Adds the headers to the requests of [`Resource::call`](crate::Resource::call) only.
    pub fn to_resources(hook: impl TraceContext) -> Self {
        Self { hook: Arc::new(hook), to_token_services: false, to_platforms: false }
    }

    /// Adds the headers to requests to token services too, and to requests about authorities.
    #[must_use]
    pub fn and_token_services(self) -> Self {
        Self { to_token_services: true, ..self }
    }

    /// Adds the headers to requests to the platform of a managed identity and to the metadata service too.
    #[must_use]
    pub fn and_platforms(self) -> Self {
        Self { to_platforms: true, ..self }
    }

    fn includes(&self, via: Via<'_>) -> bool {
        match via {
            Via::Resource(_) => true,
            Via::Tls | Via::Bound(_) => self.to_token_services,
            Via::Local | Via::Pinned(_) => self.to_platforms,
        }
    }
}

impl fmt::Debug for TracePropagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracePropagation")
            .field("to_token_services", &self.to_token_services)
            .field("to_platforms", &self.to_platforms)
            .finish_non_exhaustive()
    }
}

/// A transport that adds the headers of a trace context.
pub(crate) struct Propagating {
    pub(crate) transport: Arc<dyn AnyTransport>,
    pub(crate) propagation: TracePropagation,
}

impl AnyTransport for Propagating {
    fn send<'a>(
        &'a self,
        mut request: Request<Bytes>,
        via: Via<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, TransportError>> + Send + 'a>> {
        Box::pin(async move {
            // This transport calls the hook, because this code runs within the span of the request.
            if self.propagation.includes(via)
                && let Some(headers) = self.propagation.hook.headers()
            {
                headers.write(request.headers_mut());
            }
            self.transport.send(request, via).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_has_exactly_the_form_of_version_0() {
        assert!(TraceHeaders::parse(PARENT, "").is_ok());
        for wrong in [
            "",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nAuthorization: Bearer x",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceHeaders::parse(wrong, ""), Err(TraceHeadersError::Parent), "{wrong:?}");
        }
    }

    #[test]
    fn a_state_is_a_list_of_different_members() {
        let most = (0..32).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        let too_many = format!("{most},k32=v");
        let (longest, too_long) = (format!("k={}", "v".repeat(256)), format!("k={}", "v".repeat(257)));
        let too_much = [&longest, &longest.replace('k', "l")].map(String::as_str).join(",");
        for (state, is_right) in [
            ("", true),
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", true),
            ("tenant@system=a b", true),
            ("1tenant@system=v", true),
            ("a=1, ,b=2", true),
            (&most[..], true),
            (&longest[..], true),
            (&too_many[..], false),
            (&too_long[..], false),
            (&too_much[..], false),
            ("a=1,a=2", false),
            ("A=1", false),
            ("1a=1", false),
            ("a", false),
            ("a=", false),
            ("=1", false),
            ("a=b=c", false),
            ("a=\u{e4}", false),
            ("a=1\r\nx: y", false),
            ("a@b@c=1", false),
        ] {
            assert_eq!(TraceHeaders::parse(PARENT, state).is_ok(), is_right, "{state:?}");
        }
    }
}
