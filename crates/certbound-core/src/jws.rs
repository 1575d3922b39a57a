//! Compact JWS (RFC 7515): parses it strictly, verifies it into a type of its own, and assembles it.

mod algorithm;
mod key;

use std::fmt;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

pub use self::algorithm::Algorithm;
pub use self::key::{KeyError, PublicKey};
use crate::bytes;
use crate::json::{self, JsonError, Members};
use crate::jwt::{Claims, Confirmation};
use crate::secret::Secret;
use crate::shown::shown;

/// A compact JWS whose parts were read and whose signature was not verified.
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
    /// [`JwsError`] if the token is too large, has not three parts, or if header or signature are not unpadded
    /// base64url without spare bits. The header must be a JSON object without duplicate names, with `alg`, and without
    /// `crit` and `b64`.
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

    /// Returns the claims, which anyone may have written. The payload is parsed on the first call only.
    ///
    /// # Errors
    /// [`JwsError`] if the payload is not base64url of a JSON object without duplicate names.
    pub fn unverified_claims(&self) -> Result<&Claims, JwsError> {
        self.claims.get_or_init(|| claims_of(self.payload)).as_ref().map_err(Clone::clone)
    }

    /// Returns the algorithm of the header, if it is one of `accepted`.
    ///
    /// # Errors
    /// [`JwsError::AlgorithmNotAccepted`] if it is not.
    pub fn algorithm(&self, accepted: &[Algorithm]) -> Result<Algorithm, JwsError> {
        let found = accepted.iter().find(|algorithm| algorithm.name() == self.header.alg);
        found.copied().ok_or_else(|| JwsError::AlgorithmNotAccepted {
            found: shown(&self.header.alg),
            accepted: Algorithm::names(accepted),
        })
    }

    /// Checks that the signature is valid under one of `keys`. The token stays an [`UnverifiedJws`].
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
    /// It checks no claims: neither times nor audience nor issuer.
    ///
    /// # Errors
    /// [`JwsError`] if the algorithm is not accepted or does not fit the key, if the signature is not valid, or if the
    /// payload is not a JSON object without duplicate names.
    pub fn verify(self, key: &PublicKey, accepted: &[Algorithm]) -> Result<VerifiedJws, JwsError> {
        self.verify_with_any([key], accepted)
    }

    /// Verifies the signature with `keys`. It is enough that one of them verifies it.
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

/// The JOSE header. `jwk`, `jku` and `x5u` are not read: a token must not choose the key it is verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwsHeader {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    x5t: Option<String>,
    x5t_s256: Option<String>,
    x5c: Option<Vec<u8>>,
}

impl JwsHeader {
    fn parse(bytes: Vec<u8>) -> Result<Self, JwsError> {
        let members = Members::parse(bytes).map_err(|error| JwsError::Json { part: "header", error })?;
        if members.contains("crit") || members.contains("b64") {
            return Err(JwsError::CriticalExtension);
        }
        let text = |name: &'static str| match members.string(name) {
            None if members.contains(name) => Err(JwsError::HeaderType { member: name }),
            text => Ok(text.map(str::to_owned)),
        };
        Ok(Self {
            alg: text("alg")?.ok_or(JwsError::NoAlgorithm)?,
            typ: text("typ")?,
            kid: text("kid")?,
            x5t: text("x5t")?,
            x5t_s256: text("x5t#S256")?,
            x5c: first_certificate(&members)?,
        })
    }

    /// `alg`.
    pub fn alg(&self) -> &str {
        &self.alg
    }

    /// `typ`.
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// `x5t`: SHA-1 of the signer's certificate.
    pub fn x5t(&self) -> Option<&str> {
        self.x5t.as_deref()
    }

    /// `x5t#S256`: SHA-256 of the signer's certificate.
    pub fn x5t_s256(&self) -> Option<&str> {
        self.x5t_s256.as_deref()
    }

    /// The first certificate of `x5c`, in DER. It is not checked; the caller decides whether to trust it.
    pub fn x5c(&self) -> Option<&[u8]> {
        self.x5c.as_deref()
    }
}

