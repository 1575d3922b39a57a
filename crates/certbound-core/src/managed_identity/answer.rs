//! Responses of the platforms' token endpoints. Their form differs from the form of a token service's responses.

use std::fmt;
use std::time::Duration;
use strum::EnumProperty as _;

use serde_json::{Map, Value};

use super::expiry;
use crate::json::{self, JsonError};
use crate::own_secrets::OwnSecrets;
use crate::refusal::{AuthorityError, HeaderFacts, without_tokens};
use crate::response::is_b64token;
use crate::secret::Secret;
use crate::shown::{one_line, shown};
use crate::time::UnixTime;

/// A Bearer token from a platform.
#[derive(Debug)]
pub struct BearerAnswer {
    /// `access_token`. It is never empty.
    pub access_token: Secret,
    /// The time at which the token expires.
    pub expires_at: UnixTime,
    /// The time after which the client should request a new token: half of the lifetime. The value is `None` if the
    /// lifetime is at most two hours.
    pub refresh_at: Option<UnixTime>,
    /// `client_id`, `object_id`, and `msi_res_id` or `mi_res_id`: the identity that the token is for. `mi_res_id` is
    /// read only if `msi_res_id` is absent. Each value is `None` if the member is absent, empty or not a string.
    pub identity: [Option<String>; 3],
}

const HALVED_ABOVE: Duration = Duration::from_secs(7200);

impl BearerAnswer {
    /// Parses the body of a response with status 200. `expires_on` is used if it can be read, otherwise `expires_in`.
    /// Each of the two members may be a number or a string. The value may be a time, a duration, or a date with an
    /// offset.
    ///
    /// # Errors
    /// [`MalformedMachineAnswer`] if the body is malformed, or if the token has expired.
    pub fn parse(body: &[u8], now: UnixTime) -> Result<Self, MalformedMachineAnswer> {
        let mut members = json::parse_object(body)?;
        let token = secret(&mut members, "access_token");
        // The refresh token is not used. `Secret` wipes it when it is dropped.
        drop(secret(&mut members, "refresh_token"));
        let token = token.ok_or(MalformedMachineAnswer::Missing("access_token"))?;
        if !is_b64token(token.expose().as_bytes()) {
            return Err(MalformedMachineAnswer::TokenCharacters);
        }
        let expires_at = expiry::of_answer(&members, now)?;
        let life = Duration::from_secs(expires_at.as_secs() - now.as_secs());
        // A response can have both `msi_res_id` and `mi_res_id`. `msi_res_id` is the name in the requests to IMDS and
        // Azure Arc.
        let has_msi = members.get("msi_res_id").is_some_and(|value| !value.is_null());
        let resource = if has_msi { "msi_res_id" } else { "mi_res_id" };
        Ok(Self {
            access_token: token,
            expires_at,
            refresh_at: (life > HALVED_ABOVE).then(|| now.plus(life / 2)),
            identity: ["client_id", "object_id", resource].map(|name| text(&members, name)),
        })
    }
}

/// Removes a member from the response and returns its text. The response then contains no copy of the text.
fn secret(members: &mut Map<String, Value>, name: &str) -> Option<Secret> {
    match members.remove(name) {
        Some(Value::String(text)) => Some(Secret::new(text)).filter(|text| !text.expose().trim().is_empty()),
        _ => None,
    }
}

fn text(members: &Map<String, Value>, name: &str) -> Option<String> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

/// An error response of a platform, in any of the forms that platforms use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineError {
    /// The HTTP status.
    pub status: u16,
    /// The platform's own code, such as `invalid_request`. The text is empty if the response has no code.
    pub reason: String,
    /// The platform's own message.
    pub message: String,
    /// The platform's correlation id.
    pub correlation_id: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl MachineError {
    /// Parses a response whose status is not 200. The function never fails: an error response may have any body.
    pub fn parse(status: u16, headers: &HeaderFacts, body: &[u8]) -> Self {
        // `AuthorityError::parse` removes tokens from the texts it returns.
        let plain = AuthorityError::parse(status, headers, body);
        let members = json::parse_object(body).unwrap_or_default();
        let said =
            |members: &Map<String, Value>, name: &str| text(members, name).map(|text| without_tokens(&text));
        let nested = members.get("error").and_then(Value::as_object);
        let (reason, message) = match nested {
            Some(nested) => (said(nested, "code"), said(nested, "message")),
            None => (
                said(&members, "error"),
                Some(plain.description.clone())
                    .filter(|text| !text.is_empty())
                    .or_else(|| said(&members, "message")),
            ),
        };
        // An empty JSON object gives no reason, like an empty body.
        let says_nothing = body.is_empty() || (members.is_empty() && json::parse_object(body).is_ok());
        let message = message.unwrap_or_else(|| match says_nothing {
            true => "the response names no reason".to_owned(),
            false => plain.body.clone(),
        });
        let message = one_line(&message);
        Self {
            status,
            reason: shown(&reason.unwrap_or_default()),
            message: without_tokens(&message).chars().take(512).collect(),
            correlation_id: said(&members, "correlationId")
                .or_else(|| nested.and_then(|nested| said(nested, "correlationId")))
                .map(|id| one_line(&id).chars().take(256).collect())
                .or(plain.correlation_id),
            retry_after: headers.retry_after,
        }
    }

    /// Removes the client's own secrets from every text. Some platforms repeat parts of the request.
    pub fn redact(&mut self, secrets: &OwnSecrets) {
        let texts = [&mut self.reason, &mut self.message];
        texts.into_iter().chain(&mut self.correlation_id).for_each(|text| secrets.redact(text));
    }

    /// Whether the same request may succeed later. The result is also true for every response with `Retry-After`.
    pub fn is_transient(&self) -> bool {
        self.retry_after.is_some() || matches!(self.status, 404 | 408 | 410 | 429 | 500..=599)
    }
}

