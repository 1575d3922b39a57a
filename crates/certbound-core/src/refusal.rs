//! The token service's error response. The client parses it, and the emulator writes it.

pub mod recovery;

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::catalogue::aadsts;
use crate::json;
use crate::own_secrets::OwnSecrets;
use crate::shown::{is_active, one_line};

/// The headers of a response that a client reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderFacts {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Retry-After`, if it is valid: see [`retry_after`](crate::retry_after).
    pub retry_after: Option<Duration>,
    /// `Location`.
    pub location: Option<String>,
    /// `x-ms-request-id`.
    pub request_id: Option<String>,
}

/// An error response (RFC 6749, section 5.2), with the members that the token service adds.
///
/// `Display` writes one line without trace ids. `description` has the service's own text. In all texts from the body,
/// except `claims`, `eyJ...` replaces each JWT. `description`, `body` and `claims` may have characters that control a
/// terminal: see [`shown`](crate::shown). Each of the other texts is one line of at most 256 characters without control
/// characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityError {
    /// The HTTP status.
    pub status: u16,
    /// `error`. If it is absent or empty, the code is `not_found`, `http_status_not_200`, `non_parsable_oauth_error`,
    /// `request_throttled` or `service_not_available`.
    pub code: String,
    /// `error_description`.
    pub description: String,
    /// `suberror`.
    pub suberror: Option<String>,
    /// `error_codes`.
    pub error_codes: Vec<u32>,
    /// `correlation_id`.
    pub correlation_id: Option<String>,
    /// `trace_id`, or the header `x-ms-request-id` if the response has no `trace_id`.
    pub trace_id: Option<String>,
    /// `timestamp`.
    pub timestamp: Option<String>,
    /// `error_uri`.
    pub error_uri: Option<String>,
    /// `claims`, unchanged. The next request must send this text.
    pub claims: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The first 64 KiB of the body, as text. The text is empty for a success status, and for a body with a token.
    pub body: String,
}

const MAX_KEPT_BODY: usize = 64 * 1024;

impl AuthorityError {
    /// Parses an error response. The function never fails: an error response may have any body.
    pub fn parse(status: u16, headers: &HeaderFacts, body: &[u8]) -> Self {
        let parsed = json::parse_object(body);
        // An empty body and an object without `error` get the same codes.
        let has_form = parsed.is_ok() || body.iter().all(u8::is_ascii_whitespace);
        let members = parsed.unwrap_or_default();
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(without_tokens);
        let line = |name: &str| text(name).map(|text| short_line(&text));
        let code = line("error").filter(|error| !error.is_empty());
        let code = code.unwrap_or_else(|| code_of_status(status, has_form).to_owned());
        Self {
            status,
            code,
            description: text("error_description").unwrap_or_default(),
            suberror: line("suberror"),
            error_codes: numbers(members.get("error_codes")),
            correlation_id: line("correlation_id"),
            trace_id: line("trace_id").or_else(|| headers.request_id.as_deref().map(short_line)),
            timestamp: line("timestamp"),
            error_uri: line("error_uri"),
            // The claims are not changed, because the next request sends them to the service.
            claims: members.get("claims").and_then(Value::as_str).map(str::to_owned),
            retry_after: headers.retry_after,
            body: if may_hold_a_token(status, &members) { String::new() } else { kept(body) },
        }
    }

    /// Returns the AADSTS number, such as 500181: the first of `error_codes`, or the number at the start of the
    /// description.
    pub fn aadsts(&self) -> Option<u32> {
        self.error_codes.first().copied().or_else(|| {
            let digits = self.description.strip_prefix("AADSTS")?;
            let end = digits.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(digits.len());
            digits.get(..end)?.parse().ok()
        })
    }