/// Reads `x5c`. It is a list (RFC 7515, section 4.1.6), but some clients of the token service send one string.
fn first_certificate(header: &Members) -> Result<Option<Vec<u8>>, JwsError> {
    if !header.contains("x5c") {
        return Ok(None);
    }
    let wrong = JwsError::HeaderType { member: "x5c" };
    let first = || header.other("x5c")?.as_array()?.first()?.as_str();
    let text = header.string("x5c").or_else(first).ok_or(wrong.clone())?;
    // MSAL for Python leaves the line breaks of the PEM file in the string.
    let text: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(text).map(Some).map_err(|_| wrong)
}

/// Returns the claims of a token without verifying it.
///
/// Anyone may have written them. Neither header nor signature is decoded. Use [`UnverifiedJws`] to verify.
///
/// # Errors
/// [`JwsError`] if the token has not three parts, or if the payload is not unpadded base64url of a JSON object without
/// duplicate names.
pub fn unverified_claims(token: &str) -> Result<Claims, JwsError> {
    claims_of(split(token)?.payload)
}

/// Returns the `cnf` claim of a token without verifying it. The rest of the token is ignored.
///
/// # Errors
/// The errors of [`unverified_claims`], but only `cnf` and the names inside it must not be there twice.
pub fn unverified_confirmation(token: &str) -> Result<Confirmation, JwsError> {
    let payload = decode(split(token)?.payload, "payload")?;
    Confirmation::parse(&payload).map_err(|error| JwsError::Json { part: "payload", error })
}

/// Returns the header of a token as it is written, to show it to people. The token is not verified.
///
/// # Errors
/// [`JwsError`] if the token has not three parts, or if the header is not a JSON object without duplicate names.
pub fn unverified_header(token: &str) -> Result<Map<String, Value>, JwsError> {
    let header = decode(split(token)?.header, "header")?;
    json::parse_object(&header).map_err(|error| JwsError::Json { part: "header", error })
}

struct Parts<'a> {
    signing_input: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

fn split(token: &str) -> Result<Parts<'_>, JwsError> {
    if token.len() > UnverifiedJws::MAX_BYTES {
        return Err(JwsError::TooLarge { length: token.len() });
    }
    let parts = split_at_dot(token).and_then(|(header, rest)| Some((header, split_at_dot(rest)?)));
    let three = parts.filter(|(_, (_, signature))| split_at_dot(signature).is_none());
    let Some((header, (payload, signature))) = three else {
        let count = token.split('.').count();
        return Err(if is_encrypted(token, count) {
            JwsError::Encrypted
        } else {
            JwsError::NotThreeParts { count }
        });
    };
    let signing_input = token.get(..header.len() + 1 + payload.len()).unwrap_or_default();
    if header.is_empty() || payload.is_empty() || signature.is_empty() {
        return Err(JwsError::EmptyPart);
    }
    Ok(Parts { signing_input, header, payload, signature })
}

/// Whether the token is a compact JWE (RFC 7516, section 3.1): five parts, and a header with `enc` (section 4.1.2).
fn is_encrypted(token: &str, count: usize) -> bool {
    let header = || decode(token.split('.').next()?, "header").ok();
    count == 5
        && header().and_then(|json| Members::parse(json).ok()).is_some_and(|header| header.contains("enc"))
}

fn split_at_dot(text: &str) -> Option<(&str, &str)> {
    let at = bytes::find(text.as_bytes(), b'.')?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn claims_of(payload: &str) -> Result<Claims, JwsError> {
    let payload = decode(payload, "payload")?;
    Claims::parse(payload).map_err(|error| JwsError::Json { part: "payload", error })
}

fn decode(part: &str, name: &'static str) -> Result<Vec<u8>, JwsError> {
    // This engine is scalar and without unsafe code. It refuses padding, characters of the standard alphabet, white
    // space and spare bits.
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Base64 { part: name })
}

