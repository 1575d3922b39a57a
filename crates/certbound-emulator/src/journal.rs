//! The journal: the last requests and answers, without secrets.

mod text;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use certbound_core::request::ReceivedForm;
use certbound_core::shown::{one_line, shown};
use certbound_core::time::UnixTime;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::text::text;
use crate::answers::{Aadsts, is_form};
use crate::paths::without_slash;
use crate::tls_facts::TlsFacts;

/// The maximum number of entries. The oldest entry is dropped first.
pub const MAX_ENTRIES: usize = 10_000;
/// The maximum memory of all entries, in bytes. The oldest entry is dropped first.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
const MAX_PARAMETERS: usize = 32;
const MAX_TEXT: usize = 512;

/// The parameters whose values are recorded. For the other parameters only a hash of the value is recorded.
const PLAIN: [&str; 19] = [
    "client_id",
    "clientid",
    "object_id",
    "mi_res_id",
    "msi_res_id",
    "resource",
    "cred-api-version",
    "bypass_cache",
    "format",
    "client_assertion_type",
    "scope",
    "grant_type",
    "token_type",
    "client_info",
    "claims",
    "api-version",
    "principalId",
    "xms_cc",
    "token_sha256_to_refresh",
];

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalEntry {
    /// The time of the request, in seconds since 1970, by the emulator's clock.
    pub time: u64,
    /// The method.
    pub method: String,
    /// The emulated host, lower case.
    pub host: String,
    /// The path, without the query.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// Query and form parameters in the order in which they were received, at most 32. A value that may be secret is
    /// recorded as `sha256:` and its hash in hexadecimal.
    pub parameters: Vec<(String, String)>,
    /// The `Authorization` scheme as sent.
    pub authorization_scheme: Option<String>,
    /// The hash of the token in `Authorization`, as in `parameters`.
    pub authorization_token: Option<String>,
    /// The header `client-request-id` or, in its absence, the header `x-ms-client-request-id`. Programs send the second
    /// header to a machine's endpoints.
    pub client_request_id: Option<String>,
    /// The `x5t#S256` of the client certificate on this connection.
    pub client_certificate: Option<String>,
    /// The server name of the TLS handshake.
    pub server_name: String,
    /// Whether the TLS session was resumed.
    pub resumed: bool,
    /// The TLS version.
    pub protocol: Option<String>,
    /// The AADSTS number, if the answer is a refusal of the token service.
    pub aadsts: Option<u32>,
    /// The `token_type` of the answer of a token endpoint.
    pub token_type: Option<String>,
    /// The `expires_in` of the answer of a token endpoint in seconds, if it is a number. Platforms write a text.
    pub expires_in: Option<u64>,
    /// The name of the applied fault, if a rule matched the request.
    pub fault: Option<&'static str>,
}