    /// Returns all AADSTS numbers: `error_codes`, or the number at the start of the description.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        let of_text = self.aadsts().filter(|_| self.error_codes.is_empty());
        self.error_codes.iter().copied().chain(of_text)
    }

    /// Returns advice on how to fix the error, if the AADSTS number is known.
    pub fn fix(&self) -> Option<&'static str> {
        self.aadsts().and_then(aadsts).map(|known| known.fix)
    }

    /// Whether the same request may succeed later. The result is also true for every response with `Retry-After`.
    pub fn is_transient(&self) -> bool {
        self.retry_after.is_some()
            || self.status >= 500
            || matches!(self.status, 408 | 429)
            || self.code == "temporarily_unavailable"
    }

    /// Whether the user must sign in or consent again. The result is true for `interaction_required`. It is also true
    /// for `invalid_grant`, unless the suberror names a policy for the device or the application.
    pub fn needs_user(&self) -> bool {
        let of_policy =
            matches!(self.suberror.as_deref(), Some("client_mismatch" | "protection_policy_required"));
        self.code == "interaction_required" || (self.code == "invalid_grant" && !of_policy)
    }

    /// Removes the client's own secrets from every text, also from `claims` and `body`. Some services repeat parts of
    /// the request.
    pub fn redact(&mut self, secrets: &OwnSecrets) {
        let optional = [
            &mut self.suberror,
            &mut self.correlation_id,
            &mut self.trace_id,
            &mut self.timestamp,
            &mut self.error_uri,
            &mut self.claims,
        ];
        let texts = [&mut self.code, &mut self.description, &mut self.body];
        optional.into_iter().flatten().chain(texts).for_each(|text| secrets.redact(text));
    }

    /// Returns the body of the response as a service writes it.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("error".to_owned(), self.code.clone().into());
        members.insert("error_description".to_owned(), self.description.clone().into());
        members.insert("error_codes".to_owned(), self.error_codes.clone().into());
        let optional = [
            ("timestamp", &self.timestamp),
            ("trace_id", &self.trace_id),
            ("correlation_id", &self.correlation_id),
            ("error_uri", &self.error_uri),
            ("suberror", &self.suberror),
            ("claims", &self.claims),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                members.insert(name.to_owned(), value.clone().into());
            }
        }
        members
    }

    /// The service's message without the ids and the time. The service appends the ids and the time after a line break
    /// or a space.
    fn summary(&self) -> &str {
        let text = self.description.as_str();
        let end = ["\r\n", "\n", " Trace ID:", " Correlation ID:", " Timestamp:"]
            .iter()
            .filter_map(|mark| text.find(mark))
            .min()
            .unwrap_or(text.len());
        text.get(..end).unwrap_or(text).trim()
    }
}

/// Returns the code of a response without `error`. `has_form` is true if the body is empty or a JSON object.
fn code_of_status(status: u16, has_form: bool) -> &'static str {
    match status {
        404 if has_form => "not_found",
        429 => "request_throttled",
        500..=599 => "service_not_available",
        _ if has_form => "http_status_not_200",
        _ => "non_parsable_oauth_error",
    }
}

/// Whether the body may contain a token, which must never be shown. Every body with a success status may contain a
/// token.
fn may_hold_a_token(status: u16, members: &Map<String, Value>) -> bool {
    (200..300).contains(&status)
        || ["access_token", "refresh_token", "id_token"].iter().any(|name| members.contains_key(*name))
}

fn kept(body: &[u8]) -> String {
    let start = body.get(..MAX_KEPT_BODY).unwrap_or(body);
    without_tokens(&String::from_utf8_lossy(start))
}

/// Replaces every JWT (a text that begins with `eyJ`) by `eyJ...`. Some services repeat the request and its client
/// assertion in their errors.
pub fn without_tokens(text: &str) -> String {
    const BEGIN: &str = "eyJ";
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let (before, token) = rest.split_at(at);
        // An active character that is not white space does not end a token.
        let of_token = |c: char| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') || (is_active(c) && !c.is_whitespace())
        };
        let end = token.find(|c| !of_token(c)).unwrap_or(token.len());
        shown.push_str(before);
        shown.push_str("eyJ...");
        rest = token.get(end..).unwrap_or_default();
    }
    shown.push_str(rest);
    shown
}

