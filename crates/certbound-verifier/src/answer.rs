//! The HTTP response to a refusal, in the form of RFC 6750, of Microsoft's own resources or of gRPC.

mod microsoft;

use std::borrow::Cow;

use bytes::Bytes;
use certbound_core::challenge;
use certbound_core::environment::Cloud;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::authorization::Scheme;
use crate::policy::BindingPolicy;
use crate::refusal::Refusal;

/// The form of the responses to refusals. Each kind of refusal has one fixed text, which contains no part of the
/// request.
///
/// A [`VerifyLayer`](crate::VerifyLayer) without its own style uses the style of its verifier's binding policy:
/// [`AnswerStyle::for_binding`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerStyle {
    /// RFC 6750 with the scheme `mtls_pop`: `error` and `error_description` in the challenge and as JSON. This style is
    /// the default.
    #[default]
    MtlsPop,
    /// RFC 6750 with the scheme `Bearer`, for clients of RFC 8705.
    Bearer,
    /// RFC 6750 with a challenge for each of the two schemes. Each challenge has its own header field.
    MtlsPopAndBearer,
    /// The form of Microsoft Graph: `{"error":{"code","message"}}`.
    Graph,
    /// The form of Azure Key Vault. Clients refuse its challenge unless `resource` matches the vault's host.
    Vault {
        /// The tenant's id.
        tenant: String,
        /// The vault's resource, such as `https://vault.azure.net`.
        resource: String,
    },
    /// The form of gRPC: status 16, 7 or 14 in the headers of a response without a body.
    Grpc,
}

impl AnswerStyle {
    /// Returns the style for a binding policy. Its challenges name `mtls_pop` if every token must be sent under
    /// `mtls_pop`, or `Bearer` if the policy follows RFC 8705. If the policy accepts unbound tokens under `Bearer` and
    /// bound tokens under `mtls_pop`, the challenges name both schemes.
    pub fn for_binding(policy: BindingPolicy) -> Self {
        match policy {
            BindingPolicy::Required => Self::MtlsPop,
            BindingPolicy::WhenBound => Self::MtlsPopAndBearer,
            BindingPolicy::Rfc8705 | BindingPolicy::Rfc8705WhenBound => Self::Bearer,
        }
    }
}

/// The response to a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    challenges: Vec<String>,
    code: &'static str,
    message: Cow<'static, str>,
    grpc: bool,
    nested: bool,
    /// The value of `Retry-After`, in seconds. gRPC has its own header in milliseconds.
    retry_after: Option<u64>,
    close: bool,
}

