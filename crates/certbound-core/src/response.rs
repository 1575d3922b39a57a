//! The token service's response. The client parses it, and the emulator writes it.

use std::fmt;
use std::time::Duration;
use strum::EnumProperty as _;

use serde_json::{Map, Value};

use crate::json::{self, JsonError};
use crate::own_secrets::OwnSecrets;
use crate::refusal::{AuthorityError, HeaderFacts};
use crate::secret::Secret;

/// The largest response that is parsed, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// A successful token response (RFC 6749, section 5.1). Parsing does not compare it with the request: the client must
/// check that type, scope and binding are as requested.
///
/// `Debug` prints only the names of the members in `extra`, because a `refresh_token` may be among them.
pub struct TokenResponse {
    /// `token_type`, in the service's spelling.
    pub token_type: String,
    /// `access_token`. It is never empty.
    pub access_token: Secret,
    /// `expires_in`.
    pub expires_in: Duration,
    /// `ext_expires_in`.
    pub ext_expires_in: Option<Duration>,
    /// `refresh_in`: the time after which the client should request a new token. The value is `None` if the member is
    /// absent or is not a valid number of seconds.
    pub refresh_in: Option<Duration>,
    /// `scope`, split at white space. The value is `None` if the response has no scope or an empty scope.
    pub scope: Option<Vec<String>>,
    /// All other members.
    pub extra: Map<String, Value>,
}

impl TokenResponse {
    /// Parses a response. Only status 200 is a success.
    ///
    /// # Errors
    /// [`AnswerError::Refused`] if the status is not 200 and not a redirect. [`AnswerError::Malformed`] if the response
    /// breaks the protocol: a redirect, a body above [`MAX_BYTES`] or without a JSON object, a duplicate or missing
    /// member, a member of the wrong type, an empty `access_token`, or invalid characters in the `access_token`.
    pub fn parse(status: u16, headers: &HeaderFacts, body: &[u8]) -> Result<Self, AnswerError> {
        if (300..400).contains(&status) {
            let to =
                headers.location.as_deref().and_then(host_of).unwrap_or_else(|| "an unnamed host".to_owned());
            return Err(MalformedAnswer::Redirect { status, to }.into());
        }
        if body.len() > MAX_BYTES {
            return Err(MalformedAnswer::TooLarge { length: body.len() }.into());
        }
        if status != 200 {
            return Err(AnswerError::Refused(Box::new(AuthorityError::parse(status, headers, body))));
        }
        let mut members = json::parse_object(body).map_err(|error| match error {
            JsonError::Duplicate { name } => MalformedAnswer::DuplicateField(name),
            error => MalformedAnswer::NotJson(error),
        })?;
        let token_type = text(&mut members, "token_type")?.filter(|kind| !kind.trim().is_empty());
        let token_type = token_type.ok_or(MalformedAnswer::MissingTokenType)?;
        let access_token =
            text(&mut members, "access_token")?.ok_or(MalformedAnswer::MissingField("access_token"))?;
        if access_token.trim().is_empty() {
            return Err(MalformedAnswer::EmptyToken.into());
        }
        // Any other character could have an effect in a header, a shell or a terminal.
        if !is_b64token(access_token.as_bytes()) {
            return Err(MalformedAnswer::TokenCharacters.into());
        }
        let access_token = Secret::new(access_token);
        let expires_in =
            seconds(&mut members, "expires_in")?.ok_or(MalformedAnswer::MissingField("expires_in"))?;
        let scope = text(&mut members, "scope")?;
        Ok(Self {
            token_type,
            access_token,
            expires_in,
            ext_expires_in: seconds(&mut members, "ext_expires_in")?,
            // `refresh_in` is a hint. The token is usable even if the hint is wrong.
            refresh_in: seconds(&mut members, "refresh_in").ok().flatten(),
            scope: scope
                .map(|scope| scope.split_ascii_whitespace().map(str::to_owned).collect())
                .filter(|scopes: &Vec<String>| !scopes.is_empty()),
            extra: members,
        })
    }

