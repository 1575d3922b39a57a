//! Why a text is not an assertion.

use certbound_core::jws::JwsError;

/// Why a text is not an assertion that Leg 2 can exchange. Holds nothing of the assertion but claims it names.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AssertionError {
    /// Nothing was given.
    #[error("the assertion is empty")]
    Empty,
    /// Not a compact JWT.
    #[error("the assertion is not a JWT: {0}")]
    NotJwt(JwsError),
    /// Opaque or encrypted.
    #[error("the assertion is opaque or encrypted, so it cannot be seen to be bound to the certificate")]
    Unreadable,
    /// A token for something else than the token exchange.
    #[error("the assertion is for `{found}`, not for the token exchange")]
    WrongAudience {
        /// Its audience, shortened.
        found: String,
    },
    /// No `exp`.
    #[error("the assertion has no expiry (`exp`)")]
    NoExpiry,
    /// No `cnf`.
    #[error("the assertion is not bound to a certificate (no `cnf`)")]
    NotBound,
    /// A `cnf` that is no certificate binding.
    #[error("the assertion's confirmation claim (`cnf`) is not a certificate binding")]
    BadConfirmation,
    /// Bound to another certificate than the one given with it.
    #[error("the assertion is bound to the certificate {found}; the one given with it is {expected}")]
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
        match self {
            Self::Empty => "invalid_client_assertion",
            Self::NotJwt(_) | Self::Unreadable => "assertion_not_jwt",
            Self::WrongAudience { .. } => "assertion_wrong_audience",
            Self::NoExpiry => "assertion_without_expiry",
            Self::NotBound => "assertion_not_bound",
            Self::BadConfirmation => "confirmation_invalid",
            Self::BoundToAnother { .. } => "bound_to_another",
        }
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Empty | Self::NotJwt(_) => {
                "give Leg 1's access token, one line of three parts joined by dots"
            }
            Self::Unreadable => "have the token service issue its assertions as signed JWTs",
            Self::WrongAudience { .. } => {
                "run Leg 1 (`certbound assertion`), which asks for the exchange scope by itself"
            }
            Self::NoExpiry | Self::BadConfirmation => "obtain the assertion from the token service again",
            Self::NotBound => "run Leg 1 bound (`mtls_pop`); a plain token cannot be exchanged as jwt-pop",
            Self::BoundToAnother { .. } => "give the certificate that Leg 1 ran with",
        }
    }
}
