//! What a client reads of a token that it received: whether it is a JWT, and which certificate it names.
//!
//! A client does not check a token; its resource does. The client reads one thing: whether the token is bound to the
//! client's own certificate (RFC 8705, section 3.1).

use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::json;
use crate::jws::JwsError;
use crate::jwt::Confirmation;

/// What a client can read of a token. No part of it is verified.
#[derive(Clone, Debug)]
pub enum Received {
    /// A signed JWT: a JWS of three parts (RFC 7515). The value is its `cnf` claim.
    Signed(Confirmation),
    /// An encrypted JWT: a JWE of five parts with `enc` (RFC 7516). Only its resource can read the claims.
    Encrypted,
    /// The token is no JWT: its first part is not a JSON object with `alg`.
    Opaque,
}

impl Received {
    /// Reads a token of any size. The caller must limit the size of the response.
    ///
    /// Whether a token is a JWT is decided leniently, as some resources do it: padding, the standard alphabet and spare
    /// bits do not make it opaque. A JWT is then parsed strictly. A token that two resources could read differently is
    /// refused.
    ///
    /// # Errors
    /// [`JwsError`] for a JWT with the wrong number of parts, and for a signed one whose header or payload is not
    /// unpadded base64url of a JSON object. Neither a member of the header nor `cnf` may be there twice.
    pub fn read(token: &str) -> Result<Self, JwsError> {
        let mut parts = token.split('.');
        let first = parts.next().unwrap_or_default();
        let Some(header) = forgiving_header(first) else { return Ok(Self::Opaque) };
        let (payload, signature) = (parts.next(), parts.next());
        let more = parts.count();
        if more == 2 && header.enc {
            return Ok(Self::Encrypted);
        }
        let (Some(payload), Some(signature), 0) = (payload, signature, more) else {
            return Err(JwsError::NotThreeParts { count: token.split('.').count() });
        };
        if payload.is_empty() || signature.is_empty() {
            return Err(JwsError::EmptyPart);
        }
        check_header(&strictly(first, "header")?)?;
        let payload = strictly(payload, "payload")?;
        let confirmation = Confirmation::parse(&payload);
        confirmation.map(Self::Signed).map_err(|error| JwsError::Json { part: "payload", error })
    }
}

/// Returns which members the header of a token has. `None` if no reader would accept the token as a JWT.
fn forgiving_header(first: &str) -> Option<Has> {
    let forgiving = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let first = first.trim_end_matches('=').replace('+', "-").replace('/', "_");
    // Some readers ignore a last character that does not complete a byte.
    let whole = first.len() - usize::from(first.len() % 4 == 1);
    let bytes = GeneralPurpose::new(&URL_SAFE, forgiving).decode(first.as_bytes().get(..whole)?).ok()?;
    let header = Has::deserialize(&mut serde_json::Deserializer::from_slice(&bytes)).ok()?;
    header.alg.then_some(header)
}

/// The members that a header has. Their values, and how often they are there, do not matter.
#[derive(Default)]
struct Has {
    alg: bool,
    enc: bool,
}

impl<'de> Deserialize<'de> for Has {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HasVisitor)
    }
}

struct HasVisitor;

impl<'de> Visitor<'de> for HasVisitor {
    type Value = Has;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Has, A::Error> {
        let mut has = Has::default();
        while let Some((name, IgnoredAny)) = members.next_entry::<String, IgnoredAny>()? {
            has.alg |= name == "alg";
            has.enc |= name == "enc";
        }
        Ok(has)
    }
}

fn check_header(header: &[u8]) -> Result<(), JwsError> {
    let header = json::parse_object(header).map_err(|error| JwsError::Json { part: "header", error })?;
    // An extension may change what the payload means. With `b64`, for example, it is not base64url (RFC 7797).
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(JwsError::CriticalExtension);
    }
    match header.get("alg") {
        Some(Value::String(_)) => Ok(()),
        _ => Err(JwsError::HeaderType { member: "alg" }),
    }
}

fn strictly(part: &str, name: &'static str) -> Result<Vec<u8>, JwsError> {
    // This engine refuses padding, characters of the standard alphabet and spare bits.
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Base64 { part: name })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        assert_eq!(found.thumbprint(), Ok(Some("A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0")));
        // Duplicates of other claims, and the size, are not checked by the client.
        let large = format!(r#"{{"a":1,"a":2,"roles":"{}"}}"#, "r".repeat(100_000));
        let Ok(Received::Signed(found)) = Received::read(&jws(HEADER, &large)) else { panic!("not read") };
        assert_eq!(found.thumbprint(), Ok(None));
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
