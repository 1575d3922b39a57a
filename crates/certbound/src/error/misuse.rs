//! Mistakes of the caller.

use certbound_core::authority::AuthorityKind;
use certbound_core::certificate::Thumbprint;
use certbound_core::endpoint::EndpointError;
use certbound_core::instance::InstanceError;
use certbound_core::time::UnixTime;

use crate::error::{AssertionError, BindingCertificateError};

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
    /// Code of the caller's, such as a Leg 1, a clock or an observer, panicked while a token was acquired.
    #[error("code that the acquisition called panicked; all who waited for this token are told so")]
    ProviderPanicked,
    /// The async runtime in which the token was being acquired was shut down meanwhile.
    #[error("the runtime in which this token was being acquired was shut down")]
    RuntimeEnded,
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
    /// A bound token was asked for, and there is no certificate to bind it to.
    #[error("a bound token needs a certificate, and this credential has none")]
    CertificateNotProvided,
    /// `.body(..)` with a parameter that is the library's own, twice there, or empty.
    #[error("the parameter `{name}` cannot be added to the request: {reason}")]
    BodyParameter {
        /// Its name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// `.attribute_tokens(..)` with a token that is empty or has a space in it.
    #[error("an attribute token is empty or has white space in it")]
    AttributeToken,
    /// `.assertion_claims(..)` with what cannot stand in an assertion.
    #[error("the extra claims cannot be added to the client's assertion: {reason}")]
    AssertionClaims {
        /// What is wrong with them.
        reason: String,
    },
    /// The client's own assertion became too long.
    #[error("the client's assertion would be {length} characters long before its signature; 65536 are read")]
    AssertionTooLong {
        /// Its length.
        length: usize,
    },
    /// `.tenant(..)` where there is no tenant to choose.
    #[error("the authority is of the kind {kind}, which has no tenant to choose")]
    NoTenantToChoose {
        /// The kind of the client's authority.
        kind: AuthorityKind,
    },
    /// `.authority(..)` with an authority of another kind than the client's.
    #[error(
        "the client's authority is of the kind {configured}; the one of the request is of the kind {asked}"
    )]
    AuthorityType {
        /// The client's.
        configured: AuthorityKind,
        /// The request's.
        asked: AuthorityKind,
    },
    /// `.authority(..)` with a host that is not the client's environment.
    #[error("the host `{asked}` of the request's authority is not one with the client's `{configured}`")]
    AuthorityHost {
        /// The kind of both.
        kind: AuthorityKind,
        /// The client's host.
        configured: String,
        /// The request's host.
        asked: String,
    },
    /// `.authority(..)` with another host, for a client with a region.
    #[error("a client with a region cannot ask another host: it is `{configured}`, and `{asked}` was given")]
    AuthorityOverrideRegional {
        /// The client's host.
        configured: String,
        /// The request's host.
        asked: String,
    },
    /// The instance metadata given to the client does not know the authority.
    #[error(transparent)]
    InstanceMetadata(#[from] InstanceError),
    /// Leg 1 at an authority that has no token exchange.
    #[error("an authority of the kind {kind} has no token exchange, so it issues no assertion")]
    NoTokenExchange {
        /// The kind.
        kind: AuthorityKind,
    },
    /// An option of a client's acquisition, such as a tenant or a parameter, for a managed identity.
    #[error(
        "a managed identity takes no tenant, authority, FMI path, parameter or client claims of a request"
    )]
    NotForManagedIdentity,
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
            Self::ProviderPanicked => "provider_panicked",
            Self::RuntimeEnded => "runtime_shut_down",
            Self::ForceAndRejected => "force_refresh_and_token_hash_not_compatible",
            Self::ClaimsNotJson => "invalid_json_claims_format",
            Self::QueryParameter { .. } => "invalid_query_parameter",
            Self::CertificateNotProvided => "mtls_certificate_not_provided",
            Self::BodyParameter { .. } => "invalid_body_parameter",
            Self::AttributeToken => "invalid_attribute_token",
            Self::AssertionClaims { .. } => "invalid_assertion_claims",
            Self::AssertionTooLong { .. } => "encoded_token_too_long",
            Self::NoTenantToChoose { .. } => "tenant_override_not_supported",
            Self::AuthorityType { .. } => "authority_type_mismatch",
            Self::AuthorityHost { kind: AuthorityKind::B2c, .. } => "B2C_authority_host_mismatch",
            Self::AuthorityHost { .. } => "authority_host_mismatch",
            Self::AuthorityOverrideRegional { .. } => "authority_override_regional",
            Self::InstanceMetadata(error) => error.code(),
            Self::NoTokenExchange { .. } => "token_exchange_not_supported",
            Self::NotForManagedIdentity => "option_not_for_managed_identity",
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
            Self::ProviderPanicked => "see the panic's own message on stderr, and return an error there instead",
            Self::RuntimeEnded => "use a client in one runtime only, and let that run until the token is there",
            Self::ForceAndRejected => "use one of the two",
            Self::ClaimsNotJson => "pass the challenge on as the resource gave it, decoded from base64",
            Self::QueryParameter { .. } => "use a name and a value of printable characters without spaces",
            Self::CertificateNotProvided => {
                "give the client a certificate, or a Leg 1; a secret or an unbound assertion gets Bearer tokens only"
            }
            Self::BodyParameter { .. } => {
                "use the option that the library has for it, or another name, once, with a value"
            }
            Self::AttributeToken => "give each attribute token by itself",
            Self::AssertionClaims { .. } => "give a JSON object of claims that the library does not write itself",
            Self::AssertionTooLong { .. } => "add fewer or shorter claims",
            Self::NoTenantToChoose { .. } => "leave the tenant out",
            Self::AuthorityType { .. } => "build a client for each kind of authority",
            Self::AuthorityHost { .. } => "build a client for each cloud, or use a host of the client's own",
            Self::AuthorityOverrideRegional { .. } => "build a client for the other host, or one without a region",
            Self::InstanceMetadata(error) => return error.fix().to_owned(),
            Self::NoTokenExchange { .. } => "use an Entra authority for Leg 1",
            Self::NotForManagedIdentity => "leave the option out; the platform decides these",
            Self::ResourceRequest { .. } => "send an absolute https:// URL without an Authorization header",
        }
        .to_owned()
    }
}
