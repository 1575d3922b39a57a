//! Parses, verifies and assembles a compact JWS (RFC 7515). Parsing is strict, and a verified JWS has a type of its
//! own.

mod algorithm;
mod compact;
mod error;
mod header;
mod key;

use std::fmt;
use std::sync::OnceLock;

use serde_json::{Map, Value};

pub use self::algorithm::Algorithm;
pub(crate) use self::compact::decode;
use self::compact::{Parts, split};
pub use self::compact::{assemble, signing_input};
pub use self::error::JwsError;
pub use self::header::JwsHeader;
pub use self::key::{KeyError, PublicKey};
use crate::json;
use crate::jwt::Claims;
use crate::shown::shown;

/// A compact JWS whose form was checked and whose signature was not verified.
///
/// `Debug` prints the header only. With the other parts, a log would contain the token.
pub struct UnverifiedJws<'a> {
    signing_input: &'a str,
    header: JwsHeader,
    payload: &'a str,
    signature: Vec<u8>,
    claims: OnceLock<Result<Claims, JwsError>>,
}

impl<'a> UnverifiedJws<'a> {
    /// The largest token that is parsed, in bytes.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Splits and decodes a token. The size is checked before anything is allocated.
    ///
    /// # Errors
    /// [`JwsError`] if the token is too large or does not have three parts, or if the header or the signature is not
    /// canonical base64url without padding (RFC 4648, section 3.5). The header must be a JSON object without duplicate
    /// names, with `alg`, and without `crit` and `b64`.
    pub fn parse(token: &'a str) -> Result<Self, JwsError> {
        let Parts { signing_input, header, payload, signature } = split(token)?;
        let header = JwsHeader::parse(decode(header, "header")?)?;
        let signature = decode(signature, "signature")?;
        Ok(Self { signing_input, header, payload, signature, claims: OnceLock::new() })
    }

    /// The header.
    pub fn header(&self) -> &JwsHeader {
        &self.header
    }

    /// Returns the claims without verification: anyone may have written them. The payload is parsed on the first call
    /// only.
    ///
    /// # Errors
    /// [`JwsError`] if the payload is not base64url of a JSON object without duplicate names.
    pub fn unverified_claims(&self) -> Result<&Claims, JwsError> {
        self.claims.get_or_init(|| claims_of(self.payload)).as_ref().map_err(Clone::clone)
    }

    /// Returns the algorithm of the header, if it is one of `accepted`.
    ///
    /// # Errors
    /// [`JwsError::AlgorithmNotAccepted`] if the algorithm is not one of `accepted`.
    pub fn algorithm(&self, accepted: &[Algorithm]) -> Result<Algorithm, JwsError> {
        let found = accepted.iter().find(|algorithm| algorithm.name() == self.header.alg());
        found.copied().ok_or_else(|| JwsError::AlgorithmNotAccepted {
            found: shown(self.header.alg()),
            accepted: Algorithm::names(accepted),
        })
    }

    /// Checks that the signature is valid under one of `keys`. The token remains an [`UnverifiedJws`].
    ///
    /// # Errors
    /// [`JwsError::AlgorithmNotAccepted`], or [`JwsError::BadSignature`] if no key verifies the signature.
    pub fn check_signature<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k PublicKey>,
        accepted: &[Algorithm],
    ) -> Result<(), JwsError> {
        let algorithm = self.algorithm(accepted)?;
        let message = self.signing_input.as_bytes();
        let holds = keys.into_iter().any(|key| key.verifies(algorithm, message, &self.signature));
        if holds { Ok(()) } else { Err(JwsError::BadSignature) }
    }

    /// Verifies the signature with `key`, if the header's algorithm is one of `accepted`.
    ///
    /// The function checks no claims: neither times nor audience nor issuer.
    ///
    /// # Errors
    /// [`JwsError`] if the algorithm is not accepted or does not fit the key, if the signature is not valid, or if the
    /// payload is not a JSON object without duplicate names.
    pub fn verify(self, key: &PublicKey, accepted: &[Algorithm]) -> Result<VerifiedJws, JwsError> {
        self.verify_with_any([key], accepted)
    }

    /// Verifies the signature with `keys`. The signature must be valid under at least one of the keys.
    ///
    /// # Errors
    /// The errors of [`UnverifiedJws::verify`]; [`JwsError::BadSignature`] if no key verifies the signature.
    pub fn verify_with_any<'k>(
        self,
        keys: impl IntoIterator<Item = &'k PublicKey>,
        accepted: &[Algorithm],
    ) -> Result<VerifiedJws, JwsError> {
        self.check_signature(keys, accepted)?;
        let claims = self.claims.into_inner().unwrap_or_else(|| claims_of(self.payload))?;
        Ok(VerifiedJws { header: self.header, claims })
    }
}

