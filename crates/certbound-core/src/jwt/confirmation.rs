//! The claim `cnf` alone: what a client looks for in a token that is nobody's to judge but the resource's.

use serde::Deserialize;
use serde_json::Value;

use super::CnfError;
use crate::json::{self, JsonError};

/// The confirmation claim of a payload.
///
/// No other claim is looked at, however often it stands there: to judge a token, read its
/// [`Claims`](super::Claims).
#[derive(Clone, Debug, Deserialize)]
pub struct Confirmation {
    // What is there and null is another than what is not there.
    #[serde(default, deserialize_with = "json::strictly")]
    cnf: Option<Value>,
}

impl Confirmation {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`JsonError`] for anything but a JSON object, and for a `cnf` that stands there twice or holds a member twice.
    pub fn parse(payload: &[u8]) -> Result<Self, JsonError> {
        if payload.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(JsonError::NotAnObject);
        }
        serde_json::from_slice(payload).map_err(json::explain)
    }

    /// The certificate the token is bound to, none where there is no `cnf`.
    ///
    /// # Errors
    /// As [`Claims::confirmation`](super::Claims::confirmation).
    pub fn thumbprint(&self) -> Result<Option<&str>, CnfError> {
        self.cnf.as_ref().map(thumbprint_of).transpose()
    }
}

/// The thumbprint that is the only member of a `cnf` (RFC 8705, section 3.1).
pub(super) fn thumbprint_of(cnf: &Value) -> Result<&str, CnfError> {
    let members = cnf.as_object().ok_or(CnfError::NotAnObject)?;
    let value = members.get("x5t#S256").ok_or(CnfError::NoThumbprint)?;
    if members.len() != 1 {
        return Err(CnfError::OtherMembers);
    }
    let text = value.as_str().ok_or(CnfError::NotCanonical)?;
    if is_canonical(text) { Ok(text) } else { Err(CnfError::NotCanonical) }
}

/// 43 characters of base64url whose last has no spare bits set.
fn is_canonical(text: &str) -> bool {
    text.len() == 43
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && text.ends_with(|last| "AEIMQUYcgkosw048".contains(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::Claims;

    const RIGHT: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";

    #[test]
    fn it_is_found_as_among_all_claims() {
        let payloads = [
            format!(r#"{{"iss":"x","cnf":{{"x5t#S256":"{RIGHT}"}},"exp":1}}"#),
            format!(r#"{{"cnf":{{"x5t#S256":"{RIGHT}","kid":"x"}}}}"#),
            r#"{"aud":["a"],"n":{"cnf":{"x5t#S256":"x"}}}"#.to_owned(),
            r#"{"cnf":null}"#.to_owned(),
            r#"{"cnf":7}"#.to_owned(),
            r#"{"cnf":{}}"#.to_owned(),
            r#"{"cnf":{"x5t#S256":"short"}}"#.to_owned(),
            r#" {"\u0063nf":{"x5t#S256":[]}} "#.to_owned(),
        ];
        for payload in payloads {
            let alone = Confirmation::parse(payload.as_bytes()).unwrap();
            let claims = Claims::parse(payload.clone().into_bytes()).unwrap();
            assert_eq!(alone.thumbprint(), claims.confirmation(), "{payload}");
        }
    }

    #[test]
    fn what_is_no_object_or_says_two_things_is_refused() {
        let twice = [
            r#"{"cnf":{"x5t#S256":"a"},"cnf":{"x5t#S256":"b"}}"#,
            r#"{"cnf":{"x5t#S256":"a","x5t#S256":"b"}}"#,
            r#"{"cnf":{"x5t#S256":"a"},"\u0063nf":7}"#,
        ];
        for payload in twice.into_iter().chain(["", "{", "[{}]", "7", "{} x", "\"cnf\"", "{\"cnf\":nul}"]) {
            assert!(Confirmation::parse(payload.as_bytes()).is_err(), "{payload}");
        }
        // Each of two would be another claim's affair.
        assert!(Confirmation::parse(br#"{"a":1,"a":2}"#).unwrap().thumbprint().unwrap().is_none());
    }
}
