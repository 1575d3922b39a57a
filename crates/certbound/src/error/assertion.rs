//! Why a text is not an assertion.

use certbound_core::jws::JwsError;
use strum::EnumProperty as _;

/// Why a text is not an assertion that Leg 2 can exchange. Holds nothing of the assertion but claims it names.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum AssertionError {
    /// Nothing was given.
    #[error("the assertion is empty")]
    #[strum(props(code = "invalid_client_assertion"))]
    #[strum(props(fix = "give Leg 1's access token, one line of three parts joined by dots"))]
    Empty,
    /// Not a compact JWT.
    #[error("the assertion is not a JWT: {0}")]
    #[strum(props(code = "assertion_not_jwt"))]
    #[strum(props(fix = "give Leg 1's access token, one line of three parts joined by dots"))]
    NotJwt(JwsError),
    /// Opaque or encrypted.
    #[error("the assertion is opaque or encrypted, so it cannot be seen to be bound to the certificate")]
    #[strum(props(code = "assertion_not_jwt"))]
    #[strum(props(fix = "have the token service issue its assertions as signed JWTs"))]
    Unreadable,
    /// A token for something else than the token exchange.
    #[error("the assertion is for `{found}`, not for the token exchange")]
    #[strum(props(code = "assertion_wrong_audience"))]
    #[strum(props(fix = "run Leg 1 (`certbound assertion`), which asks for the exchange scope by itself"))]
    WrongAudience {
        /// Its audience, shortened.
        found: String,
    },
    /// No `exp`.
    #[error("the assertion has no expiry (`exp`)")]
    #[strum(props(code = "assertion_without_expiry"))]
    #[strum(props(fix = "obtain the assertion from the token service again"))]
    NoExpiry,
    /// No `cnf`.
    #[error("the assertion is not bound to a certificate (no `cnf`)")]
    #[strum(props(code = "assertion_not_bound"))]
    #[strum(props(fix = "run Leg 1 bound (`mtls_pop`); a plain token cannot be exchanged as jwt-pop"))]
    NotBound,
    /// A `cnf` that is no certificate binding.
    #[error("the assertion's confirmation claim (`cnf`) is not a certificate binding")]
    #[strum(props(code = "confirmation_invalid", fix = "obtain the assertion from the token service again"))]
    BadConfirmation,
    /// Bound to another certificate than the one given with it.
    #[error("the assertion is bound to the certificate {found}; the one given with it is {expected}")]
    #[strum(props(code = "bound_to_another", fix = "give the certificate that Leg 1 ran with"))]
    BoundToAnother {
        /// `x5t#S256` of the certificate given.
        expected: String,
        /// What the assertion says.
        found: String,
    },
}

impl AssertionError {
    /// MSAL's name where it has one, else ours.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}
