//! The claim `cnf` alone. It is the only claim that a client reads; the resource checks the others.

use serde::Deserialize;
use serde_json::Value;

use super::CnfError;
use crate::json::{self, JsonError};

/// The confirmation claim of a payload.
///
/// Other claims are not read, not even if they are there twice. To check a token, read its [`Claims`](super::Claims).
#[derive(Clone, Debug, Deserialize)]
pub struct Confirmation {
    // `null` and an absent member are different: without `strictly`, serde would read both as `None`.
    #[serde(default, deserialize_with = "json::strictly")]
    cnf: Option<Value>,
}

impl Confirmation {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`JsonError`] if the payload is not a JSON object, if `cnf` is there twice, or if it has a duplicate name
    /// inside.
    pub fn parse(payload: &[u8]) -> Result<Self, JsonError> {
        if payload.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(JsonError::NotAnObject);
        }
        serde_json::from_slice(payload).map_err(json::explain)
    }

    /// Returns the thumbprint of the certificate that the token is bound to. `None` if there is no `cnf`.
    ///
    /// # Errors
    /// The errors of [`Claims::confirmation`](super::Claims::confirmation).
    pub fn thumbprint(&self) -> Result<Option<&str>, CnfError> {
        self.cnf.as_ref().map(thumbprint_of).transpose()
    }
}

/// Returns the thumbprint, which must be the only member of `cnf` (RFC 8705, section 3.1).
pub(super) fn thumbprint_of(cnf: &Value) -> Result<&str, CnfError> {
    let members = cnf.as_object().ok_or(CnfError::NotAnObject)?;
    let value = members.get("x5t#S256").ok_or(CnfError::NoThumbprint)?;
    if members.len() != 1 {
        return Err(CnfError::OtherMembers);
    }
    let text = value.as_str().ok_or(CnfError::NotCanonical)?;
    if is_canonical(text) { Ok(text) } else { Err(CnfError::NotCanonical) }
}

/// Whether the text is 43 characters of base64url whose last character has no spare bits set.
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
        // Duplicates of claims other than `cnf` are not found here.
        assert!(Confirmation::parse(br#"{"a":1,"a":2}"#).unwrap().thumbprint().unwrap().is_none());
    }
}