impl JournalEntry {
    /// Returns the recorded value of a parameter, which for a secret parameter is a hash.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn begin(now: UnixTime, tls: &TlsFacts, host: &str, request: &Request<Bytes>) -> Self {
        let header =
            |name: &str| request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let authorization = header(AUTHORIZATION.as_str());
        let split = authorization.as_deref().map(|value| value.split_once(' ').unwrap_or(("", value)));
        Self {
            time: now.as_secs(),
            method: short(request.method().as_str()),
            host: short(host),
            path: short(request.uri().path()),
            status: 0,
            parameters: parameters(request),
            authorization_scheme: split.map(|(scheme, _)| short(scheme)),
            authorization_token: split.map(|(_, token)| hashed(token)),
            client_request_id: header("client-request-id")
                .or_else(|| header("x-ms-client-request-id"))
                .as_deref()
                .map(short),
            client_certificate: tls.client_thumbprint().map(|thumbprint| thumbprint.x5t_s256()),
            server_name: short(&tls.server_name),
            resumed: tls.resumed,
            protocol: tls.protocol.clone(),
            aadsts: None,
            token_type: None,
            expires_in: None,
            fault: None,
        }
    }

    /// Writes a line to the log about a request and its answer: a warning if the answer is a refusal, otherwise a line
    /// of the level debug.
    pub(crate) fn log(&self, response: &Response<Bytes>) {
        let (method, host, path) = (&self.method, one_line(&self.host), one_line(&self.path));
        let client_id = self.parameter("client_id").map(shown);
        let (certificate, fault, status) = (&self.client_certificate, self.fault, self.status);
        if status >= 400 {
            let code = self.code(response);
            let code = one_line(&code);
            tracing::warn!(method, %host, %path, status, %code, client_id, certificate, fault, "a request was refused");
        } else {
            tracing::debug!(method, %host, %path, status, client_id, certificate, fault, "a request was answered");
        }
    }

    /// Returns the code of a refusal: its AADSTS number, or the error in the JSON of its body.
    fn code(&self, response: &Response<Bytes>) -> String {
        let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let error = body.get("error").map(|error| error.get("code").unwrap_or(error));
        let error = error.and_then(Value::as_str).unwrap_or("none");
        self.aadsts.map_or_else(|| short(error), |number| format!("AADSTS{number}"))
    }

    pub(crate) fn end(mut self, response: &Response<Bytes>, fault: Option<&'static str>) -> Self {
        self.status = response.status().as_u16();
        self.aadsts = response.extensions().get::<Aadsts>().map(|number| number.0);
        let token = self.token_answer(response);
        self.token_type = token.token_type.as_str().map(short);
        self.expires_in = token.expires_in.as_u64();
        self.fault = fault;
        self
    }

    /// Reads the answer of a token endpoint. Other answers are not parsed, because they can be large and do not have
    /// these members.
    fn token_answer(&self, response: &Response<Bytes>) -> TokenAnswer {
        match without_slash(&self.path).ends_with("/token") {
            true => serde_json::from_slice(response.body()).unwrap_or_default(),
            false => TokenAnswer::default(),
        }
    }
}

/// The recorded members of an answer with a token. Platforms write `expires_in` as a text, and faults can write any
/// JSON value.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenAnswer {
    token_type: Value,
    expires_in: Value,
}

fn parameters(request: &Request<Bytes>) -> Vec<(String, String)> {
    let query = request.uri().query().unwrap_or_default();
    // The journal records names of parameters in clear text. The form decoder would read parts of any other body as names
    // of parameters. Forms are sent by POST only.
    let has_form = request.method() == http::Method::POST && is_form(request);
    let body: &[u8] = if has_form { request.body() } else { b"" };
    let forms = [ReceivedForm::decode(query.as_bytes()), ReceivedForm::decode(body)];
    let mut parameters = Vec::new();
    for form in forms.iter().flatten() {
        for (name, value) in form.iter().take(MAX_PARAMETERS.saturating_sub(parameters.len())) {
            let value = if PLAIN.contains(&name) { short(value) } else { hashed(value) };
            parameters.push((short(name), value));
        }
    }
    parameters
}

fn short(text: &str) -> String {
    let mut text: String = text.chars().take(MAX_TEXT).collect();
    text.shrink_to_fit();
    text
}

fn hashed(secret: &str) -> String {
    let mut text = "sha256:".to_owned();
    for byte in digest(&SHA256, secret.as_bytes()).as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl JournalEntry {
    /// Returns the memory that the entry takes, in bytes.
    fn bytes(&self) -> usize {
        let parameters = self.parameters.iter().map(|(name, value)| name.capacity() + value.capacity());
        let optional = [
            &self.authorization_scheme,
            &self.authorization_token,
            &self.client_request_id,
            &self.client_certificate,
            &self.protocol,
            &self.token_type,
        ];
        size_of::<Self>()
            + self.parameters.capacity() * size_of::<(String, String)>()
            + parameters.sum::<usize>()
            + [&self.method, &self.host, &self.path, &self.server_name]
                .map(String::capacity)
                .iter()
                .sum::<usize>()
            + optional.into_iter().flatten().map(String::capacity).sum::<usize>()
    }
}

/// The last entries: at most [`MAX_ENTRIES`] of them, in at most [`MAX_BYTES`] of memory.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    entries: VecDeque<Arc<JournalEntry>>,
    bytes: usize,
    /// The number of the first entry, counted since the start.
    first: u64,
    /// The number of entries that were dropped at a limit, counted from the last emptying of the journal.
    dropped: u64,
}