fn numbers(value: Option<&Value>) -> Vec<u32> {
    let numbers = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    numbers.iter().filter_map(Value::as_u64).filter_map(|number| u32::try_from(number).ok()).collect()
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary: String = one_line(self.summary()).chars().take(512).collect();
        f.write_str(&short_line(&self.code))?;
        // The description usually begins with the number.
        match self.aadsts().filter(|_| !summary.starts_with("AADSTS")) {
            Some(number) => write!(f, ": AADSTS{number}")?,
            None if summary.is_empty() => return write!(f, " (status {})", self.status),
            None => {}
        }
        if summary.is_empty() { Ok(()) } else { write!(f, ": {summary}") }
    }
}

/// Returns a name or an id as one line of at most 256 characters.
fn short_line(text: &str) -> String {
    one_line(text).chars().take(256).collect()
}

impl std::error::Error for AuthorityError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(status: u16, body: &str) -> AuthorityError {
        AuthorityError::parse(status, &HeaderFacts::default(), body.as_bytes())
    }

    #[test]
    fn only_the_user_can_help_with_some_refusals() {
        for (body, user) in [
            (r#"{"error":"interaction_required"}"#, true),
            (r#"{"error":"invalid_grant","suberror":"consent_required"}"#, true),
            (r#"{"error":"invalid_grant"}"#, true),
            (r#"{"error":"invalid_grant","suberror":"client_mismatch"}"#, false),
            (r#"{"error":"invalid_grant","suberror":"protection_policy_required"}"#, false),
            (r#"{"error":"invalid_client"}"#, false),
        ] {
            assert_eq!(parse(400, body).needs_user(), user, "{body}");
        }
    }

    #[test]
    fn both_shapes_of_a_description_are_read() {
        let older = "AADSTS500181: The certificate does not match.\\r\\nTrace ID: 1\\r\\nCorrelation ID: 2";
        let newer =
            "AADSTS500181: The certificate does not match. Trace ID: 1 Correlation ID: 2 Timestamp: 3";
        for description in [older, newer] {
            let body = format!(
                "{{\"error\":\"invalid_request\",\"error_description\":\"{description}\",\"correlation_id\":\"2\"}}"
            );
            let error = parse(400, &body);
            assert_eq!(error.aadsts(), Some(500_181));
            assert_eq!(error.to_string(), "invalid_request: AADSTS500181: The certificate does not match.");
            assert!(error.fix().is_some());
            assert_eq!(error.correlation_id.as_deref(), Some("2"));
        }
    }

    #[test]
    fn an_answer_without_form_has_a_name_too() {
        let cases = [
            (404, "", "not_found", false),
            (404, "<html>", "non_parsable_oauth_error", false),
            (400, "", "http_status_not_200", false),
            (400, "Bad", "non_parsable_oauth_error", false),
            (400, "{\"message\":\"x\"}", "http_status_not_200", false),
            (403, "{}", "http_status_not_200", false),
            (404, "{}", "not_found", false),
            (404, " {\"error\":\"\"} ", "not_found", false),
            (400, "[]", "non_parsable_oauth_error", false),
            (429, "Too Many Requests", "request_throttled", true),
            (503, "", "service_not_available", true),
            (500, "{\"error\":\"server_error\"}", "server_error", true),
            (204, "", "http_status_not_200", false),
        ];
        for (status, body, code, transient) in cases {
            let error = parse(status, body);
            assert_eq!((error.code.as_str(), error.is_transient()), (code, transient), "{status} {body:?}");
        }
    }

    #[test]
    fn one_line_is_shown_with_the_number_and_without_control_characters() {
        let cases = [
            (r#"{"error":"a\u001b[2J\nb","error_description":"x\ry"}"#, "a [2J b: x y"),
            (r#"{"error":"e","error_codes":[500181]}"#, "e: AADSTS500181"),
            (r#"{"error":"e","error_codes":[500181],"error_description":"No."}"#, "e: AADSTS500181: No."),
            (r#"{"error":"e","error_codes":[-1,1e9,"7",99999999999]}"#, "e (status 400)"),
            (r#"{"error":"e"}"#, "e (status 400)"),
        ];
        for (body, shown) in cases {
            assert_eq!(parse(400, body).to_string(), shown, "{body}");
        }
    }

    #[test]
    fn names_and_ids_are_lines_that_do_not_act() {
        let text = r"a\u001b[2J\u009bb\u202ec\r\nd";
        let names = ["error", "suberror", "correlation_id", "trace_id", "timestamp", "error_uri"];
        let body = names.map(|name| format!(r#""{name}":"{text}""#)).join(",");
        let error = parse(400, &format!("{{{body}}}"));
        let found =
            [&error.suberror, &error.correlation_id, &error.trace_id, &error.timestamp, &error.error_uri];
        for found in found.into_iter().flatten().chain([&error.code]) {
            assert_eq!(found, "a [2J b c  d");
        }
        assert_eq!(parse(400, &format!(r#"{{"error":"{}"}}"#, "e".repeat(1000))).code.len(), 256);
    }

    #[test]
    fn the_request_id_of_the_headers_stands_in_for_the_trace_id() {
        let headers = HeaderFacts { request_id: Some("h".into()), ..HeaderFacts::default() };
        let trace = |body: &str| AuthorityError::parse(429, &headers, body.as_bytes()).trace_id;
        assert_eq!(trace("Too Many Requests").as_deref(), Some("h"));
        assert_eq!(trace(r#"{"trace_id":"b"}"#).as_deref(), Some("b"));
    }

    #[test]
    fn a_body_is_kept_to_its_limit_and_what_is_written_is_read_back() {
        assert_eq!(parse(400, &"x".repeat(MAX_KEPT_BODY + 1)).body.len(), MAX_KEPT_BODY);
        let body = r#"{"error":"e","error_description":"AADSTS5: d","error_codes":[5],"suberror":"s",
            "claims":"{}","trace_id":"t","correlation_id":"c","timestamp":"z","error_uri":"u"}"#;
        let first = parse(400, body);
        let second = parse(400, &serde_json::to_string(&first.to_json()).unwrap());
        assert_eq!(
            AuthorityError { body: String::new(), ..second },
            AuthorityError { body: String::new(), ..first }
        );
    }

    #[test]
    fn a_token_that_is_repeated_is_not_kept() {
        let body = r#"{"error":"invalid_client","error_description":"AADSTS50027: in client_assertion=eyJhbGci.eyJpc3Mi.c2ln&scope=x, and eyJ again"}"#;
        let error = parse(400, body);
        assert_eq!(error.description, "AADSTS50027: in client_assertion=eyJ...&scope=x, and eyJ... again");
        assert!(!format!("{error:?}").contains("c2ln"));
        assert_eq!(parse(400, "no JSON: eyJhbGci.x.y").body, "no JSON: eyJ...");
        assert_eq!(parse(400, "eyJhbG\u{0}ci.\u{200b}x\u{3164}.\u{e0100}y\r\nz").body, "eyJ...\r\nz");
    }

    #[test]
    fn claims_are_kept_verbatim() {
        let nested = r#"{"error":"interaction_required","claims":"{\"x\":\"eyJh.b.c\"}"}"#;
        assert_eq!(parse(400, nested).claims.as_deref(), Some(r#"{"x":"eyJh.b.c"}"#));
        let body = r#"{"error":"interaction_required","claims":"{\"access_token\":{}}"}"#;
        assert_eq!(parse(400, body).claims.as_deref(), Some(r#"{"access_token":{}}"#));
    }
}
