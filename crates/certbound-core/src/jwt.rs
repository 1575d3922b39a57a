//! The claims of a JWT (RFC 7519), read strictly.

mod numeric_date;

use std::fmt;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

pub use self::numeric_date::NumericDate;
use crate::json::{JsonError, Members};
use crate::time::UnixTime;

/// The claims of a token. This type does not record whether they were verified. The claims of a
/// [`VerifiedJws`](crate::jws::VerifiedJws) were verified; the claims of
/// [`unverified_claims`](crate::jws::UnverifiedJws::unverified_claims) were not.
#[derive(Clone)]
pub struct Claims {
    members: Members,
    /// All claims as a map. It is built on the first call of [`Claims::map`].
    map: OnceLock<Map<String, Value>>,
}

impl Claims {
    /// Reads a payload with at most 256 claims. A duplicate name at any depth is an error.
    ///
    /// # Errors
    /// [`JsonError`] if the payload is not one JSON object, has a duplicate name, is nested deeper than 32 levels, or
    /// has more than 256 claims.
    pub fn parse(payload: Vec<u8>) -> Result<Self, JsonError> {
        Members::parse(payload).map(|members| Self { members, map: OnceLock::new() })
    }

    /// Returns all claims.
    pub fn map(&self) -> &Map<String, Value> {
        self.map.get_or_init(|| self.members.to_map())
    }

    /// Whether the token has this claim, of any type.
    pub fn contains(&self, name: &str) -> bool {
        self.members.contains(name)
    }

    /// Returns a claim that is a string. The result is `None` if the claim is absent or has a different type.
    pub fn string(&self, name: &str) -> Option<&str> {
        self.members.string(name)
    }

    /// Returns a claim that is a whole number of at least 0. The result is `None` if the claim is absent or has a
    /// different type.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.members.value(name)?.as_u64()
    }

    /// Returns a claim that is a list. The result is `None` if the claim is absent or has a different type.
    pub fn list(&self, name: &str) -> Option<&[Value]> {
        self.members.value(name)?.as_array().map(Vec::as_slice)
    }

    /// Returns a NumericDate (RFC 7519, section 2): a JSON number of seconds that is at least 0, with or without a
    /// fraction. The result is `None` if the claim is absent.
    ///
    /// # Errors
    /// [`ClaimError`] if the claim has any other form. A string of digits is also an error.
    pub fn numeric_date(&self, name: &'static str) -> Result<Option<NumericDate>, ClaimError> {
        if !self.contains(name) {
            return Ok(None);
        }
        self.members.value(name).and_then(NumericDate::of_number).map(Some).ok_or(ClaimError { name })
    }

    /// Returns a claim that is a time in whole seconds. The result is `None` if the claim is absent.
    ///
    /// The claim may be a number. It may also be a string of digits, because older libraries write strings.
    ///
    /// # Errors
    /// [`ClaimError`] if the claim has any other form.
    pub fn time(&self, name: &'static str) -> Result<Option<UnixTime>, ClaimError> {
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let text = || self.string(name).filter(digits).and_then(|text| text.parse().ok());
        match self.number(name).or_else(text) {
            Some(seconds) => Ok(Some(UnixTime::from_secs(seconds))),
            None if self.contains(name) => Err(ClaimError { name }),
            None => Ok(None),
        }
    }

    /// Returns the audiences: `aud` is a string or a list of strings. The result is empty if `aud` is absent or has a
    /// different type.
    pub fn audiences(&self) -> Vec<&str> {
        match (self.string("aud"), self.list("aud")) {
            (Some(audience), _) => vec![audience],
            (None, Some(list)) => list.iter().map(Value::as_str).collect::<Option<_>>().unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }

    /// Returns the thumbprint of the certificate that the token is bound to: `x5t#S256`, the only member of `cnf` (RFC
    /// 8705, section 3.1).
    ///
    /// The result is `None` if there is no `cnf`. The thumbprint is not compared with a certificate. To compare it, use
    /// [`Thumbprint::matches_claim`](crate::certificate::Thumbprint::matches_claim).
    ///
    /// # Errors
    /// [`CnfError`] for any other `cnf`. An unknown member may be a condition that this crate cannot check.
    pub fn confirmation(&self) -> Result<Option<&str>, CnfError> {
        if !self.contains("cnf") {
            return Ok(None);
        }
        let cnf = self.members.value("cnf").ok_or(CnfError::NotAnObject)?;
        thumbprint_of(cnf).map(Some)
    }
}

impl PartialEq for Claims {
    fn eq(&self, other: &Self) -> bool {
        self.map() == other.map()
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claims").field(self.map()).finish()
    }
}