/// Returns the text that is signed: header and claims in base64url, joined by a dot. Members keep the given order.
pub fn signing_input(header: &Map<String, Value>, claims: &Map<String, Value>) -> String {
    // A map of JSON values always serialises.
    let part = |map: &Map<String, Value>| URL_SAFE_NO_PAD.encode(serde_json::to_vec(map).unwrap_or_default());
    format!("{}.{}", part(header), part(claims))
}

/// Joins the signed text and its signature to a compact JWS.
pub fn assemble(signing_input: String, signature: &[u8]) -> Secret {
    let signing_input = zeroize::Zeroizing::new(signing_input);
    Secret::new(format!("{}.{}", *signing_input, URL_SAFE_NO_PAD.encode(signature)))
}

/// Why a text is not an acceptable token. It contains no claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// The token is larger than [`UnverifiedJws::MAX_BYTES`].
    #[error("it is {length} bytes long; at most {} are accepted", UnverifiedJws::MAX_BYTES)]
    TooLarge {
        /// The length of the token in bytes.
        length: usize,
    },
    /// The token does not have three parts joined by dots.
    #[error("it has {count} parts joined by dots instead of three")]
    NotThreeParts {
        /// The number of its parts.
        count: usize,
    },
    /// The token is a JWE (RFC 7516): only the recipient's key can decrypt its claims.
    #[error("it is encrypted (a JWE), and only a signed token (a JWS) can be read")]
    Encrypted,
    /// One of the parts is empty.
    #[error("one of its parts is empty")]
    EmptyPart,
    /// A part is not unpadded base64url, or has spare bits set.
    #[error("its {part} is not unpadded base64url")]
    Base64 {
        /// The name of the part.
        part: &'static str,
    },
    /// A part is not strict JSON.
    #[error("its {part} is not acceptable: {error}")]
    Json {
        /// The name of the part.
        part: &'static str,
        /// The error in the JSON.
        error: JsonError,
    },
    /// A member of the header has the wrong type.
    #[error("its header member `{member}` has the wrong type")]
    HeaderType {
        /// The name of the member.
        member: &'static str,
    },
    /// The header has no `alg`.
    #[error("its header has no `alg`")]
    NoAlgorithm,
    /// The header has `crit` or `b64`.
    #[error("its header demands an extension that is not understood")]
    CriticalExtension,
    /// The algorithm is not one of the accepted ones.
    #[error("its algorithm `{found}` is not accepted; accepted: {accepted}")]
    AlgorithmNotAccepted {
        /// The header's `alg`, shortened and escaped.
        found: String,
        /// The names of the accepted algorithms.
        accepted: String,
    },
    /// The signature is not valid.
    #[error("its signature is not valid")]
    BadSignature,
}

#[cfg(test)]
mod tests {
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
        // One byte takes two characters, and the second one has four spare bits.
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

    /// `decode` accepts exactly what [`URL_SAFE_NO_PAD`] accepts: one text for each value.
    #[test]
    fn both_decoders_agree_on_every_end() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. \n";
        let agree = |text: &[u8]| {
            let text = std::str::from_utf8(text).unwrap();
            assert_eq!(decode(text, "x").ok(), URL_SAFE_NO_PAD.decode(text).ok(), "{text:?}");
        };
        for before in [0, 4, 16, 60] {
            let start = vec![b'Q'; before];
            for one in alphabet {
                agree(&[&start[..], &[*one]].concat());
                for two in alphabet {
                    agree(&[&start[..], &[*one, *two]].concat());
                    agree(&[&start[..], &[b'Q', *one, *two]].concat());
                    agree(&[&start[..], &[b'Q', b'-', *one, *two]].concat());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn both_decoders_agree(text in "[A-Za-z0-9_=+/ -]{0,80}") {
            prop_assert_eq!(decode(&text, "x").ok(), URL_SAFE_NO_PAD.decode(&text).ok());
        }

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
