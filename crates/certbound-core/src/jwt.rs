//! The claims of a JWT (RFC 7519), read strictly.

mod confirmation;
mod numeric_date;

use std::fmt;
use std::sync::OnceLock;

use serde_json::{Map, Value};

pub use self::confirmation::Confirmation;
pub use self::numeric_date::NumericDate;
use crate::json::{JsonError, Members};
use crate::time::UnixTime;

/// The claims of a token. Whether they were verified is told by where they came from: a
/// [`VerifiedJws`](crate::jws::VerifiedJws), or
/// [`unverified_claims`](crate::jws::UnverifiedJws::unverified_claims).
#[derive(Clone)]
pub struct Claims {
    members: Members,
    /// Made when somebody wants to see all of them.
    map: OnceLock<Map<String, Value>>,
}

impl Claims {
    /// Reads a payload, strictly: no name twice, at most [`Members::MAX`] claims.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn parse(payload: Vec<u8>) -> Result<Self, JsonError> {
        Members::parse(payload).map(|members| Self { members, map: OnceLock::new() })
    }

    /// All of them.
    pub fn map(&self) -> &Map<String, Value> {
        self.map.get_or_init(|| self.members.to_map())
    }

    /// Whether there is such a claim at all.
    pub fn contains(&self, name: &str) -> bool {
        self.members.contains(name)
    }

    /// A claim that is a text; none when it is absent or anything else.
    pub fn string(&self, name: &str) -> Option<&str> {
        self.members.string(name)
    }

    /// A claim that is a whole number and not negative; none when it is absent or anything else.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.members.number(name)
    }

    /// A claim that is a list; none when it is absent or anything else.
    pub fn list(&self, name: &str) -> Option<&[Value]> {
        self.members.other(name)?.as_array().map(Vec::as_slice)
    }

    /// A claim that is a NumericDate (RFC 7519, section 2): a JSON number of seconds that is not negative. It may have a
    /// fraction. None when the claim is absent.
    ///
    /// # Errors
    /// [`ClaimError`] when it is there and is anything else, also a text of digits.
    pub fn numeric_date(&self, name: &'static str) -> Result<Option<NumericDate>, ClaimError> {
        if let Some(seconds) = self.number(name) {
            return Ok(Some(NumericDate::whole(seconds)));
        }
        match self.members.other(name) {
            Some(value) => NumericDate::of_number(value).map(Some).ok_or(ClaimError { name }),
            None if self.contains(name) => Err(ClaimError { name }),
            None => Ok(None),
        }
    }

    /// A claim that is a time: whole seconds, as a number or (from older libraries) as a text of digits.
    ///
    /// # Errors
    /// [`ClaimError`] when it is there and is neither.
    pub fn time(&self, name: &'static str) -> Result<Option<UnixTime>, ClaimError> {
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let text = || self.string(name).filter(digits).and_then(|text| text.parse().ok());
        match self.number(name).or_else(text) {
            Some(seconds) => Ok(Some(UnixTime::from_secs(seconds))),
            None if self.contains(name) => Err(ClaimError { name }),
            None => Ok(None),
        }
    }

    /// The audiences: `aud` is a text, or a list of texts. Empty when it is absent or anything else.
    pub fn audiences(&self) -> Vec<&str> {
        match (self.string("aud"), self.list("aud")) {
            (Some(audience), _) => vec![audience],
            (None, Some(list)) => list.iter().map(Value::as_str).collect::<Option<_>>().unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }

    /// The certificate the token is bound to: `cnf` with `x5t#S256` as its only member (RFC 8705, section 3.1).
    ///
    /// None when there is no `cnf`. It is not compared with anything here: see
    /// [`Thumbprint::matches_claim`](crate::certificate::Thumbprint::matches_claim).
    ///
    /// # Errors
    /// [`CnfError`] for any other `cnf`: a member that is not understood is a condition that is not met.
    pub fn confirmation(&self) -> Result<Option<&str>, CnfError> {
        if !self.contains("cnf") {
            return Ok(None);
        }
        let cnf = self.members.other("cnf").ok_or(CnfError::NotAnObject)?;
        confirmation::thumbprint_of(cnf).map(Some)
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

/// A claim of the wrong type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claim `{name}` is not a time in seconds")]
pub struct ClaimError {
    /// Its name.
    pub name: &'static str,
}

/// Why a `cnf` is not a certificate binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CnfError {
    /// Text, list, number or null.
    #[error("`cnf` is not an object")]
    NotAnObject,
    /// No `x5t#S256`.
    #[error("`cnf` has no `x5t#S256`")]
    NoThumbprint,
    /// `x5t#S256` beside something else.
    #[error("`cnf` has members besides `x5t#S256`")]
    OtherMembers,
    /// Not the canonical base64url of a SHA-256.
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
        // RFC 8705, appendix A; then the sample of its section 3.1, whose last character has spare bits set.
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