/// Returns the thumbprint in the claim `cnf` (RFC 8705, section 3.1). It must be the only member of `cnf`.
pub(crate) fn thumbprint_of(cnf: &Value) -> Result<&str, CnfError> {
    let members = cnf.as_object().ok_or(CnfError::NotAnObject)?;
    let value = members.get("x5t#S256").ok_or(CnfError::NoThumbprint)?;
    if members.len() != 1 {
        return Err(CnfError::OtherMembers);
    }
    let text = value.as_str().ok_or(CnfError::NotCanonical)?;
    // The engine refuses padding, and pad bits that are not zero, so each hash has exactly one encoding.
    let hash = URL_SAFE_NO_PAD.decode(text).map_err(|_| CnfError::NotCanonical)?;
    if hash.len() == 32 { Ok(text) } else { Err(CnfError::NotCanonical) }
}

/// The error for a claim that is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claim `{name}` is not a time in seconds")]
pub struct ClaimError {
    /// The name of the claim.
    pub name: &'static str,
}

/// The reason why a `cnf` is not a certificate binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CnfError {
    /// `cnf` is a string, a list, a number, a boolean or null.
    #[error("`cnf` is not an object")]
    NotAnObject,
    /// `cnf` has no `x5t#S256`.
    #[error("`cnf` has no `x5t#S256`")]
    NoThumbprint,
    /// `cnf` has `x5t#S256` and other members.
    #[error("`cnf` has members besides `x5t#S256`")]
    OtherMembers,
    /// `x5t#S256` is not the canonical base64url of a SHA-256 hash.
    #[error("`x5t#S256` is not 43 characters of canonical base64url")]
    NotCanonical,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        Claims::parse(json.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn only_an_understood_cnf_is_a_binding() {
        // `right` is from RFC 8705, appendix A. `spare` is from section 3.1 of this RFC; the pad bits of its last
        // character are not zero.
        let right = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
        let spare = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";
        let cnf = |value: &str| {
            claims(&format!("{{\"cnf\":{value}}}")).confirmation().map(|found| found.map(str::to_owned))
        };
        assert_eq!(cnf(&format!("{{\"x5t#S256\":\"{right}\"}}")), Ok(Some(right.to_owned())));
        assert_eq!(claims("{}").confirmation(), Ok(None));
        let cases = [
            (format!("{{\"x5t#S256\":\"{spare}\"}}"), CnfError::NotCanonical),
            (format!("{{\"x5t#S256\":\"{right}=\"}}"), CnfError::NotCanonical),
            (format!("{{\"x5t#S256\":\"{right}A\"}}"), CnfError::NotCanonical),
            (format!("{{\"x5t#S256\":\"{}\"}}", "ab".repeat(32)), CnfError::NotCanonical),
            (format!("{{\"x5t#S256\":\"+{}\"}}", &right[1..]), CnfError::NotCanonical),
            ("{\"x5t#S256\":7}".to_owned(), CnfError::NotCanonical),
            (format!("{{\"x5t#S256\":\"{right}\",\"jkt\":\"x\"}}"), CnfError::OtherMembers),
            (format!("{{\"x5t\":\"{right}\"}}"), CnfError::NoThumbprint),
            ("{}".to_owned(), CnfError::NoThumbprint),
            ("null".to_owned(), CnfError::NotAnObject),
            ("[]".to_owned(), CnfError::NotAnObject),
            (format!("\"{right}\""), CnfError::NotAnObject),
        ];
        for (value, error) in cases {
            assert_eq!(cnf(&value), Err(error), "{value}");
        }
    }

    #[test]
    fn times_are_whole_seconds() {
        assert_eq!(claims("{\"exp\":5}").time("exp"), Ok(Some(UnixTime::from_secs(5))));
        assert_eq!(claims("{\"exp\":\"5\"}").time("exp"), Ok(Some(UnixTime::from_secs(5))));
        assert_eq!(claims("{}").time("exp"), Ok(None));
        for wrong in
            ["-1", "1.5", "\"\"", "\"-1\"", "\" 5\"", "null", "true", "1e3", "\"99999999999999999999\""]
        {
            assert!(claims(&format!("{{\"exp\":{wrong}}}")).time("exp").is_err(), "{wrong}");
        }
    }

    #[test]
    fn numeric_dates_are_numbers_that_are_not_negative() {
        let ends = |value: &str| {
            let date = claims(&format!("{{\"exp\":{value}}}")).numeric_date("exp")?;
            Ok(date.map(|date| (date.floor().as_secs(), date.ceil().as_secs())))
        };
        for (value, expected) in [("5", (5, 5)), ("5.9", (5, 6)), ("0", (0, 0)), ("1e3", (1000, 1000))] {
            assert_eq!(ends(value), Ok(Some(expected)), "{value}");
        }
        assert_eq!(claims("{}").numeric_date("exp"), Ok(None));
        for wrong in ["-1", "-1.5", "-0", "\"5\"", "\"\"", "null", "true", "[5]", "{}"] {
            assert_eq!(ends(wrong), Err(ClaimError { name: "exp" }), "{wrong}");
        }
    }
}