impl Recorded {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

impl Journal {
    pub(crate) fn record(&self, entry: JournalEntry) {
        let (bytes, mut recorded) = (entry.bytes(), self.recorded());
        while recorded.entries.len() == MAX_ENTRIES || recorded.bytes + bytes > MAX_BYTES {
            let Some(oldest) = recorded.entries.pop_front() else { break };
            recorded.bytes -= oldest.bytes();
            recorded.first += 1;
            recorded.dropped += 1;
        }
        recorded.bytes += bytes;
        recorded.entries.push_back(Arc::new(entry));
    }

    pub(crate) fn list(&self) -> Vec<JournalEntry> {
        self.recorded().entries.iter().map(|entry| JournalEntry::clone(entry)).collect()
    }

    /// Returns the number of the first entry and the number after the last entry.
    fn range(&self) -> (u64, u64) {
        let recorded = self.recorded();
        (recorded.first, recorded.end())
    }

    /// Returns the entry with this number. If that entry was dropped, returns the oldest entry of the journal. The
    /// first part of the result is the number of the returned entry.
    fn from(&self, number: u64) -> Option<(u64, Arc<JournalEntry>)> {
        let recorded = self.recorded();
        let number = number.max(recorded.first);
        let at = usize::try_from(number - recorded.first).ok()?;
        Some((number, Arc::clone(recorded.entries.get(at)?)))
    }

    /// Returns the number of entries that were dropped at a limit, counted from the last emptying of the journal.
    fn dropped(&self) -> u64 {
        self.recorded().dropped
    }