impl Answer {
    /// Makes the response to `refusal` in `style`.
    pub fn new(refusal: &Refusal, style: &AnswerStyle) -> Self {
        let message = match style {
            AnswerStyle::Graph => microsoft::message_of_graph(refusal),
            AnswerStyle::Vault { .. } => microsoft::message_of_vault(refusal),
            _ => refusal.description().into(),
        };
        let close = *refusal == Refusal::AmbiguousLength;
        // Graph and Key Vault use 401 instead of 400. Only the HTTP server in front of these services uses 400, for an
        // ambiguous length.
        let status = match (refusal.status(), style) {
            (400, AnswerStyle::Graph | AnswerStyle::Vault { .. }) if !close => 401,
            (status, _) => status,
        };
        Self {
            status,
            challenges: challenges(refusal, style, status),
            code: code_of(refusal, style),
            message,
            grpc: *style == AnswerStyle::Grpc,
            nested: matches!(style, AnswerStyle::Graph | AnswerStyle::Vault { .. }),
            retry_after: match refusal {
                Refusal::KeysUnavailable { retry_after, .. } => Some(retry_after.as_secs().max(1)),
                _ => None,
            },
            close,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The value of the first `WWW-Authenticate` header, if the response has this header.
    pub fn challenge(&self) -> Option<&str> {
        self.challenges().next()
    }

    /// All `WWW-Authenticate` values, in order.
    pub fn challenges(&self) -> impl Iterator<Item = &str> {
        self.challenges.iter().map(String::as_str)
    }

    /// The error's code in the body.
    pub fn code(&self) -> &str {
        self.code
    }

    /// The error's text in the body.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the whole response. Caches must not store it.
    pub fn response(&self) -> Response<Bytes> {
        if self.grpc {
            return self.grpc_response();
        }
        let body = if self.nested {
            json!({ "error": { "code": self.code, "message": self.message } })
        } else {
            json!({ "error": self.code, "error_description": self.message })
        };
        let mut response = Response::new(Bytes::from(body.to_string()));
        // `status` is always a valid status, so the default is never used.
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::UNAUTHORIZED);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for challenge in self.challenges().filter_map(|text| HeaderValue::from_str(text).ok()) {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        // The end of this request is not certain, so the start of the next request is not certain either.
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// Returns the response for gRPC over HTTP/2. The gRPC status is in the headers, and the HTTP status is 200.
    fn grpc_response(&self) -> Response<Bytes> {
        let status = match self.status {
            403 => "7",
            503 => "14",
            _ => "16",
        };
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("grpc-status", HeaderValue::from_static(status));
        // The message is a fixed text in ASCII without `%`, so it needs no encoding.
        if let Ok(message) = HeaderValue::from_str(&self.message) {
            headers.insert("grpc-message", message);
        }
        // gRPC clients do not read `Retry-After`. They read this header as a signed number of 32 bits (gRFC A6).
        if let Some(seconds) = self.retry_after {
            let milliseconds = i32::try_from(seconds.saturating_mul(1000)).unwrap_or(i32::MAX);
            headers.insert("grpc-retry-pushback-ms", HeaderValue::from(milliseconds));
        }
        response
    }
}

/// Returns the error's code in the body.
fn code_of(refusal: &Refusal, style: &AnswerStyle) -> &'static str {
    match style {
        AnswerStyle::Graph => microsoft::code_of_graph(refusal),
        AnswerStyle::Vault { .. } => microsoft::code_of_vault(refusal),
        _ => refusal.error().unwrap_or("unauthorized"),
    }
}

fn challenges(refusal: &Refusal, style: &AnswerStyle, status: u16) -> Vec<String> {
    let login_host = Cloud::Public.login_host();
    if let Refusal::ClaimsDemanded { claims } = refusal {
        return vec![challenge::demanding_claims(login_host, claims)];
    }
    let is_unauthorized = status == 401;
    match style {
        _ if status == 503 => Vec::new(),
        AnswerStyle::Graph if is_unauthorized => {
            vec![format!(
                "{}, client_id=\"00000003-0000-0000-c000-000000000000\"",
                challenge::naming_authority(login_host)
            )]
        }
        AnswerStyle::Vault { tenant, resource } if is_unauthorized => {
            vec![format!(
                "Bearer authorization=\"https://login.windows.net/{tenant}\", resource=\"{resource}\""
            )]
        }
        AnswerStyle::Graph | AnswerStyle::Vault { .. } => Vec::new(),
        AnswerStyle::Bearer => vec![by_rfc6750(Scheme::Bearer, refusal)],
        AnswerStyle::MtlsPop | AnswerStyle::Grpc => vec![by_rfc6750(Scheme::MtlsPop, refusal)],
        AnswerStyle::MtlsPopAndBearer => {
            [Scheme::MtlsPop, Scheme::Bearer].map(|scheme| by_rfc6750(scheme, refusal)).into()
        }
    }
}

fn by_rfc6750(scheme: Scheme, refusal: &Refusal) -> String {
    // If the request had no credentials, the challenge has no error code (RFC 6750, section 3).
    match refusal.error() {
        Some(error) => {
            format!("{scheme} error=\"{error}\", error_description=\"{}\"", refusal.description())
        }
        None => scheme.to_string(),
    }
}
