//! The errors of reading and verifying a token.

use super::UnverifiedJws;
use crate::json::JsonError;

/// The reason why a text is not an acceptable token. The error contains no values of claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// The token is larger than [`UnverifiedJws::MAX_BYTES`].
    #[error("it is {length} bytes long; at most {} bytes are accepted", UnverifiedJws::MAX_BYTES)]
    TooLarge {
        /// The length of the token in bytes.
        length: usize,
    },
    /// The token does not have three parts joined by dots.
    #[error("it has {count} {} joined by dots instead of three", if *.count == 1 { "part" } else { "parts" })]
    NotThreeParts {
        /// The number of its parts.
        count: usize,
    },
    /// The token is a JWE (RFC 7516): only the recipient's key can decrypt its claims.
    #[error("it is encrypted (a JWE), but only a signed token (a JWS) can be read")]
    Encrypted,
    /// One of the parts is empty.
    #[error("one of its parts is empty")]
    EmptyPart,
    /// A part is not unpadded base64url, or has pad bits that are not zero.
    #[error("its {part} is not unpadded base64url")]
    Base64 {
        /// The name of the part.
        part: &'static str,
    },
    /// A part is not an acceptable JSON object.
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
    #[error("its header requires an extension that is not supported")]
    CriticalExtension,
    /// The algorithm is not one of the accepted algorithms.
    #[error("its algorithm `{found}` is not accepted; the accepted algorithms are {accepted}")]
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