impl fmt::Display for MachineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if !self.reason.is_empty() {
            write!(f, ", {}", self.reason)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for MachineError {}

/// The reason why a platform's response cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum MalformedMachineAnswer {
    /// The body is not an acceptable JSON object.
    #[error("the platform's response cannot be read: {0}")]
    #[strum(props(code = "managed_identity_response_parse_failure"))]
    Json(#[from] JsonError),
    /// The response lacks a required member. The value is its name.
    #[error("the platform's response has no `{0}`")]
    Missing(&'static str),
    /// The member of this name is not a GUID.
    #[error("`{0}` in the platform's response is not a GUID")]
    NotAGuid(&'static str),
    /// The member of this name is not a URL that the client may use.
    #[error("`{0}` in the platform's response is not an https URL")]
    NotAUrl(&'static str),
    /// The response is not from the metadata service: its `Server` header does not name IMDS.
    #[error("the server at the metadata service's address does not identify itself as IMDS")]
    #[strum(props(fix = "check that no proxy or other server answers at 169.254.169.254"))]
    NotImds,
    /// The certificate is not base64.
    #[error("the issued certificate is not base64")]
    #[strum(props(code = "invalid_certificate"))]
    Certificate,
    /// The token has a character that is not allowed in a token.
    #[error("the platform's token has a character that is not allowed in a token")]
    TokenCharacters,
    /// The expiry has no known form.
    #[error("the expiry in the platform's response is not a time: `{shown}`")]
    #[strum(props(code = "invalid_timestamp_format"))]
    Expiry {
        /// The start of the value, escaped.
        shown: String,
    },
    /// The token has expired.
    #[error("the platform's token expired at {expired}, and the clock shows {now}")]
    #[strum(props(
        code = "invalid_token_provider_response_value",
        fix = "correct the clock of this machine"
    ))]
    Over {
        /// The time at which the token expired.
        expired: UnixTime,
        /// The current time with which the expiry was compared.
        now: UnixTime,
    },
}

impl MalformedMachineAnswer {
    /// Removes the client's own secrets from the parts that are quoted from the response.
    pub fn redact(&mut self, secrets: &OwnSecrets) {
        match self {
            Self::Expiry { shown } => secrets.redact(shown),
            Self::Json(JsonError::Duplicate { name }) => secrets.redact(name),
            _ => {}
        }
    }

