//! What can go wrong, split by who is to blame.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::endpoint::EndpointError;
use certbound_core::refusal::AuthorityError;
use certbound_core::response::MalformedAnswer;
use certbound_core::time::UnixTime;

use crate::assertion::AssertionError;
use crate::certificate::BindingCertificateError;
use crate::transport::TransportError;

/// Which half of the two-leg flow an error belongs to. The direct flow has no legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// Obtaining the assertion.
    One,
    /// Exchanging it for the resource's token.
    Two,
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "Leg 1",
            Self::Two => "Leg 2",
        })
    }
}

/// Why no token, or no answer of a resource, came back. Nothing was cached.
///
/// `code()` is MSAL's string where MSAL has one, `fix()` says what to do, and `is_transient()` whether the same call
/// may succeed later. No variant holds a secret.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The caller can see the mistake by reading the calling code or its configuration.
    Misuse {
        /// The leg it was found in.
        leg: Option<Leg>,
        /// What was wrong.
        what: Misuse,
    },
    /// The token service or the resource broke the protocol; its answer was not used.
    PeerMisbehaved {
        /// The leg it was found in.
        leg: Option<Leg>,
        /// What it did.
        what: PeerMisbehaved,
    },
    /// The token service said no; its answer is kept whole.
    Refused {
        /// The leg that was refused.
        leg: Option<Leg>,
        /// What it said.
        answer: Arc<AuthorityError>,
    },
    /// The network, TLS or a limit ended the exchange before an answer was there.
    Transport {
        /// The leg it happened in.
        leg: Option<Leg>,
        /// What happened.
        cause: TransportError,
    },
}

impl Error {
    /// A stable name: MSAL's where it has one, else ours.
    pub fn code(&self) -> &str {
        match self {
            Self::Misuse { what, .. } => what.code(),
            Self::PeerMisbehaved { what, .. } => what.code(),
            Self::Refused { answer, .. } => &answer.code,
            Self::Transport { cause, .. } => cause.code(),
        }
    }

    /// What to do about it.
    pub fn fix(&self) -> String {
        match self {
            Self::Misuse { what, .. } => what.fix(),
            Self::PeerMisbehaved { what, .. } => what.fix().to_owned(),
            Self::Refused { answer, .. } => answer
                .fix()
                .unwrap_or(
                    "look the code up in the service's documentation; give its support the correlation id",
                )
                .to_owned(),
            Self::Transport { cause, .. } => cause.fix().to_owned(),
        }
    }

    /// The leg it happened in; none in the direct flow and at a resource.
    pub fn leg(&self) -> Option<Leg> {
        match self {
            Self::Misuse { leg, .. }
            | Self::PeerMisbehaved { leg, .. }
            | Self::Refused { leg, .. }
            | Self::Transport { leg, .. } => *leg,
        }
    }

    /// The service's own number, such as 500181 of `AADSTS500181`.
    pub fn aadsts(&self) -> Option<u32> {
        match self {
            Self::Refused { answer, .. } => answer.aadsts(),
            _ => None,
        }
    }

    /// The service's correlation id, where it gave one.
    pub fn correlation_id(&self) -> Option<&str> {
        match self {
            Self::Refused { answer, .. } => answer.correlation_id.as_deref(),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without a change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Misuse { .. } => false,
            Self::PeerMisbehaved { what, .. } => what.is_transient(),
            Self::Refused { answer, .. } => answer.is_transient(),
            Self::Transport { cause, .. } => cause.is_transient(),
        }
    }

    pub(crate) fn misuse(leg: Option<Leg>, what: impl Into<Misuse>) -> Self {
        Self::Misuse { leg, what: what.into() }
    }

