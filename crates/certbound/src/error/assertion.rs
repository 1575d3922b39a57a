//! The reasons why a text is not an assertion.

use certbound_core::jws::JwsError;
use strum::EnumProperty as _;

/// The reason why Leg 2 cannot exchange a text as an assertion. The error contains no part of the assertion except the
/// claims that it names.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum AssertionError {
    /// The assertion is empty.
    #[error("the assertion is empty")]
    #[strum(props(code = "invalid_client_assertion"))]
    #[strum(props(
        fix = "give the access token of Leg 1: one line of three parts that are separated by dots"
    ))]
    Empty,
    /// The assertion is not a compact JWT.
    #[error("the assertion is not a JWT: {0}")]
    #[strum(props(code = "assertion_not_jwt"))]
    #[strum(props(
        fix = "give the access token of Leg 1: one line of three parts that are separated by dots"
    ))]
    NotJwt(JwsError),
    /// The assertion is opaque or encrypted.
    #[error(
        "the assertion is opaque or encrypted, so the client cannot check that it is bound to the certificate"
    )]
    #[strum(props(code = "assertion_not_jwt"))]
    #[strum(props(fix = "configure the token service to issue assertions as signed JWTs"))]
    Unreadable,
    /// The assertion has no valid `aud`.
    #[error("the assertion has no valid audience (`aud`)")]
    #[strum(props(code = "assertion_wrong_audience"))]
    #[strum(props(
        fix = "get the assertion by Leg 1 (`certbound assertion`), which requests the token-exchange audience"
    ))]
    NoAudience,
    /// An audience of the assertion is not the token exchange.
    #[error("the assertion's audience is `{found}` instead of the token-exchange audience")]
    #[strum(props(code = "assertion_wrong_audience"))]
    #[strum(props(
        fix = "get the assertion by Leg 1 (`certbound assertion`), which requests the token-exchange audience"
    ))]
    WrongAudience {
        /// The first audience that is not the token exchange, shortened.
        found: String,
    },
    /// The assertion has no valid `exp`.
    #[error("the assertion has no valid expiry (`exp`)")]
    #[strum(props(code = "assertion_without_expiry"))]
    #[strum(props(fix = "use the access token of Leg 1 (`certbound assertion`) as the assertion"))]
    NoExpiry,
    /// The assertion has no `cnf`.
    #[error("the assertion is not bound to a certificate (no `cnf`)")]
    #[strum(props(code = "assertion_not_bound"))]
    #[strum(props(
        fix = "request a bound token in Leg 1 (`mtls_pop`), because a Bearer token cannot be exchanged as jwt-pop"
    ))]
    NotBound,
    /// The assertion's `cnf` is not a certificate binding.
    #[error("the assertion's confirmation claim (`cnf`) is not a certificate binding")]
    #[strum(props(code = "confirmation_invalid"))]
    #[strum(props(
        fix = "obtain the assertion again; if it has the same claim, report the error to the service"
    ))]
    BadConfirmation,
    /// The assertion is bound to a certificate other than the given certificate.
    #[error(
        "the assertion is bound to the certificate {found}; the certificate given with the assertion is {expected}"
    )]
    #[strum(props(code = "bound_to_another", fix = "give the certificate that Leg 1 presented"))]
    BoundToAnother {
        /// The `x5t#S256` of the given certificate.
        expected: String,
        /// The `x5t#S256` in the assertion.
        found: String,
    },
}

impl AssertionError {
    /// Returns MSAL's name for this error, or certbound's own name if MSAL has no name.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}
