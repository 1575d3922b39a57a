//! The token service's answers: success, and refusals in the form of the real service.

mod codes;

use bytes::Bytes;
use certbound_core::time::UnixTime;
use certbound_verifier::{Answer, AnswerStyle};
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, EXPIRES, PRAGMA, SET_COOKIE, STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::codes::error_and_status;

/// A refusal of the token service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u32,
    text: String,
}

/// Returns the refusal with an AADSTS number. The number determines the `error` and the status.
pub(crate) fn refusal(code: u32, text: impl Into<String>) -> Refusal {
    // The text repeats parts of the request, so this function removes control characters and limits the length.
    let text: String = text.into().chars().filter(|c| !c.is_control()).take(1_000).collect();
    Refusal { code, text }
}

/// The values that all answers to one request share.
pub(crate) struct AnswerContext<'a> {
    pub(crate) now: UnixTime,
    pub(crate) login_host: &'a str,
    correlation_id: String,
    trace_id: String,
    echo: bool,
}

impl<'a> AnswerContext<'a> {
    pub(crate) fn new(now: UnixTime, login_host: &'a str, request: &HeaderMap) -> Self {
        let text = |name: &str| request.get(name).and_then(|value| value.to_str().ok());
        // Values other than GUIDs are ignored, because they could inject text into headers and logs.
        let given = text("client-request-id").filter(|id| is_guid(id)).map(str::to_owned);
        Self {
            now,
            login_host,
            echo: given.is_some()
                && text("return-client-request-id").is_some_and(|echo| echo.eq_ignore_ascii_case("true")),
            correlation_id: given.unwrap_or_else(|| Uuid::new_v4().to_string()),
            trace_id: Uuid::new_v4().to_string(),
        }
    }

    fn json(&self, status: u16, body: &Value) -> Response<Bytes> {
        let mut response = json_response(status, body);
        self.add_headers(response.headers_mut());
        response
    }

    /// Returns the answer with this body, or the answer that contains the refusal.
    pub(crate) fn respond(&self, body: Result<Value, Refusal>) -> Response<Bytes> {
        match body {
            Ok(body) => self.json(200, &body),
            Err(refusal) => self.refuse_with(&refusal, None, None, |_| {}),
        }
    }

    /// Returns the answer that contains a refusal. `error` and `status` replace the values that the number determines.
    /// `more` adds members to the body.
    pub(crate) fn refuse_with(
        &self,
        refusal: &Refusal,
        error: Option<&str>,
        status: Option<u16>,
        more: impl FnOnce(&mut Map<String, Value>),
    ) -> Response<Bytes> {
        let Refusal { code, text } = refusal;
        let (usual_error, usual_status) = error_and_status(*code);
        let (error, status) = (error.unwrap_or(usual_error), status.unwrap_or(usual_status));
        let timestamp = timestamp(self.now);
        let (trace, correlation) = (&self.trace_id, &self.correlation_id);
        let mut body = json!({
            "error": error,
            "error_description": format!(
                "AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}"
            ),
            "error_codes": [code],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
        });
        // The real service's answers with these two numbers have no `error_uri`.
        if !matches!(code, 50_171 | 500_181) {
            body["error_uri"] = json!(format!("https://{}/error?code={code}", self.login_host));
        }
        if let Some(members) = body.as_object_mut() {
            more(members);
        }
        let mut response = self.json(status, &body);
        response.extensions_mut().insert(Aadsts(*code));
        response
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        let fixed = [
            (CACHE_CONTROL, "no-store, no-cache"),
            (PRAGMA, "no-cache"),
            (EXPIRES, "-1"),
            (STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
            (HeaderName::from_static("x-content-type-options"), "nosniff"),
            (HeaderName::from_static("p3p"), "CP=\"DSP CUR OTPi IND OTRi ONL FIN\""),
            (HeaderName::from_static("x-ms-ests-server"), "certbound-emulator"),
            (SET_COOKIE, "stsservicecookie=estsfd; path=/; secure; samesite=none; httponly"),
        ];
        headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
        let mut add = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        add("x-ms-request-id", &self.trace_id);
        if self.echo {
            add("client-request-id", &self.correlation_id);
        }
    }
}

/// The AADSTS number of a refusal, for the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aadsts(pub(crate) u32);

/// Returns a JSON response without the token service's headers.
pub(crate) fn json_response(status: u16, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

/// Returns an answer with status 204, which has no body.
pub(crate) fn no_content() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = http::StatusCode::NO_CONTENT;
    response
}

/// Returns a refusal in the form of RFC 6749, section 5.2.
pub(crate) fn error_response(status: u16, error: &str, description: &str) -> Response<Bytes> {
    json_response(status, &json!({ "error": error, "error_description": description }))
}

/// Returns a refusal in the form of most Azure services.
pub(crate) fn nested_error_response(status: u16, code: &str, message: &str) -> Response<Bytes> {
    json_response(status, &json!({ "error": { "code": code, "message": message } }))
}

/// Adds the challenges that the verifier writes for this refusal.
pub(crate) fn add_challenges(
    response: &mut Response<Bytes>,
    refusal: &certbound_verifier::Refusal,
    style: &AnswerStyle,
) {
    let answer = Answer::new(refusal, style);
    for challenge in answer.challenges().filter_map(|text| HeaderValue::from_str(text).ok()) {
        response.headers_mut().append(WWW_AUTHENTICATE, challenge);
    }
}

/// Returns whether the request's `Content-Type` is that of a form.
pub(crate) fn is_form(request: &Request<Bytes>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Formats a time as `yyyy-MM-dd HH:mm:ssZ`, as in the token service's answers.
fn timestamp(time: UnixTime) -> String {
    date(time).replace('T', " ")
}

/// Formats a time by RFC 3339: `yyyy-MM-ddTHH:mm:ssZ`.
pub(crate) fn date(time: UnixTime) -> String {
    moment(time).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Formats a time as in the header `Date` (RFC 9110, section 5.6.7).
pub(crate) fn http_date(time: UnixTime) -> String {
    moment(time).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn moment(time: UnixTime) -> jiff::Timestamp {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX)
}

fn is_guid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(header: Option<&[u8]>) -> AnswerContext<'static> {
        let mut headers = HeaderMap::new();
        headers.insert("return-client-request-id", HeaderValue::from_static("true"));
        if let Some(value) = header {
            headers.insert("client-request-id", HeaderValue::from_bytes(value).unwrap());
        }
        AnswerContext::new(UnixTime::from_secs(1_785_000_000), "login.microsoftonline.com", &headers)
    }

    #[test]
    fn a_refusal_has_the_documented_shape_and_no_line_breaks() {
        let response = context(None).respond(Err(refusal(392_200, "a\r\nSet-Cookie: b")));
        assert_eq!(response.status(), 400);
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        let description = body["error_description"].as_str().unwrap();
        assert!(description.starts_with("AADSTS392200: aSet-Cookie: b Trace ID: "), "{description}");
        assert!(!description.contains(['\r', '\n']));
        assert_eq!(body["timestamp"], "2026-07-25 17:20:00Z");
        assert_eq!(body["error_codes"], json!([392_200]));
        assert_eq!(body["error_uri"], "https://login.microsoftonline.com/error?code=392200");
    }
}