    pub(crate) fn peer(leg: Option<Leg>, what: PeerMisbehaved) -> Self {
        Self::PeerMisbehaved { leg, what }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(leg) = self.leg() {
            write!(f, "{leg}: ")?;
        }
        match self {
            Self::Misuse { what, .. } => what.fmt(f),
            Self::PeerMisbehaved { what, .. } => what.fmt(f),
            Self::Refused { answer, .. } => write!(f, "the token service refused: {answer}"),
            Self::Transport { cause, .. } => cause.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

/// A mistake of the caller.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// The certificate, its key or its file.
    #[error(transparent)]
    Certificate(#[from] BindingCertificateError),
    /// An assertion from outside.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The authority cannot take the request.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The binding certificate is out of its validity period.
    #[error(
        "the binding certificate is not valid now: valid from {not_before} to {not_after}, and it is {now}"
    )]
    CertificateNotValidNow {
        /// Start of validity.
        not_before: UnixTime,
        /// End of validity.
        not_after: UnixTime,
        /// The time it was compared with.
        now: UnixTime,
    },
    /// The assertion has expired, or would before the service could read it.
    #[error("the assertion expired: it ends at {expired}, and it is {now}")]
    AssertionExpired {
        /// When it ends.
        expired: UnixTime,
        /// The time it was compared with.
        now: UnixTime,
    },
    /// A one-shot assertion was asked for a second time.
    #[error("this assertion was already exchanged once")]
    AssertionSpent,
    /// Leg 1 kept answering with another certificate than the one it named.
    #[error("Leg 1 named the certificate {expected} and then delivered an assertion bound to {found}, twice")]
    BindingChanged {
        /// The certificate that was named.
        expected: Thumbprint,
        /// The certificate of the assertion.
        found: Thumbprint,
    },
    /// Leg 1's own code failed.
    #[error("Leg 1 could not provide an assertion: {0}")]
    AssertionProvider(String),
    /// `.force_refresh()` and `.rejected(..)` on one call.
    #[error("a forced refresh and a rejected token's hash were given together")]
    ForceAndRejected,
    /// A claims challenge that has to be merged and is not a JSON object.
    #[error("the claims challenge is not a JSON object")]
    ClaimsNotJson,
    /// `.query(..)` with a name the token endpoint reserves, or that cannot stand in a URL.
    #[error("the query parameter `{name}` cannot be added to the token endpoint")]
    QueryParameter {
        /// Its name.
        name: String,
    },
    /// A call to a resource that no token may be sent to.
    #[error("the request cannot be sent to a resource: {reason}")]
    ResourceRequest {
        /// What is wrong with it.
        reason: String,
    },
}

impl Misuse {
    /// MSAL's name where it has one, else ours.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Certificate(error) => error.code(),
            Self::Assertion(error) => error.code(),
            Self::Endpoint(error) => error.code(),
            Self::CertificateNotValidNow { .. } => "certificate_not_valid_now",
            Self::AssertionExpired { .. } => "assertion_expired",
            Self::AssertionSpent => "assertion_spent",
            Self::BindingChanged { .. } => "binding_changed",
            Self::AssertionProvider(_) => "assertion_provider_failed",
            Self::ForceAndRejected => "force_refresh_and_token_hash_not_compatible",
            Self::ClaimsNotJson => "invalid_json_claims_format",
            Self::QueryParameter { .. } => "invalid_query_parameter",
            Self::ResourceRequest { .. } => "invalid_resource_request",
        }
    }

    /// What to do.
    pub fn fix(&self) -> String {
        match self {
            Self::Certificate(error) => return error.fix().to_owned(),
            Self::Assertion(error) => return error.fix().to_owned(),
            Self::Endpoint(error) => return error.fix().to_owned(),
            Self::CertificateNotValidNow { .. } => {
                "use a certificate that is valid now, or set the clock right"
            }
            Self::AssertionExpired { .. } => "run Leg 1 again; an assertion is made for one exchange",
            Self::AssertionSpent => {
                "give the client a Leg 1 (`with_assertions(client)`) instead of one assertion"
            }
            Self::BindingChanged { .. } => "name and deliver one certificate for the whole of an exchange",
            Self::AssertionProvider(_) => "see the provider's own error",
            Self::ForceAndRejected => "use one of the two",
            Self::ClaimsNotJson => "pass the challenge on as the resource gave it, decoded from base64",
            Self::QueryParameter { .. } => "use a name and a value of printable characters without spaces",
            Self::ResourceRequest { .. } => "send an absolute https:// URL without an Authorization header",
        }
        .to_owned()
    }
}

/// An answer that broke the protocol. It was refused whole: nothing of it was cached or handed on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// Not an OAuth answer.
    #[error(transparent)]
    Malformed(#[from] MalformedAnswer),
    /// Another token type than the one asked for: a bound request never accepts a plain token.
    #[error("asked for a token of type `{asked}` and got `{found}`")]
    TokenTypeDowngraded {
        /// What was asked for.
        asked: &'static str,
        /// What came.
        found: String,
    },
    /// The token is bound to another certificate.
    #[error("the token is bound to the certificate {found}, not to ours, {expected}")]
    BoundToAnother {
        /// Our certificate.
        expected: Thumbprint,
        /// What the token's `cnf` says.
        found: String,
    },
    /// The token's `cnf` is not a certificate binding.
    #[error("the token's confirmation claim is not a certificate binding: {0}")]
    BadConfirmation(String),
    /// An assertion without a binding.
    #[error("the assertion from Leg 1 is not bound to any certificate")]
    AssertionNotBound,
    /// An assertion that cannot be read.
    #[error("the assertion from Leg 1 is not usable: {0}")]
    BadAssertion(AssertionError),
    /// The answer names scopes, and not the one asked for.
    #[error("asked for the scope `{asked}`; the answer is for `{found}`")]
    ScopeMismatch {
        /// What was asked for.
        asked: String,
        /// What the answer names.
        found: String,
    },
    /// The token has no life left.
    #[error("the token was already over when it came: it ends at {expired}, and it is {now}")]
    TokenOver {
        /// When it ends.
        expired: UnixTime,
        /// The time it was compared with.
        now: UnixTime,
    },
}

impl PeerMisbehaved {
    /// MSAL's name where it has one, else ours.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(error) => error.code(),
            Self::TokenTypeDowngraded { .. } => "token_type_mismatch",
            Self::BoundToAnother { .. } => "bound_to_another",
            Self::BadConfirmation(_) => "confirmation_invalid",
            Self::AssertionNotBound => "assertion_not_bound",
            Self::BadAssertion(error) => error.code(),
            Self::ScopeMismatch { .. } => "scope_mismatch",
            Self::TokenOver { .. } => "token_over",
        }
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Malformed(error) => error.fix(),
            Self::TokenTypeDowngraded { .. } => {
                "the service or region does not bind tokens for this application or resource: try without a region, \
                 and have the application and resource enabled"
            }
            Self::BoundToAnother { .. } | Self::BadConfirmation(_) => {
                "do not use the token; something between here and the service presents another certificate"
            }
            Self::AssertionNotBound => {
                "Leg 1 must ask for a bound token; use a client with a certificate as Leg 1"
            }
            Self::BadAssertion(error) => error.fix(),
            Self::ScopeMismatch { .. } => "check the scope; report it to the service if it is right",
            Self::TokenOver { .. } => "set the clock right",
        }
    }

    fn is_transient(&self) -> bool {
        // A cold global endpoint has been seen answering 307; a later request may not meet it.
        matches!(self, Self::Malformed(MalformedAnswer::Redirect { .. }))
    }
}

/// Margin before an expiry within which an assertion is no longer sent.
pub(crate) const ASSERTION_MARGIN: Duration = Duration::from_secs(30);
