//! Reads a received token for its client: the kind of the token, and the certificate that the token names.
//!
//! Only the resource checks a token. The client only reads whether the token is bound to the client's own certificate
//! (RFC 8705, section 3.1).

use std::collections::HashMap;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::json::{self, JsonError};
use crate::jws::{JwsError, decode};
use crate::jwt::{CnfError, thumbprint_of};

/// The parts of a token that its client can read. No part is verified.
#[derive(Clone, Debug)]
pub enum Received {
    /// A signed JWT: a JWS of three parts (RFC 7515). The value is the result that
    /// [`Claims::confirmation`](crate::jwt::Claims::confirmation) would return.
    Signed(Result<Option<String>, CnfError>),
    /// An encrypted JWT: a JWE of five parts with `enc` (RFC 7516). Only the resource can decrypt the claims.
    Encrypted,
    /// The token is not a JWT: its first part is not a JSON object with `alg`.
    Opaque,
}

impl Received {
    /// Reads a token of any size. The caller must limit the size of the response.
    ///
    /// The function recognizes a JWT leniently, like some resources: padding, the standard alphabet, and pad bits that
    /// are not zero do not make the token opaque. The function then parses the JWT strictly, and refuses a token that
    /// two resources could read differently.
    ///
    /// # Errors
    /// [`JwsError`] for a JWT with the wrong number of parts. A signed JWT must have no empty part, and its header and
    /// payload must be unpadded base64url of a JSON object. Neither a member of the header nor `cnf` may occur twice.
    /// The value of `alg` must be a string. The header must not have `crit` or `b64`.
    pub fn read(token: &str) -> Result<Self, JwsError> {
        let mut parts = token.split('.');
        let first = parts.next().unwrap_or_default();
        let Some(header) = forgiving_header(first) else { return Ok(Self::Opaque) };
        let (payload, signature) = (parts.next(), parts.next());
        let more = parts.count();
        if more == 2 && header.contains_key("enc") {
            return Ok(Self::Encrypted);
        }
        let (Some(payload), Some(signature), 0) = (payload, signature, more) else {
            return Err(JwsError::NotThreeParts { count: token.split('.').count() });
        };
        if payload.is_empty() || signature.is_empty() {
            return Err(JwsError::EmptyPart);
        }
        check_header(&decode(first, "header")?)?;
        let confirmation = confirmation_of(&decode(payload, "payload")?);
        confirmation.map(Self::Signed).map_err(|error| JwsError::Json { part: "payload", error })
    }
}

/// Returns the header of a token without the values of its members. A duplicate member is no error here. The result is
/// `None` if no reader would accept the token as a JWT.
fn forgiving_header(first: &str) -> Option<HashMap<String, IgnoredAny>> {
    let forgiving = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let first = first.trim_end_matches('=').replace('+', "-").replace('/', "_");
    // Some readers ignore a last character that does not complete a byte.
    let whole = first.len() - usize::from(first.len() % 4 == 1);
    let bytes = GeneralPurpose::new(&URL_SAFE, forgiving).decode(first.as_bytes().get(..whole)?).ok()?;
    // Bytes after the object are ignored too.
    let header: HashMap<_, _> =
        Deserialize::deserialize(&mut serde_json::Deserializer::from_slice(&bytes)).ok()?;
    header.contains_key("alg").then_some(header)
}

fn check_header(header: &[u8]) -> Result<(), JwsError> {
    let header = json::parse_object(header).map_err(|error| JwsError::Json { part: "header", error })?;
    // An extension may change the meaning of the payload. With `b64`, for example, the payload is not base64url (RFC
    // 7797).
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(JwsError::CriticalExtension);
    }
    match header.get("alg") {
        Some(Value::String(_)) => Ok(()),
        _ => Err(JwsError::HeaderType { member: "alg" }),
    }
}

/// The claim `cnf`. Other claims are not read, even if they occur twice.
#[derive(Deserialize)]
struct Payload {
    // `null` and an absent member are different: without `strictly`, serde would read both as `None`.
    #[serde(default, deserialize_with = "json::strictly")]
    cnf: Option<Value>,
}

