//! Answers that broke the protocol.

use certbound_core::authority::instance::InstanceError;
use certbound_core::authority::server_metadata::MetadataError;
use certbound_core::certificate::Thumbprint;
use certbound_core::jws::JwsError;
use certbound_core::own_secrets::OwnSecrets;
use certbound_core::request::MTLS_POP;
use certbound_core::response::MalformedAnswer;
use certbound_core::time::UnixTime;
use strum::EnumProperty as _;

use crate::error::AssertionError;

/// A response that broke the protocol. No token of it was cached or returned.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// The response is not a valid OAuth response.
    #[error(transparent)]
    Malformed(#[from] MalformedAnswer),
    /// The token's type is not the requested type. A request for a bound token never accepts an unbound token.
    #[error("the client requested a token of the type `{asked}`, but the answer has the type `{found}`")]
    #[strum(props(code = "token_type_mismatch"))]
    #[strum(props(
        fix = "the service or region does not bind tokens for this application or resource: remove the region, or ask Microsoft to enable the application and the resource"
    ))]
    TokenTypeDowngraded {
        /// The requested type.
        asked: &'static str,
        /// The type of the token.
        found: String,
    },
    /// A bound token was requested, but neither the token type nor the token shows a binding.
    #[error("the client cannot check that the token is bound to its certificate: {reason}")]
    #[strum(props(code = "token_not_bound"))]
    #[strum(props(
        fix = "configure the issuer so that it binds this client's tokens and issues them as JWTs, or request a Bearer token"
    ))]
    NotBound {
        /// The reason why the binding cannot be determined.
        reason: &'static str,
    },
    /// The response states that the token is bound, but the token names no certificate.
    #[error(
        "the answer has the type `mtls_pop`, but its token has no confirmation claim (`cnf`): every holder can use the token"
    )]
    #[strum(props(code = "confirmation_missing"))]
    #[strum(props(
        fix = "configure the service to bind this application's tokens for the resource, or request a Bearer token"
    ))]
    ConfirmationMissing,
    /// The response has the type `mtls_pop`, but the token is a JWT that resources could read in several ways.
    #[error("the answer has the type `mtls_pop`, but its token is an ambiguous JWT: {0}")]
    #[strum(props(code = "token_unreadable"))]
    #[strum(props(
        fix = "report the error to the service; a proxy between this program and the service may have changed the token"
    ))]
    TokenUnreadable(JwsError),
    /// The token is opaque or encrypted, and the client requires a readable binding.
    #[error(
        "the token is opaque or encrypted, so the client cannot check that it is bound to its certificate"
    )]
    #[strum(props(code = "binding_not_observed"))]
    #[strum(props(
        fix = "configure the resource so that the service issues its tokens as signed JWTs, or leave out require_observed_binding() (--require-observed-binding)"
    ))]
    BindingNotObserved,
    /// An issuer's metadata is unusable.
    #[error(transparent)]
    Metadata(MetadataError),
    /// The response of instance discovery is unusable.
    #[error("instance discovery failed: {0}")]
    #[strum(props(code = "invalid_instance_metadata"))]
    #[strum(props(
        fix = "check the authority's host; if you trust the host, build the client with without_authority_validation()"
    ))]
    InstanceMetadata(InstanceError),
    /// The host does not identify itself as an AD FS server.
    #[error("{host} does not identify itself as an AD FS server")]
    #[strum(props(code = "invalid_authority"))]
    #[strum(props(
        fix = "check the authority's host; if you trust the host, build the client with without_authority_validation()"
    ))]
    NotAFederationServer {
        /// The host.
        host: String,
    },
    /// The URL of a document about the authority cannot be requested.
    #[error("`{url}` is not a valid URL for a request")]
    #[strum(props(code = "invalid_authority"))]
    #[strum(props(
        fix = "check the authority's host; if you trust the host, build the client with without_authority_validation()"
    ))]
    DiscoveryUrl {
        /// The start of the URL.
        url: String,
    },
    /// The token is bound to a different certificate.
    #[error("the token is bound to the certificate {found}, but the client uses {expected}")]
    #[strum(props(code = "bound_to_another"))]
    #[strum(props(
        fix = "find out whether a proxy between this program and the service presents a different certificate"
    ))]
    BoundToAnother {
        /// The client's certificate.
        expected: Thumbprint,
        /// The certificate that the token's `cnf` names.
        found: String,
    },
    /// The token's `cnf` is not a certificate binding.
    #[error("the token's confirmation claim is not a certificate binding: {0}")]
    #[strum(props(code = "confirmation_invalid", fix = "report the error to the service"))]
    BadConfirmation(String),
    /// The assertion from Leg 1 is not bound to a certificate.
    #[error("the assertion from Leg 1 is not bound to any certificate")]
    #[strum(props(code = "assertion_not_bound"))]
    #[strum(props(
        fix = "use a client with a certificate as Leg 1, because Leg 1 must request a bound token"
    ))]
    AssertionNotBound,
    /// The assertion from Leg 1 is unusable.
    #[error("the assertion from Leg 1 is not usable: {0}")]
    BadAssertion(AssertionError),
    /// The response names scopes, but not the requested scope.
    #[error("the client requested the scope `{asked}`, but the answer is for `{found}`")]
    #[strum(props(
        code = "scope_mismatch",
        fix = "check the scope; if the scope is correct, report the error to the service"
    ))]
    ScopeMismatch {
        /// The requested scope.
        asked: String,
        /// The scopes that the response names.
        found: String,
    },
    /// The token had expired when it arrived.
    #[error("the token had expired when it arrived: it expired at {expired}, and the clock shows {now}")]
    #[strum(props(code = "token_over", fix = "correct the clock of this machine"))]
    TokenOver {
        /// The time at which the token expired.
        expired: UnixTime,
        /// The current time in the comparison.
        now: UnixTime,
    },
}

impl PeerMisbehaved {
    /// Returns MSAL's name for this error, or certbound's own name if MSAL has no name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(error) => error.code(),
            Self::Metadata(error) => error.code(),
            Self::BadAssertion(error) => error.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Malformed(error) => error.fix(),
            Self::Metadata(error) => error.fix(),
            Self::BadAssertion(error) => error.fix(),
            Self::TokenTypeDowngraded { asked, .. } if *asked != MTLS_POP => {
                "report the error to the service; a proxy between this program and the service may have changed the answer"
            }
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }

    /// Removes the client's own secrets from the quoted parts of the response.
    pub(crate) fn redact(&mut self, secrets: &OwnSecrets) {
        match self {
            Self::Malformed(malformed) => malformed.redact(secrets),
            Self::TokenTypeDowngraded { found, .. }
            | Self::BoundToAnother { found, .. }
            | Self::ScopeMismatch { found, .. } => secrets.redact(found),
            _ => {}
        }
    }

    pub(crate) fn is_transient(&self) -> bool {
        // A global endpoint that was idle has been observed to return 307; a later request may succeed.
        matches!(self, Self::Malformed(MalformedAnswer::Redirect { .. }))
    }
}
