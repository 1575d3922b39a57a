//! Mistakes of the caller.

use certbound_core::authority::AuthorityKind;
use certbound_core::authority::instance::InstanceError;
use certbound_core::certificate::Thumbprint;
use certbound_core::endpoint::EndpointError;
use certbound_core::environment::NoExchangeAudience;
use certbound_core::scope::ScopeError;
use certbound_core::time::UnixTime;
use strum::EnumProperty as _;

use crate::error::{AssertionError, BindingCertificateError, CertificateNotValid};

/// A mistake of the caller.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum Misuse {
    /// The certificate, its key or its file is unusable.
    #[error(transparent)]
    Certificate(#[from] BindingCertificateError),
    /// An assertion that was given to the client is unusable.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The authority has no endpoint for the request.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The scope cannot be requested from Entra. [`ResourceScope::of_other_authority`] creates scopes for other
    /// authorities.
    ///
    /// [`ResourceScope::of_other_authority`]: certbound_core::scope::ResourceScope::of_other_authority
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The binding certificate has expired or is not valid yet.
    #[error(transparent)]
    CertificateNotValidNow(#[from] CertificateNotValid),
    /// The assertion has expired, or may expire before the service reads it.
    #[error("the assertion is too old: it expires at {expired}, and the clock shows {now}")]
    #[strum(props(code = "assertion_expired"))]
    #[strum(props(
        fix = "run Leg 1 again, because an assertion is issued for one exchange; or correct this machine's clock"
    ))]
    AssertionExpired {
        /// The end of the assertion's validity.
        expired: UnixTime,
        /// The current time in the comparison.
        now: UnixTime,
    },
    /// An assertion for a single exchange was used a second time.
    #[error("this assertion has already been exchanged")]
    #[strum(props(code = "assertion_spent"))]
    #[strum(props(fix = "give the client a Leg 1 (`with_assertions(client)`) instead of one assertion"))]
    AssertionSpent,
    /// Leg 1 named one certificate, but its assertion was bound to a different certificate, even after the exchange was
    /// repeated.
    #[error(
        "Leg 1 named the certificate {expected}, but its assertion was bound to {found}, even after the exchange was repeated"
    )]
    #[strum(props(code = "binding_changed"))]
    #[strum(props(fix = "use one certificate for the whole exchange"))]
    BindingChanged {
        /// The certificate that was named.
        expected: Thumbprint,
        /// The certificate of the assertion.
        found: Thumbprint,
    },
    /// One call used both `.force_refresh()` and `.rejected(..)`.
    #[error("a forced refresh and a rejected token's hash were given together")]
    #[strum(props(
        code = "force_refresh_and_token_hash_not_compatible",
        fix = "use only one of these two options"
    ))]
    ForceAndRejected,
    /// Claims that must be merged are not a JSON object.
    #[error("the claims challenge or the client's own claims are not a JSON object")]
    #[strum(props(code = "invalid_json_claims_format"))]
    #[strum(props(
        fix = "decode the challenge of the resource from base64, and pass the result unchanged; give the client's own claims as a JSON object"
    ))]
    ClaimsNotJson,
    /// `.query(..)` got a name or a value that cannot be part of a URL, or a name that is reserved for the library.
    #[error("the query parameter `{name}` cannot be added to the token endpoint: {reason}")]
    #[strum(props(code = "invalid_query_parameter"))]
    #[strum(props(
        fix = "use printable characters without spaces; if the library has an option for the parameter, use the option"
    ))]
    QueryParameter {
        /// The parameter's name.
        name: String,
        /// The reason why the parameter cannot be added.
        reason: &'static str,
    },
    /// The URL with the parameters of `.query(..)` is not a URL. The parameter at fault is not known.
    #[error("a query parameter cannot be added to the token endpoint: {}", Misuse::NOT_OF_A_URL)]
    #[strum(props(code = "invalid_query_parameter"))]
    #[strum(props(
        fix = "use printable characters that are allowed in the query of a URL, and shorter values"
    ))]
    QueryNotOfAUrl,
    /// A bound token was requested, but there is no certificate to bind it to.
    #[error("a bound token needs a certificate, but this credential has no certificate")]
    #[strum(props(code = "mtls_certificate_not_provided"))]
    #[strum(props(
        fix = "give the client a certificate, or a Leg 1; a secret or an unbound assertion gets Bearer tokens only"
    ))]
    CertificateNotProvided,
    /// `.body(..)` got a parameter that has a reserved or unprintable name, is given twice, or is empty.
    #[error("the parameter `{name}` cannot be added to the request: {reason}")]
    #[strum(props(code = "invalid_body_parameter"))]
    #[strum(props(
        fix = "if the library has an option for the parameter, use the option; otherwise give the parameter a different name and a value, and give it only once"
    ))]
    BodyParameter {
        /// The parameter's name.
        name: String,
        /// The reason why the parameter cannot be added.
        reason: &'static str,
    },
    /// `.attribute_tokens(..)` got a token that is empty or contains white space.
    #[error("an attribute token is empty or contains white space")]
    #[strum(props(
        code = "invalid_attribute_token",
        fix = "give each attribute token as an item of its own, without white space"
    ))]
    AttributeToken,
    /// `.assertion_claims(..)` got claims that cannot be added to an assertion.
    #[error("the extra claims cannot be added to the client's assertion: {reason}")]
    #[strum(props(code = "invalid_assertion_claims"))]
    #[strum(props(fix = "give a JSON object of claims that the library does not write itself"))]
    AssertionClaims {
        /// The fault of the claims.
        reason: String,
    },
    /// `.assertion_claims(..)` was used for a bound token, which is requested without a signed assertion.
    #[error(
        "claims were given for the client's assertion, but a request for a bound token has no client assertion"
    )]
    #[strum(props(code = "assertion_claims_not_supported"))]
    #[strum(props(fix = "leave the claims out, or request a Bearer token"))]
    AssertionClaimsOfBound,
    /// The client's own assertion is too long.
    #[error(
        "the client's assertion would have {length} characters without its signature; the service accepts at most 65536 characters"
    )]
    #[strum(props(code = "encoded_token_too_long", fix = "add fewer or shorter claims"))]
    AssertionTooLong {
        /// The length of the assertion without its signature, in characters.
        length: usize,
    },
    /// `.tenant(..)` was used with an authority whose tenant cannot be chosen.
    #[error("the tenant of an authority of the kind {kind} cannot be chosen by a request")]
    #[strum(props(code = "tenant_override_not_supported", fix = "leave the tenant out"))]
    NoTenantToChoose {
        /// The kind of the client's authority.
        kind: AuthorityKind,
    },
    /// `.authority(..)` got an authority whose kind differs from the client's.
    #[error(
        "the client's authority is of the kind {configured}; the request's authority is of the kind {asked}"
    )]
    #[strum(props(code = "authority_type_mismatch", fix = "build a client for each kind of authority"))]
    AuthorityType {
        /// The kind of the client's authority.
        configured: AuthorityKind,
        /// The kind of the request's authority.
        asked: AuthorityKind,
    },
    /// `.authority(..)` got a host that is neither the client's host nor an accepted alias of it.
    #[error(
        "the host `{asked}` of the request's authority is not an alias of the client's host `{configured}`"
    )]
    #[strum(props(code = "authority_host_mismatch"))]
    #[strum(props(fix = "build one client for each cloud, or use a host of the client's cloud"))]
    AuthorityHost {
        /// The kind of both authorities.
        kind: AuthorityKind,
        /// The client's host.
        configured: String,
        /// The request's host.
        asked: String,
    },
    /// `.authority(..)` got a different host, but the client has a region.
    #[error(
        "a client with a region cannot use another host: its host is `{configured}`, and the request names `{asked}`"
    )]
    #[strum(props(code = "authority_override_regional"))]
    #[strum(props(fix = "build a client for the other host, or a client without a region"))]
    AuthorityOverrideRegional {
        /// The client's host.
        configured: String,
        /// The request's host.
        asked: String,
    },
    /// The instance metadata given to the client does not contain the authority's host.
    #[error(transparent)]
    InstanceMetadata(#[from] InstanceError),
    /// Leg 1 was requested at an authority that has no token exchange.
    #[error("an authority of the kind {kind} has no token exchange, so it issues no assertion")]
    #[strum(props(code = "token_exchange_not_supported", fix = "use an Entra authority for Leg 1"))]
    NoTokenExchange {
        /// The kind of the authority.
        kind: AuthorityKind,
    },
    /// Leg 1 was requested in a cloud without a token exchange, or at a host of no known cloud.
    #[error(transparent)]
    ExchangeAudience(#[from] NoExchangeAudience),
    /// An acquisition of a managed identity used an option that only clients support, such as a tenant or a parameter.
    #[error(
        "a request to a managed identity cannot have a tenant, an authority, an FMI path, parameters or client claims"
    )]
    #[strum(props(code = "option_not_for_managed_identity"))]
    #[strum(props(fix = "remove the option, because the platform decides these values"))]
    NotForManagedIdentity,
    /// A token must not be sent with this request to a resource.
    #[error("the request cannot be sent to a resource: {reason}")]
    #[strum(props(code = "invalid_resource_request"))]
    #[strum(props(
        fix = "use an absolute https:// URL without a user name, and a method other than CONNECT; remove the header that the message names"
    ))]
    ResourceRequest {
        /// The fault of the request.
        reason: String,
    },
}

impl Misuse {
    /// The reason to refuse a query parameter that cannot be sent.
    pub(crate) const NOT_OF_A_URL: &'static str = "its name or its value cannot be part of a URL";

    /// Returns MSAL's name for this error, or certbound's own name if MSAL has no name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Certificate(error) => error.code(),
            Self::Assertion(error) => error.code(),
            Self::Endpoint(error) => error.code(),
            Self::CertificateNotValidNow(error) => error.code(),
            Self::Scope(error) => error.code(),
            Self::AuthorityHost { kind: AuthorityKind::B2c, .. } => "B2C_authority_host_mismatch",
            Self::InstanceMetadata(error) => error.code(),
            Self::ExchangeAudience(error) => error.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Certificate(error) => error.fix(),
            Self::Assertion(error) => error.fix(),
            Self::Endpoint(error) => error.fix(),
            Self::CertificateNotValidNow(error) => error.fix(),
            Self::Scope(error) => error.fix(),
            Self::AuthorityHost {
                kind: AuthorityKind::B2c | AuthorityKind::Adfs | AuthorityKind::Dsts,
                ..
            } => "build a client for each host",
            Self::InstanceMetadata(error) => error.fix(),
            Self::ExchangeAudience(error) => error.fix(),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }
}