impl fmt::Debug for UnverifiedJws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJws").field("header", &self.header).finish_non_exhaustive()
    }
}

/// A JWS whose signature was verified. Only [`UnverifiedJws::verify`] and [`UnverifiedJws::verify_with_any`] return it.
#[derive(Clone, Debug)]
pub struct VerifiedJws {
    header: JwsHeader,
    claims: Claims,
}

impl VerifiedJws {
    /// The header.
    pub fn header(&self) -> &JwsHeader {
        &self.header
    }

    /// The claims that the signer wrote.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns the claims and drops the header.
    pub fn into_claims(self) -> Claims {
        self.claims
    }
}

/// Returns the claims of a token without verifying it.
///
/// Anyone may have written them. Neither header nor signature is decoded. Use [`UnverifiedJws`] to verify the token.
///
/// # Errors
/// [`JwsError`] if the token is too large or does not have three parts, or if the payload is not unpadded base64url of
/// a JSON object without duplicate names.
pub fn unverified_claims(token: &str) -> Result<Claims, JwsError> {
    claims_of(split(token)?.payload)
}

/// Returns all members of a token's header, for display. The token is not verified.
///
/// # Errors
/// [`JwsError`] if the token is too large or does not have three parts, or if the header is not unpadded base64url of a
/// JSON object without duplicate names.
pub fn unverified_header(token: &str) -> Result<Map<String, Value>, JwsError> {
    let header = decode(split(token)?.header, "header")?;
    json::parse_object(&header).map_err(|error| JwsError::Json { part: "header", error })
}

