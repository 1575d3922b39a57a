//! The `Authorization` header: exactly one header, with a scheme, a space and a token.

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::refusal::Refusal;

/// The scheme under which a token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::EnumString)]
#[strum(ascii_case_insensitive)]
#[non_exhaustive]
pub enum Scheme {
    /// `mtls_pop`, Microsoft's own scheme for certificate-bound tokens.
    #[strum(serialize = "mtls_pop")]
    MtlsPop,
    /// `Bearer` (RFC 6750).
    Bearer,
}

/// A token and the scheme under which it was sent. The token is not parsed.
///
/// `Debug` does not show the token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Authorization<'a> {
    scheme: Scheme,
    token: &'a str,
}

impl<'a> Authorization<'a> {
    /// Makes a value for a token that was sent under `scheme`, but not in a header.
    pub fn new(scheme: Scheme, token: &'a str) -> Self {
        Self { scheme, token }
    }

    /// Reads the only `Authorization` header.
    ///
    /// The scheme may be in upper or lower case (RFC 9110, section 11.1), and exactly one space must follow. The
    /// grammar allows more spaces, but no client sends them. With a strict form, two servers cannot read one header
    /// differently.
    ///
    /// # Errors
    /// [`Refusal::NoCredentials`] without the header, [`Refusal::UnknownScheme`] for an unknown scheme, and
    /// [`Refusal::MalformedAuthorization`] for several headers, values joined by a comma, and any other form.
    pub fn from_headers(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let value = all.next().ok_or(Refusal::NoCredentials)?;
        if all.next().is_some() {
            return Err(Refusal::MalformedAuthorization);
        }
        Self::parse(value.as_bytes())
    }

    /// Parses the value of an `Authorization` header.
    ///
    /// # Errors
    /// [`Refusal::UnknownScheme`] and [`Refusal::MalformedAuthorization`], as for [`Authorization::from_headers`].
    pub fn parse(value: &'a [u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::MalformedAuthorization;
        let text = std::str::from_utf8(value).map_err(|_| malformed.clone())?;
        if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(malformed);
        }
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.is_empty() {
            return Err(malformed);
        }
        let scheme = scheme.parse().map_err(|_| Refusal::UnknownScheme)?;
        // The characters of a b64token (RFC 6750, section 2.1). A comma would begin a second credential.
        let is_b64token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if token.is_empty() || !token.bytes().all(is_b64token) {
            return Err(malformed);
        }
        Ok(Self { scheme, token })
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The token. Keep it out of logs and errors.
    pub fn token(&self) -> &'a str {
        self.token
    }
}

impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorization({}, {} bytes)", self.scheme, self.token.len())
    }
}