    /// Returns the response as a service writes it. Durations are numbers of seconds.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("token_type".to_owned(), self.token_type.clone().into());
        members.insert("expires_in".to_owned(), self.expires_in.as_secs().into());
        if let Some(ext) = self.ext_expires_in {
            members.insert("ext_expires_in".to_owned(), ext.as_secs().into());
        }
        if let Some(refresh) = self.refresh_in {
            members.insert("refresh_in".to_owned(), refresh.as_secs().into());
        }
        if let Some(scope) = &self.scope {
            members.insert("scope".to_owned(), scope.join(" ").into());
        }
        members.extend(self.extra.iter().map(|(name, value)| (name.clone(), value.clone())));
        members.insert("access_token".to_owned(), self.access_token.expose().into());
        members
    }
}

/// Whether every character is allowed in a Bearer token (RFC 6750, section 2.1).
pub fn is_b64token(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte))
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("token_type", &self.token_type)
            .field("access_token", &self.access_token)
            .field("expires_in", &self.expires_in)
            .field("ext_expires_in", &self.ext_expires_in)
            .field("refresh_in", &self.refresh_in)
            .field("scope", &self.scope)
            .field("extra", &self.extra.keys().collect::<Vec<_>>())
            .finish()
    }
}

fn text(members: &mut Map<String, Value>, field: &'static str) -> Result<Option<String>, MalformedAnswer> {
    match members.shift_remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(MalformedAnswer::WrongType { field, expected: "a string" }),
    }
}

/// Removes and returns a duration in whole seconds. Some services send a number, and other services send a string of
/// digits.
fn seconds(
    members: &mut Map<String, Value>,
    field: &'static str,
) -> Result<Option<Duration>, MalformedAnswer> {
    let number = match members.shift_remove(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok()
        }
        Some(_) => None,
    };
    let number = number.filter(|seconds| *seconds <= MAX_SECONDS);
    number
        .map(|seconds| Some(Duration::from_secs(seconds)))
        .ok_or(MalformedAnswer::WrongType { field, expected: "a number of seconds, at most ten years" })
}

/// The longest accepted duration: ten years, in seconds. A longer duration is an error of the service.
const MAX_SECONDS: u64 = 3650 * 24 * 60 * 60;

fn host_of(location: &str) -> Option<String> {
    let url = url::Url::parse(location).ok()?;
    url.host_str().map(|host| host.chars().take(253).collect())
}

/// The reason why a response has no token.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AnswerError {
    /// The token service refused the request.
    #[error("the token service refused the request: {0}")]
    Refused(Box<AuthorityError>),
    /// The response breaks the protocol.
    #[error(transparent)]
    Malformed(MalformedAnswer),
}

impl From<MalformedAnswer> for AnswerError {
    fn from(malformed: MalformedAnswer) -> Self {
        Self::Malformed(malformed)
    }
}

/// A violation of the protocol in a response. The error contains no part of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum MalformedAnswer {
    /// The response is a redirect. The client never follows a redirect: it must not send an assertion to a host that a
    /// redirect names.
    #[error(
        "the token service answered with a redirect to {to} (status {status}); redirects are not followed"
    )]
    #[strum(props(code = "redirect_refused"))]
    #[strum(props(
        fix = "send the request again; if the answer is still a redirect, use the named host as the authority, or remove the region"
    ))]
    Redirect {
        /// The status of the response.
        status: u16,
        /// The host of `Location`, or `an unnamed host`.
        to: String,
    },
    /// The response is larger than [`MAX_BYTES`].
    #[error("the token service's response is {length} bytes long; at most {MAX_BYTES} bytes are accepted")]
    #[strum(props(code = "answer_too_large"))]
    TooLarge {
        /// The length of the response in bytes.
        length: usize,
    },
    /// The response is not an acceptable JSON object.
    #[error("the token service's response cannot be read: {0}")]
    #[strum(props(code = "json_parse_failed"))]
    NotJson(JsonError),
    /// The response has two members of this name.
    #[error("the token service's response has the member `{0}` twice")]
    #[strum(props(code = "answer_duplicate_field"))]
    DuplicateField(String),
    /// The response has no `token_type`.
    #[error("the token service's response has no `token_type`")]
    #[strum(props(code = "token_type_missing"))]
    MissingTokenType,
    /// The response lacks a required member. The value is its name.
    #[error("the token service's response has no `{0}`")]
    #[strum(props(code = "answer_missing_field"))]
    MissingField(&'static str),
    /// A member has the wrong type.
    #[error("`{field}` in the token service's response is not {expected}")]
    #[strum(props(code = "answer_wrong_type"))]
    WrongType {
        /// The name of the member.
        field: &'static str,
        /// The type that it must have.
        expected: &'static str,
    },
    /// The `access_token` is empty.
    #[error("the token in the token service's response is empty")]
    #[strum(props(code = "answer_empty_token"))]
    EmptyToken,
    /// The `access_token` has a character that is not allowed in a token.
    #[error("the token in the token service's response has characters that are not allowed (RFC 6750)")]
    #[strum(props(code = "answer_token_malformed"))]
    TokenCharacters,
}