fn claims_of(payload: &str) -> Result<Claims, JwsError> {
    let payload = decode(payload, "payload")?;
    Claims::parse(payload).map_err(|error| JwsError::Json { part: "payload", error })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    fn compact(header: &[u8], payload: &[u8], signature: &[u8]) -> String {
        [header, payload, signature].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
    }

    fn header(json: &str) -> Result<JwsHeader, JwsError> {
        UnverifiedJws::parse(&compact(json.as_bytes(), b"{}", b"s")).map(|jws| jws.header().clone())
    }

    #[test]
    fn debug_shows_nothing_that_makes_a_token() {
        let token = compact(br#"{"alg":"RS256"}"#, br#"{"sub":"payload"}"#, b"signature");
        let jws = UnverifiedJws::parse(&token).unwrap();
        let shown = format!("{jws:?} {jws:#?}");
        assert!(shown.contains("RS256"), "{shown}");
        for part in token.split('.') {
            assert!(!shown.contains(part), "{shown}");
        }
        let bytes = format!("{:?}", b"signature");
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    }

    #[test]
    fn x5c_is_one_text_or_a_list() {
        for json in [
            r#"{"alg":"RS256","x5c":"MAA="}"#,
            r#"{"alg":"RS256","x5c":["MAA=","AAAA"]}"#,
            r#"{"alg":"RS256","x5c":["\nMA\r\nA=\n"]}"#,
        ] {
            assert_eq!(header(json).unwrap().x5c(), Some(&[0x30, 0][..]), "{json}");
        }
        assert_eq!(header(r#"{"alg":"RS256"}"#).unwrap().x5c(), None);
        for wrong in ["7", "[]", "[7]", "{}", "null", r#""MAA""#, r#"["-_==="]"#] {
            let json = format!("{{\"alg\":\"RS256\",\"x5c\":{wrong}}}");
            assert_eq!(header(&json), Err(JwsError::HeaderType { member: "x5c" }), "{json}");
        }
    }

    #[test]
    fn demands_and_spare_bits_are_refused() {
        for json in [r#"{"alg":"RS256","crit":[]}"#, r#"{"alg":"RS256","b64":false}"#] {
            assert_eq!(header(json), Err(JwsError::CriticalExtension), "{json}");
        }
        // The base64url of one byte is two characters, and the second character has four pad bits.
        let token = compact(br#"{"alg":"RS256"}"#, b"{}", b"s");
        let spare = format!("{}{}", &token[..token.len() - 1], "x");
        assert_eq!(UnverifiedJws::parse(&spare).unwrap_err(), JwsError::Base64 { part: "signature" });
    }

    #[test]
    fn an_unknown_algorithm_is_named_without_its_control_characters() {
        let token = compact(br#"{"alg":"\u001b[2J"}"#, b"{}", b"s");
        let jws = UnverifiedJws::parse(&token).unwrap();
        let key = PublicKey::rsa(&[0xff; 256], &[1, 0, 1]).unwrap();
        let error = jws.verify(&key, &[Algorithm::Rs256]).unwrap_err();
        assert_eq!(
            error,
            JwsError::AlgorithmNotAccepted { found: r"\u{1b}[2J".into(), accepted: "RS256".into() }
        );
    }

    #[test]
    fn what_is_assembled_is_read_back() {
        let object = |json: &str| json::parse_object(json.as_bytes()).unwrap();
        let input = signing_input(&object(r#"{"alg":"PS256","typ":"JWT"}"#), &object(r#"{"aud":"x"}"#));
        let token = assemble(input.clone(), b"signature");
        assert!(token.expose().starts_with(&input));
        let jws = UnverifiedJws::parse(token.expose()).unwrap();
        assert_eq!((jws.header().alg(), jws.header().typ()), ("PS256", Some("JWT")));
        assert_eq!(jws.unverified_claims().unwrap().audiences(), ["x"]);
    }

    /// Each value has exactly one encoding: if a text can be decoded, the encoding of the result is the same text.
    #[test]
    fn a_value_has_one_text() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. \n";
        let check = |text: String| match decode(&text, "x") {
            Ok(bytes) => assert_eq!(URL_SAFE_NO_PAD.encode(bytes), text),
            Err(error) => assert_eq!(error, JwsError::Base64 { part: "x" }, "{text:?}"),
        };
        for (one, two) in alphabet.iter().flat_map(|one| alphabet.iter().map(move |two| (*one, *two))) {
            let end = format!("{}{}", char::from(one), char::from(two));
            for before in ["", "Q", "Q-", "QQQQ"] {
                check(format!("{before}{end}"));
            }
        }
        assert_eq!(decode("__-_", "x"), Ok(vec![0xff, 0xff, 0xbf]));
    }

    proptest! {
        #[test]
        fn no_header_payload_or_signature_panics(header: Vec<u8>, payload: Vec<u8>, signature: Vec<u8>) {
            let _ = UnverifiedJws::parse(&compact(&header, &payload, &signature));
            let token = compact(br#"{"alg":"RS256"}"#, &payload, &[signature.as_slice(), b"s"].concat());
            if let Ok(jws) = UnverifiedJws::parse(&token) {
                let _ = jws.unverified_claims();
                let key = PublicKey::rsa(&[0xff; 256], &[1, 0, 1]).unwrap();
                prop_assert!(jws.verify(&key, &[Algorithm::Rs256]).is_err());
            }
        }
    }
}
