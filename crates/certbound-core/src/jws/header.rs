//! The header of a compact JWS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::JwsError;
use crate::json::Members;

/// The JOSE header. `jwk`, `jku` and `x5u` are not read: a token must not choose the key with which it is verified.
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
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, JwsError> {
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

/// Reads `x5c`. The standard form is a list (RFC 7515, section 4.1.6), but some clients of the token service send one
/// string.
fn first_certificate(header: &Members) -> Result<Option<Vec<u8>>, JwsError> {
    if !header.contains("x5c") {
        return Ok(None);
    }
    let wrong = JwsError::HeaderType { member: "x5c" };
    let first = || header.value("x5c")?.as_array()?.first()?.as_str();
    let text = header.string("x5c").or_else(first).ok_or(wrong.clone())?;
    // MSAL for Python leaves the line breaks of the PEM file in the string.
    let text: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(text).map(Some).map_err(|_| wrong)
}
