//! The `Authorization` header: one, of the form scheme, space, token.

use std::fmt;

use certbound_core::request::MTLS_POP;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::refusal::Refusal;

/// How a token was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `mtls_pop`, Microsoft's own scheme for certificate-bound tokens.
    MtlsPop,
    /// `Bearer` (RFC 6750).
    Bearer,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MtlsPop => MTLS_POP,
            Self::Bearer => "Bearer",
        })
    }
}

/// A token with the scheme it was sent under. Nothing of the token was read.
///
/// `Debug` does not show the token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Authorization<'a> {
    scheme: Scheme,
    token: &'a str,
}

impl<'a> Authorization<'a> {
    /// A token that came under `scheme` some other way than by a header.
    pub fn new(scheme: Scheme, token: &'a str) -> Self {
        Self { scheme, token }
    }

    /// The one `Authorization` header.
    ///
    /// Schemes are told apart without regard to case (RFC 9110, section 11.1); exactly one space follows. The grammar
    /// would allow more, but no client sends more, and two readers that disagree are worse than one that is strict.
    ///
    /// # Errors
    /// [`Refusal::NoCredentials`] without the header, [`Refusal::UnknownScheme`] for another scheme, and
    /// [`Refusal::MalformedAuthorization`] for several headers, values joined by a comma, and anything but the form
    /// above.
    pub fn from_headers(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let value = all.next().ok_or(Refusal::NoCredentials)?;
        if all.next().is_some() {
            return Err(Refusal::MalformedAuthorization);
        }
        Self::parse(value.as_bytes())
    }

    /// The value of an `Authorization` header.
    ///
    /// # Errors
    /// As [`Authorization::from_headers`].
    pub fn parse(value: &'a [u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::MalformedAuthorization;
        let text = std::str::from_utf8(value).map_err(|_| malformed.clone())?;
        if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(malformed);
        }
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        let scheme = if scheme.eq_ignore_ascii_case(MTLS_POP) {
            Scheme::MtlsPop
        } else if scheme.eq_ignore_ascii_case("Bearer") {
            Scheme::Bearer
        } else if scheme.is_empty() {
            return Err(malformed);
        } else {
            return Err(Refusal::UnknownScheme);
        };
        // RFC 6750, section 2.1: b64token. A comma would begin a second credential.
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

    /// The token itself. Keep it out of logs and errors.
    pub fn token(&self) -> &'a str {
        self.token
    }
}

impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorization({}, {} bytes)", self.scheme, self.token.len())
    }
}