impl MalformedAnswer {
    /// Removes the client's own secrets from the parts that are quoted from the response.
    pub fn redact(&mut self, secrets: &OwnSecrets) {
        match self {
            Self::Redirect { to: quoted, .. }
            | Self::DuplicateField(quoted)
            | Self::NotJson(JsonError::Duplicate { name: quoted }) => secrets.redact(quoted),
            _ => {}
        }
    }

    /// Returns MSAL's code for the error, or certbound's own code if MSAL has no code for it.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix")
            .unwrap_or("check that no proxy or captive portal answers instead of the token service")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(body: &str) -> Result<TokenResponse, AnswerError> {
        TokenResponse::parse(200, &HeaderFacts::default(), body.as_bytes())
    }

    #[test]
    fn numbers_may_be_texts_and_unknown_members_are_kept() {
        let answer = parse(
            r#"{"token_type":"mtls_pop","access_token":"a.b.c","expires_in":"3599","refresh_in":1800,
                "scope":"https://vault.azure.net/.default other","resource":"x"}"#,
        )
        .unwrap();
        assert_eq!(answer.expires_in, Duration::from_secs(3599));
        assert_eq!(answer.refresh_in, Some(Duration::from_secs(1800)));
        assert_eq!(answer.scope.unwrap().len(), 2);
        assert_eq!(answer.extra.get("resource").and_then(Value::as_str), Some("x"));
    }

    #[test]
    fn a_token_has_the_characters_of_its_standard_and_no_others() {
        const MARKS: &[u8] = b"-._~+/=";
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || MARKS.contains(&byte);
            for (before, after) in [(0, 0), (31, 0), (31, 1), (70, 70)] {
                let text = [vec![b'a'; before], vec![byte], vec![b'Z'; after]].concat();
                assert_eq!(is_b64token(&text), expected, "{byte:#x}, {before} before it");
            }
        }
    }

    #[test]
    fn a_hint_that_makes_no_sense_is_none() {
        for refresh_in in ["-1", "1.5", r#""soon""#, "{}", "99999999999999999999", "null"] {
            let body = format!(
                r#"{{"token_type":"Bearer","access_token":"a","expires_in":1,"refresh_in":{refresh_in}}}"#
            );
            assert_eq!(parse(&body).unwrap().refresh_in, None, "{body}");
        }
    }

    #[test]
    fn a_scope_that_names_nothing_is_none() {
        for scope in ["", r#","scope":"""#, r#","scope":"  ""#, r#","scope":null"#] {
            let body = format!(r#"{{"token_type":"Bearer","access_token":"a","expires_in":1{scope}}}"#);
            assert_eq!(parse(&body).unwrap().scope, None, "{body}");
        }
    }

    #[test]
    fn debug_shows_no_token_of_any_kind() {
        let answer = parse(
            r#"{"token_type":"Bearer","access_token":"hidden1","expires_in":1,
                "refresh_token":"hidden2","id_token":"hidden3","client_info":"hidden4"}"#,
        )
        .unwrap();
        let shown = format!("{answer:?} {answer:#?}");
        assert!(shown.contains("refresh_token") && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn only_status_200_is_success_and_a_token_elsewhere_is_not_kept() {
        let body = br#"{"token_type":"Bearer","access_token":"hidden","expires_in":1}"#;
        for status in [0, 100, 201, 204, 206, 400, 500, 599, u16::MAX] {
            match TokenResponse::parse(status, &HeaderFacts::default(), body) {
                Err(AnswerError::Refused(error)) => {
                    assert!(!format!("{error:?} {error}").contains("hidden"), "{status}: {error:?}");
                }
                other => panic!("{status}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_overlong_answer_is_not_read() {
        let body = vec![b' '; MAX_BYTES + 1];
        for status in [200, 400] {
            let error = TokenResponse::parse(status, &HeaderFacts::default(), &body).unwrap_err();
            assert_eq!(error, MalformedAnswer::TooLarge { length: MAX_BYTES + 1 }.into());
        }
    }

    #[test]
    fn a_broken_answer_is_its_own_error() {
        let whole = r#""token_type":"Bearer","access_token":"a","expires_in":1"#;
        let cases = [
            ("<html>".to_owned(), "json_parse_failed"),
            (String::new(), "json_parse_failed"),
            ("[]".to_owned(), "json_parse_failed"),
            (format!("{{{whole}"), "json_parse_failed"),
            (format!("{{{whole},\"access_token\":\"b\"}}"), "answer_duplicate_field"),
            ("{\"access_token\":\"a\",\"expires_in\":1}".to_owned(), "token_type_missing"),
            (
                "{\"token_type\":\" \",\"access_token\":\"a\",\"expires_in\":1}".to_owned(),
                "token_type_missing",
            ),
            ("{\"token_type\":\"Bearer\",\"expires_in\":1}".to_owned(), "answer_missing_field"),
            ("{\"token_type\":\"Bearer\",\"access_token\":\"a\"}".to_owned(), "answer_missing_field"),
            (
                "{\"token_type\":\"Bearer\",\"access_token\":\"\",\"expires_in\":1}".to_owned(),
                "answer_empty_token",
            ),
            (
                "{\"token_type\":\"Bearer\",\"access_token\":\"a$(b)\",\"expires_in\":1}".to_owned(),
                "answer_token_malformed",
            ),
            (
                "{\"token_type\":\"Bearer\",\"access_token\":\"a\\nb: c\",\"expires_in\":1}".to_owned(),
                "answer_token_malformed",
            ),
            (
                "{\"token_type\":\"Bearer\",\"access_token\":\"\\u001b[2J\",\"expires_in\":1}".to_owned(),
                "answer_token_malformed",
            ),
            ("{\"token_type\":7,\"access_token\":\"a\",\"expires_in\":1}".to_owned(), "answer_wrong_type"),
            (
                "{\"token_type\":\"Bearer\",\"access_token\":{},\"expires_in\":1}".to_owned(),
                "answer_wrong_type",
            ),
            (
                "{\"token_type\":\"Bearer\",\"access_token\":\"a\",\"expires_in\":-1}".to_owned(),
                "answer_wrong_type",
            ),
            (
                "{\"token_type\":\"Bearer\",\"access_token\":\"a\",\"expires_in\":\"soon\"}".to_owned(),
                "answer_wrong_type",
            ),
            (
                "{\"token_type\":\"Bearer\",\"access_token\":\"a\",\"expires_in\":1e18}".to_owned(),
                "answer_wrong_type",
            ),
        ];
        for (body, code) in cases {
            match parse(&body) {
                Err(AnswerError::Malformed(error)) => assert_eq!(error.code(), code, "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn redirects_name_the_host_and_nothing_else() {
        let headers = HeaderFacts {
            location: Some("https://evil.example/x?code=secret".into()),
            ..HeaderFacts::default()
        };
        let Err(AnswerError::Malformed(error)) = TokenResponse::parse(307, &headers, b"") else {
            panic!("accepted")
        };
        assert_eq!(error, MalformedAnswer::Redirect { status: 307, to: "evil.example".into() });
    }

    #[test]
    fn what_is_written_is_read_back() {
        let answer =
            parse(r#"{"token_type":"mtls_pop","expires_in":3599,"scope":"a b","access_token":"t"}"#).unwrap();
        let again = parse(&serde_json::to_string(&answer.to_json()).unwrap()).unwrap();
        assert_eq!(again.to_json(), answer.to_json());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(status: u16, body: Vec<u8>) {
            let _ = TokenResponse::parse(status, &HeaderFacts::default(), &body);
        }
    }
}