fn confirmation_of(payload: &[u8]) -> Result<Result<Option<String>, CnfError>, JsonError> {
    // The reader that serde derives would also accept a list.
    if payload.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(JsonError::NotAnObject);
    }
    let payload: Payload = serde_json::from_slice(payload).map_err(json::explain)?;
    let thumbprint = payload.cnf.as_ref().map(thumbprint_of).transpose();
    Ok(thumbprint.map(|found| found.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;
    use crate::jwt::Claims;

    const RIGHT: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
    const HEADER: &str = r#"{"alg":"RS256"}"#;
    const PAYLOAD: &str = r#"{"cnf":{"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}}"#;

    fn coded(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn jws(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", coded(header), coded(payload))
    }

    #[test]
    fn a_signed_token_says_which_certificate_it_names() {
        let Ok(Received::Signed(found)) = Received::read(&jws(HEADER, PAYLOAD)) else { panic!("not read") };
        assert_eq!(found, Ok(Some(RIGHT.to_owned())));
        // The client checks neither the size of the token nor duplicates of other claims.
        let large = format!(r#"{{"a":1,"a":2,"roles":"{}"}}"#, "r".repeat(100_000));
        let Ok(Received::Signed(found)) = Received::read(&jws(HEADER, &large)) else { panic!("not read") };
        assert_eq!(found, Ok(None));
    }

    #[test]
    fn the_confirmation_is_found_as_among_all_claims() {
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
            let claims = Claims::parse(payload.clone().into_bytes()).unwrap();
            let expected = claims.confirmation().map(|found| found.map(str::to_owned));
            assert_eq!(confirmation_of(payload.as_bytes()), Ok(expected), "{payload}");
        }
    }

    #[test]
    fn a_payload_that_is_no_object_or_has_two_confirmations_is_refused() {
        let twice = [
            r#"{"cnf":{"x5t#S256":"a"},"cnf":{"x5t#S256":"b"}}"#,
            r#"{"cnf":{"x5t#S256":"a","x5t#S256":"b"}}"#,
            r#"{"cnf":{"x5t#S256":"a"},"\u0063nf":7}"#,
        ];
        for payload in twice.into_iter().chain(["", "{", "[{}]", "7", "{} x", "\"cnf\"", "{\"cnf\":nul}"]) {
            assert!(confirmation_of(payload.as_bytes()).is_err(), "{payload}");
        }
        // Duplicates of claims other than `cnf` are not found here.
        assert_eq!(confirmation_of(br#"{"a":1,"a":2}"#), Ok(Ok(None)));
    }

    #[test]
    fn what_is_no_jwt_is_opaque_and_what_is_encrypted_is_told_by_its_header() {
        for opaque in
            ["", "opaque", "a.b.c", "AAAA", &coded("{}"), &jws(r#"{"typ":"JWT"}"#, PAYLOAD), "..", "é.b.c"]
        {
            assert!(matches!(Received::read(opaque), Ok(Received::Opaque)), "{opaque}");
        }
        let jwe = format!("{}..aXY.Y3Q.dGFn", coded(r#"{"alg":"dir","enc":"A256GCM"}"#));
        assert!(matches!(Received::read(&jwe), Ok(Received::Encrypted)));
    }

    #[test]
    fn a_jwt_that_can_be_read_in_two_ways_is_neither() {
        let right = jws(HEADER, PAYLOAD);
        let [header, payload] = [HEADER, PAYLOAD].map(coded);
        let parts = |count| JwsError::NotThreeParts { count };
        let base64 = |part| JwsError::Base64 { part };
        let spare = coded(r#"{"alg":"RS256" }"#).replace("fQ", "fR");
        for (token, error) in [
            (header.clone(), parts(1)),
            (format!("{header}.{payload}"), parts(2)),
            (format!("{right}.c2ln"), parts(4)),
            (format!("{right}.c2ln.c2ln"), parts(5)),
            (format!("{right}.a.b.c"), parts(6)),
            (format!("{}.a.b.c.d.e", coded(r#"{"alg":"dir","enc":"A256GCM"}"#)), parts(6)),
            (format!("{}.a.b.c", coded(r#"{"alg":"dir","enc":"A256GCM"}"#)), parts(4)),
            (format!("{header}..c2ln"), JwsError::EmptyPart),
            (format!("{header}.{payload}."), JwsError::EmptyPart),
            (format!("{header}.{payload}=.c2ln"), base64("payload")),
            (format!("{header}.{payload}==.c2ln"), base64("payload")),
            (format!("{header}=.{payload}.c2ln"), base64("header")),
            (format!("{header}A.{payload}.c2ln"), base64("header")),
            (format!("{spare}.{payload}.c2ln"), base64("header")),
            (jws(r#"{"alg":"RS256","b64":false}"#, PAYLOAD), JwsError::CriticalExtension),
            (jws(r#"{"alg":"RS256","crit":[]}"#, PAYLOAD), JwsError::CriticalExtension),
            (jws(r#"{"alg":7}"#, PAYLOAD), JwsError::HeaderType { member: "alg" }),
        ] {
            assert_eq!(Received::read(&token).unwrap_err(), error, "{token}");
        }
        let twice = PAYLOAD.replacen('{', r#"{"cnf":{},"#, 1);
        let deep = format!(r#"{{"alg":"RS256","x":{}{}}}"#, "[".repeat(500), "]".repeat(500));
        for (token, part) in [
            (jws(r#"{"alg":"RS256","alg":"none"}"#, PAYLOAD), "header"),
            (jws(r#"{"alg":"RS256"} and more"#, PAYLOAD), "header"),
            (jws(&deep, PAYLOAD), "header"),
            (jws(HEADER, &twice), "payload"),
            (jws(HEADER, "[]"), "payload"),
            (jws(HEADER, "no JSON"), "payload"),
        ] {
            let error = Received::read(&token).unwrap_err();
            assert!(
                matches!(&error, JwsError::Json { part: found, .. } if *found == part),
                "{token}: {error}"
            );
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(token: String) {
            let _ = Received::read(&token);
            let _ = Received::read(&format!("{}.{token}", coded(HEADER)));
        }
    }
}
