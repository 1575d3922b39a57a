//! The compact form of a JWS: three parts in base64url, joined by dots (RFC 7515, section 7.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{JwsError, UnverifiedJws};
use crate::json::Members;
use crate::secret::Secret;

/// The parts of a token, not decoded.
pub(super) struct Parts<'a> {
    pub(super) signing_input: &'a str,
    pub(super) header: &'a str,
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
}

pub(super) fn split(token: &str) -> Result<Parts<'_>, JwsError> {
    if token.len() > UnverifiedJws::MAX_BYTES {
        return Err(JwsError::TooLarge { length: token.len() });
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
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

/// Decodes a part of a token.
pub(crate) fn decode(part: &str, name: &'static str) -> Result<Vec<u8>, JwsError> {
    // This engine uses no vector instructions and no unsafe code. It refuses padding, the characters `+` and `/`, white
    // space, and pad bits that are not zero.
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Base64 { part: name })
}

/// Returns the text that is signed: header and claims in base64url, joined by a dot. Members keep the given order.
pub fn signing_input(header: &Map<String, Value>, claims: &Map<String, Value>) -> String {
    // A map of JSON values always serialises.
    let part = |map: &Map<String, Value>| URL_SAFE_NO_PAD.encode(serde_json::to_vec(map).unwrap_or_default());
    format!("{}.{}", part(header), part(claims))
}

/// Joins the signed text and its signature into a compact JWS.
pub fn assemble(signing_input: String, signature: &[u8]) -> Secret {
    let signing_input = zeroize::Zeroizing::new(signing_input);
    Secret::new(format!("{}.{}", *signing_input, URL_SAFE_NO_PAD.encode(signature)))
}