    /// Returns all entries and removes them.
    pub(crate) fn take(&self) -> Vec<JournalEntry> {
        let mut recorded = self.recorded();
        let end = recorded.end();
        let taken = std::mem::replace(&mut *recorded, Recorded { first: end, ..Recorded::default() });
        drop(recorded);
        taken.entries.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    pub(crate) fn clear(&self) {
        let mut recorded = self.recorded();
        *recorded = Recorded { first: recorded.end(), ..Recorded::default() };
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";

    fn entry(kind: &str, body: &'static str) -> JournalEntry {
        let request = Request::post("/t?access_token=leaked")
            .header("authorization", "Bearer top-secret")
            .header("content-type", kind)
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap();
        let tls = TlsFacts::without_certificate("h");
        JournalEntry::begin(UnixTime::from_secs(1), &tls, "h", &request)
            .end(&Response::new(Bytes::new()), None)
    }

    #[test]
    fn no_secret_is_recorded_and_names_are() {
        let entry = entry(FORM, "client_id=app&client_secret=hunter2&client_assertion=ey.J.x&unheard_of=abc");
        let text = serde_json::to_string(&entry).unwrap();
        for secret in ["hunter2", "ey.J.x", "abc", "leaked", "top-secret"] {
            assert!(!text.contains(&format!("\"{secret}")), "{secret} in {text}");
        }
        assert_eq!(entry.parameter("client_id"), Some("app"));
        assert_eq!(
            entry.parameter("client_secret"),
            Some("sha256:f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7")
        );
        assert_eq!(entry.authorization_scheme.as_deref(), Some("Bearer"));
    }

    /// A text without `=` would be the name of a parameter, and the journal records names in clear text.
    #[test]
    fn a_body_that_is_not_a_form_is_not_recorded() {
        for kind in ["text/plain", "application/json", "", "x-application/x-www-form-urlencoded"] {
            let text = serde_json::to_string(&entry(kind, "hunter2")).unwrap();
            assert!(!text.contains("hunter2"), "{kind}: {text}");
        }
    }

    #[test]
    fn the_type_and_the_lifetime_of_a_token_are_recorded_and_the_token_is_not() {
        let answer_at = |path: &str, body: &'static str| {
            let request = Request::post(path).body(Bytes::new()).unwrap();
            let entry = JournalEntry::begin(UnixTime::from_secs(1), &TlsFacts::default(), "h", &request);
            entry.end(&Response::new(Bytes::from_static(body.as_bytes())), None)
        };
        let answer = |body| answer_at("/tenant/oauth2/v2.0/token", body);
        let whole = r#"{"token_type":"mtls_pop","expires_in":3599,"access_token":"a.b.c"}"#;
        for path in ["/tenant/oauth2/v2.0/token", "/app-service/token/", "/token"] {
            let token = answer_at(path, whole);
            assert_eq!((token.token_type.as_deref(), token.expires_in), (Some("mtls_pop"), Some(3599)));
            assert!(!serde_json::to_string(&token).unwrap().contains("a.b.c"));
        }
        let elsewhere = answer_at("/v1.0/applications", whole);
        assert_eq!((elsewhere.token_type, elsewhere.expires_in), (None, None));
        let of_a_platform = answer(r#"{"token_type":"Bearer","expires_in":"3599"}"#);
        assert_eq!((of_a_platform.token_type.as_deref(), of_a_platform.expires_in), (Some("Bearer"), None));
        for other in ["", "text", "[1]", r#"{"error":"invalid_client"}"#, r#"{"expires_in":"3599"}"#] {
            let other = answer(other);
            assert_eq!((other.token_type, other.expires_in), (None, None));
        }
    }

    #[test]
    fn each_entry_is_taken_once() {
        let journal = Journal::default();
        journal.record(entry(FORM, "a=1"));
        journal.record(entry(FORM, "a=2"));
        assert_eq!(journal.take().len(), 2);
        assert!(journal.take().is_empty() && journal.list().is_empty());
        journal.record(entry(FORM, "a=3"));
        assert_eq!(journal.take().len(), 1);
        assert_eq!(journal.range(), (3, 3));
        assert_eq!(journal.recorded().bytes, 0);
    }

    #[test]
    fn the_journal_forgets_the_oldest() {
        let journal = Journal::default();
        let entry = entry(FORM, "");
        for time in 0..=MAX_ENTRIES as u64 {
            journal.record(JournalEntry { time, ..entry.clone() });
        }
        let entries = journal.list();
        assert_eq!((entries.len(), entries[0].time), (MAX_ENTRIES, 1));
    }

    /// Returns an entry with the largest parameters that can be recorded.
    pub(super) fn largest() -> JournalEntry {
        let name = |n: usize| format!("{n:02}{}", "\u{1d11e}".repeat(MAX_TEXT - 2));
        let parameters = (0..MAX_PARAMETERS).map(|n| (short(&name(n)), short(&name(n)))).collect();
        JournalEntry { parameters, ..entry(FORM, "") }
    }

    /// The limit that `docs/faults.md` states: 16 MiB of memory.
    pub(super) const DOCUMENTED_BYTES: usize = 16_777_216;

    #[test]
    fn the_journal_keeps_the_newest_within_its_bytes() {
        let journal = Journal::default();
        let entry = largest();
        let fit = DOCUMENTED_BYTES / entry.bytes();
        assert!(fit < MAX_ENTRIES / 10, "{fit}");
        for time in 0..3 * fit as u64 {
            journal.record(JournalEntry { time, ..entry.clone() });
            let recorded = journal.recorded();
            assert!(recorded.bytes <= DOCUMENTED_BYTES);
            // The sum over all entries is slow, so the test checks the sum only in every 100th step.
            if time % 100 == 0 {
                assert_eq!(recorded.bytes, recorded.entries.iter().map(|entry| entry.bytes()).sum::<usize>());
            }
        }
        let entries = journal.list();
        assert_eq!((entries.len(), entries[0].time), (fit, 2 * fit as u64));
        assert_eq!(journal.dropped(), 2 * fit as u64);
        journal.clear();
        let bytes = journal.recorded().bytes;
        assert_eq!((bytes, journal.dropped(), journal.list().len()), (0, 0, 0));
    }
}