    /// Returns MSAL's code for the error.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or("managed_identity_request_failed")
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or("contact the platform's support, and give this message and its time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_785_000_000);

    fn expiry(members: &str) -> Result<(u64, Option<u64>), &'static str> {
        let body = format!(r#"{{"access_token":"a.b.c",{members}}}"#);
        let answer = BearerAnswer::parse(body.as_bytes(), NOW).map_err(|error| error.code())?;
        Ok((answer.expires_at.as_secs(), answer.refresh_at.map(UnixTime::as_secs)))
    }

    #[test]
    fn an_expiry_is_a_moment_or_a_duration_in_either_member() {
        let now = NOW.as_secs();
        for (members, expected) in [
            (r#""expires_on":"1785003600""#, Ok((now + 3600, None))),
            (r#""expires_on":1785003600,"expires_in":"7""#, Ok((now + 3600, None))),
            (r#""expires_in":"3599""#, Ok((now + 3599, None))),
            (r#""expires_on":"","expires_in":60"#, Ok((now + 60, None))),
            (r#""expires_on":null,"expires_in":60"#, Ok((now + 60, None))),
            (r#""expires_in":1785003600"#, Ok((now + 3600, None))),
            (r#""expires_on":7200"#, Ok((now + 7200, None))),
            (r#""expires_on":7202"#, Ok((now + 7202, Some(now + 3601)))),
            (r#""expires_on":"1785000000""#, Err("invalid_token_provider_response_value")),
            (r#""expires_in":0"#, Err("invalid_token_provider_response_value")),
            (r#""expires_on":"2026-07-25T18:20:00Z""#, Ok((now + 3600, None))),
            (r#""expires_on":"2026-07-25T20:20:00.5+02:00""#, Ok((now + 3600, None))),
            (r#""expires_on":"07/25/2026 06:20:00 PM +00:00""#, Ok((now + 3600, None))),
            (r#""expires_on":"7/25/2026 6:20:00 PM +00:00""#, Ok((now + 3600, None))),
            (r#""expires_on":"07/25/2026 18:20:00 +00:00""#, Ok((now + 3600, None))),
            // A date without an offset does not determine a moment.
            (r#""expires_on":"2026-07-25T18:20:00""#, Err("invalid_timestamp_format")),
            (r#""expires_on":"2026-07-25T17:20:00Z""#, Err("invalid_token_provider_response_value")),
            (r#""expires_on":"1960-01-01T00:00:00Z""#, Err("invalid_token_provider_response_value")),
            (r#""expires_on":"soon""#, Err("invalid_timestamp_format")),
            (r#""expires_on":-5"#, Err("invalid_timestamp_format")),
            (r#""expires_on":"soon","expires_in":60"#, Ok((now + 60, None))),
            (r#""expires_on":-5,"expires_in":"60""#, Ok((now + 60, None))),
            (r#""expires_on":{},"expires_in":"then""#, Err("invalid_timestamp_format")),
            // `expires_on` can be read, so `expires_in` is ignored.
            (r#""expires_on":"1785000000","expires_in":60"#, Err("invalid_token_provider_response_value")),
            (r#""expires_on":[]"#, Err("invalid_timestamp_format")),
            (r#""x":1"#, Err("managed_identity_request_failed")),
        ] {
            assert_eq!(expiry(members), expected, "{members}");
        }
        for body in [
            "",
            "[]",
            r#"{"expires_in":1}"#,
            r#"{"access_token":"","expires_in":1}"#,
            r#"{"access_token":"a b","expires_in":1}"#,
        ] {
            assert!(BearerAnswer::parse(body.as_bytes(), NOW).is_err(), "{body}");
        }
    }

    #[test]
    fn the_resource_id_is_msi_res_id_if_the_answer_has_it() {
        for (members, resource) in [
            (r#""mi_res_id":"/b","msi_res_id":"/a""#, Some("/a")),
            (r#""msi_res_id":"/a","mi_res_id":"/b""#, Some("/a")),
            (r#""mi_res_id":"/b""#, Some("/b")),
            (r#""mi_res_id":"/b","msi_res_id":null"#, Some("/b")),
            // A value that cannot be compared does not confirm the identity, and `mi_res_id` does not replace it.
            (r#""mi_res_id":"/b","msi_res_id":"""#, None),
            (r#""mi_res_id":"/b","msi_res_id":7"#, None),
            (r#""resource":"/a""#, None),
        ] {
            let body = format!(r#"{{"access_token":"a.b.c","expires_in":60,{members}}}"#);
            let [client, object, found] = BearerAnswer::parse(body.as_bytes(), NOW).unwrap().identity;
            assert_eq!((client, object, found.as_deref()), (None, None, resource), "{members}");
        }
    }

    #[test]
    fn a_no_is_read_in_every_form() {
        for (body, reason, message) in [
            (
                r#"{"error":"invalid_request","error_description":"Identity not found"}"#,
                "invalid_request",
                "Identity not found",
            ),
            (r#"{"error":{"code":"AudienceNotSupported","message":"no"}}"#, "AudienceNotSupported", "no"),
            (r#"{"message":"busy","correlationId":"c"}"#, "", "busy"),
            ("", "", "the response names no reason"),
            ("{}", "", "the response names no reason"),
            ("<html>", "", "<html>"),
            (r#"{"error":7}"#, "", r#"{"error":7}"#),
            // Some platforms repeat the token that they received.
            (
                r#"{"error":{"code":"eyJa.b.c","message":"not eyJhbGci.eyJpc3Mi.c2ln"}}"#,
                "eyJ...",
                "not eyJ...",
            ),
            (r#"{"error":"eyJa.b.c","message":"eyJhbGci.eyJpc3Mi.c2ln"}"#, "eyJ...", "eyJ..."),
        ] {
            let error = MachineError::parse(400, &HeaderFacts::default(), body.as_bytes());
            assert_eq!((error.reason.as_str(), error.message.as_str()), (reason, message), "{body}");
        }
        let is_transient = |status, retry_after| {
            let facts = HeaderFacts { retry_after, ..HeaderFacts::default() };
            MachineError::parse(status, &facts, b"").is_transient()
        };
        assert!(
            is_transient(410, None) && !is_transient(403, None) && is_transient(403, Some(Duration::ZERO))
        );
    }
}
