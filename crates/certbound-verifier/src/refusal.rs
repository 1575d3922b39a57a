//! All reasons for which a request is refused.

mod forwarded;

use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::jws::JwsError;
use certbound_core::jwt::CnfError;
use certbound_core::time::UnixTime;

pub use self::forwarded::ForwardedError;
pub(crate) use self::forwarded::MAX_CERTIFICATE_HEADER;

/// Why a request is refused. If there are several reasons, the first one in the order of these variants is used.
///
/// `Display` is for the log of the resource. It may show claims of the token, shortened and escaped, and never the
/// token. The caller gets [`Refusal::description`], which contains nothing of the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request has `Content-Length` and `Transfer-Encoding`: two servers could read it as different requests (RFC
    /// 9112, section 6.1).
    #[error("the request has both Content-Length and Transfer-Encoding")]
    AmbiguousLength,
    /// The request has no `Authorization` header.
    #[error("the request has no Authorization header")]
    NoCredentials,
    /// The scheme is neither `mtls_pop` nor `Bearer`.
    #[error("the Authorization scheme is neither mtls_pop nor Bearer")]
    UnknownScheme,
    /// There are several `Authorization` headers, or one that is not scheme, one space, token.
    #[error(
        "there is more than one Authorization header, or one that is not of the form: scheme, space, token"
    )]
    MalformedAuthorization,
    /// The URL has a token (RFC 6750, section 2.3, which the RFC itself discourages).
    #[error("the URL holds an access_token parameter")]
    TokenInUrl,
    /// The header by which a vault's callers opt in is missing, or is not `true`.
    #[error("x-ms-tokenboundauth is not there exactly once with the value true")]
    OptInMissing,
    /// The proxy's certificate header is not accepted.
    #[error("the certificate header is refused: {0}")]
    CertificateHeader(#[from] ForwardedError),
    /// The token is not an acceptable JWS. The form, the base64url, the JSON or the size is wrong.
    #[error("the token is malformed: {0}")]
    Malformed(JwsError),
    /// The token is a JWE (RFC 7516).
    #[error("the token is encrypted, and only signed tokens are verified here")]
    Encrypted,
    /// `cnf` is not exactly one canonical `x5t#S256`.
    #[error("the token's confirmation is not understood: {0}")]
    Confirmation(#[from] CnfError),
    /// A bound token was sent under `Bearer`.
    #[error("a certificate-bound token was sent under Bearer")]
    BoundUnderBearer,
    /// A token without `cnf` was sent under `mtls_pop`.
    #[error("a token without cnf was sent under mtls_pop")]
    UnboundUnderPop,
    /// The token has no `cnf`, and a bound token is required.
    #[error("the token has no cnf, and a bound one is required")]
    BindingRequired,
    /// `typ` is not that of a JWT.
    #[error("the token's header says it is not a JWT")]
    NotAJwt,
    /// `iss` does not belong to a trusted issuer.
    #[error("the issuer is not trusted: {found}")]
    IssuerNotTrusted {
        /// The `iss` of the token, shortened and escaped.
        found: String,
    },
    /// The issuer is trusted, but its tenant is not accepted.
    #[error("the tenant {found} is not accepted")]
    TenantNotAllowed {
        /// The `tid` of the token, shortened and escaped.
        found: String,
    },
    /// `ver` does not fit `iss`, or the claim that names the client is that of the other version.
    #[error("the token's version does not fit its issuer or its claims")]
    VersionMismatch,
    /// `aud` is not accepted for this resource.
    #[error("the token is for another audience: {found}")]
    Audience {
        /// The `aud` of the token, shortened and escaped.
        found: String,
    },
    /// A required time is missing, or a time is not a number of seconds from 0 on.
    #[error("the claim `{claim}` is missing or is not a time in seconds")]
    MalformedTime {
        /// The name of the claim.
        claim: &'static str,
    },
    /// `exp` is in the past.
    #[error("the token ended at {expired}; it is {now}")]
    Expired {
        /// `exp`.
        expired: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// `nbf` or `iat` is in the future.
    #[error("the token is valid from {from}; it is {now}")]
    NotYetValid {
        /// `nbf` or `iat`.
        from: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The token expires before it begins, or its lifetime is longer than the policy accepts.
    #[error("the token's lifetime is not believed: from {from} to {to}")]
    Lifetime {
        /// `nbf` or `iat`. The time of the check, if the token has neither.
        from: UnixTime,
        /// `exp`.
        to: UnixTime,
    },
    /// The token was issued longer ago than the policy accepts.
    #[error("the token was issued at {issued}, too long ago; it is {now}")]
    TooOld {
        /// `iat`.
        issued: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The algorithm is not accepted for the issuer.
    #[error("the signature is refused: {0}")]
    Algorithm(JwsError),
    /// No key of the issuer has the token's `kid`.
    #[error("no key of the issuer has the token's key id")]
    UnknownKey,
    /// The key belongs to another tenant.
    #[error("the signing key belongs to another issuer")]
    KeyOfAnotherIssuer,
    /// The signature is not valid.
    #[error("the signature does not hold")]
    BadSignature,
    /// The connection has no client certificate.
    #[error("the connection has no client certificate")]
    NoCertificate,
    /// The connection has a client certificate, but not the one that the token is bound to.
    #[error("the token is bound to {bound_to}, the connection has {found}")]
    CertificateMismatch {
        /// The token's `x5t#S256`.
        bound_to: String,
        /// The thumbprint of the connection's certificate.
        found: Thumbprint,
    },
    /// The token is bound to the client certificate, which is outside its validity dates.
    #[error("the client certificate is valid from {from} to {to}; it is {now}")]
    CertificateDates {
        /// The start of its validity.
        from: UnixTime,
        /// The end of its validity.
        to: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The token does not satisfy the claims that the application demands (continuous access evaluation).
    #[error("the token does not satisfy the demanded claims")]
    ClaimsDemanded {
        /// The demanded claims, as a JSON object.
        claims: String,
    },
    /// The claims name two clients, or a claim that names the client is not a text.
    #[error("the token's claims do not agree on its client")]
    ClientClaims,
    /// The kind of caller is not accepted, or the token does not state it clearly.
    #[error("the token is not of the kind of caller that is accepted")]
    CallerKind,
    /// The client is not one of those that are accepted.
    #[error("the client {found} is not accepted")]
    ClientNotAllowed {
        /// The client id of the token, shortened and escaped.
        found: String,
    },
    /// The token has none of the required roles and scopes.
    #[error("the token has none of the required roles or scopes")]
    NoPermission,
    /// The issuer's keys are not available. The caller did nothing wrong.
    #[error("the issuer's keys cannot be had: {reason}")]
    KeysUnavailable {
        /// The reason of the last failure.
        reason: String,
        /// The time after which the next fetch can begin.
        retry_after: Duration,
    },
}

impl Refusal {
    /// Returns the refusal of a token whose parts cannot be read.
    pub(crate) fn of_form(error: JwsError) -> Self {
        match error {
            JwsError::Encrypted => Self::Encrypted,
            error => Self::Malformed(error),
        }
    }

    /// The HTTP status (RFC 6750, section 3.1).
    pub fn status(&self) -> u16 {
        match self {
            Self::AmbiguousLength
            | Self::MalformedAuthorization
            | Self::TokenInUrl
            | Self::CertificateHeader(_) => 400,
            Self::CallerKind | Self::ClientNotAllowed { .. } | Self::NoPermission => 403,
            Self::KeysUnavailable { .. } => 503,
            _ => 401,
        }
    }

    /// The error code of RFC 6750. `None` if the request had no credentials, or if the caller did nothing wrong.
    pub fn error(&self) -> Option<&'static str> {
        match self {
            Self::NoCredentials | Self::UnknownScheme | Self::KeysUnavailable { .. } => None,
            Self::ClaimsDemanded { .. } => Some("insufficient_claims"),
            _ => Some(match self.status() {
                400 => "invalid_request",
                403 => "insufficient_scope",
                _ => "invalid_token",
            }),
        }
    }

    /// The stable code for logs, metrics and scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AmbiguousLength => "ambiguous_length",
            Self::NoCredentials => "no_credentials",
            Self::UnknownScheme => "unknown_scheme",
            Self::MalformedAuthorization => "malformed_authorization",
            Self::TokenInUrl => "token_in_url",
            Self::OptInMissing => "opt_in_missing",
            Self::CertificateHeader(_) => "certificate_header_refused",
            Self::Malformed(_) => "malformed_token",
            Self::Encrypted => "encrypted_token",
            Self::Confirmation(_) => "confirmation_not_understood",
            Self::BoundUnderBearer => "bound_token_under_bearer",
            Self::UnboundUnderPop => "unbound_token_under_mtls_pop",
            Self::BindingRequired => "binding_required",
            Self::NotAJwt => "not_a_jwt",
            Self::IssuerNotTrusted { .. } => "issuer_not_trusted",
            Self::TenantNotAllowed { .. } => "tenant_not_allowed",
            Self::VersionMismatch => "version_mismatch",
            Self::Audience { .. } => "audience_mismatch",
            Self::MalformedTime { .. } => "malformed_time",
            Self::Expired { .. } => "token_expired",
            Self::NotYetValid { .. } => "token_not_yet_valid",
            Self::Lifetime { .. } => "token_lifetime_refused",
            Self::TooOld { .. } => "token_too_old",
            Self::Algorithm(_) => "algorithm_not_accepted",
            Self::UnknownKey => "unknown_key",
            Self::KeyOfAnotherIssuer => "key_of_another_issuer",
            Self::BadSignature => "bad_signature",
            Self::NoCertificate => "client_certificate_missing",
            Self::CertificateMismatch { .. } => "client_certificate_mismatch",
            Self::CertificateDates { .. } => "client_certificate_dates",
            Self::ClaimsDemanded { .. } => "insufficient_claims",
            Self::ClientClaims => "client_claims_conflict",
            Self::CallerKind => "caller_kind_not_accepted",
            Self::ClientNotAllowed { .. } => "client_not_allowed",
            Self::NoPermission => "no_permission",
            Self::KeysUnavailable { .. } => "keys_unavailable",
        }
    }

    /// The text for the caller. Each reason has one fixed text, which repeats nothing of the request.
    pub fn description(&self) -> &'static str {
        match self {
            Self::AmbiguousLength => "the length of the request is ambiguous",
            Self::NoCredentials => "a token is required",
            Self::UnknownScheme => "the scheme is not accepted",
            Self::MalformedAuthorization => "the Authorization header is malformed",
            Self::TokenInUrl => "a token may not stand in the URL",
            Self::OptInMissing => "the header x-ms-tokenboundauth is required",
            Self::CertificateHeader(_) => "the certificate header is not acceptable",
            Self::Malformed(_) => "the token is malformed",
            Self::Encrypted => "the token is encrypted",
            Self::Confirmation(_) => "the token's confirmation is not understood",
            Self::BoundUnderBearer => "a certificate-bound token was sent under Bearer",
            Self::UnboundUnderPop | Self::BindingRequired => "the token is not bound to a certificate",
            Self::NotAJwt => "the token is not an access token",
            Self::IssuerNotTrusted { .. } => "the token's issuer is not trusted",
            Self::TenantNotAllowed { .. } => "the token's tenant is not accepted",
            Self::VersionMismatch => "the token's version does not fit its claims",
            Self::Audience { .. } => "the token is for another audience",
            Self::MalformedTime { .. } => "a time in the token is malformed",
            Self::Expired { .. } => "the token is over",
            Self::NotYetValid { .. } => "the token is not valid yet",
            Self::Lifetime { .. } => "the token's lifetime is not accepted",
            Self::TooOld { .. } => "the token was issued too long ago",
            Self::Algorithm(_) => "the token's algorithm is not accepted",
            Self::UnknownKey => "the token's signing key is unknown",
            Self::KeyOfAnotherIssuer => "the token's signing key is another issuer's",
            Self::BadSignature => "the token's signature does not hold",
            Self::NoCertificate => "the connection has no client certificate",
            Self::CertificateMismatch { .. } => "the client certificate is not the one the token is bound to",
            Self::CertificateDates { .. } => "the client certificate is outside its validity",
            Self::ClaimsDemanded { .. } => "the token does not satisfy the demanded claims",
            Self::ClientClaims => "the token's claims do not agree on its client",
            Self::CallerKind => "this kind of caller is not accepted",
            Self::ClientNotAllowed { .. } => "the client is not accepted",
            Self::NoPermission => "the caller has no role or scope that is required",
            Self::KeysUnavailable { .. } => "tokens cannot be verified at the moment",
        }
    }

    /// Returns advice on how to fix the error, for the reader of the resource's log.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::AmbiguousLength => {
                "the caller, or a proxy before it, sends one of Content-Length and Transfer-Encoding"
            }
            Self::NoCredentials | Self::UnknownScheme => {
                "the caller sends `Authorization: mtls_pop TOKEN`, or `Bearer TOKEN` where the binding policy takes it"
            }
            Self::MalformedAuthorization | Self::TokenInUrl => {
                "the caller sends the token in one Authorization header and nowhere else"
            }
            Self::OptInMissing => "the caller sends `x-ms-tokenboundauth: true`",
            Self::CertificateHeader(error) => error.fix(),
            Self::Malformed(_) | Self::NotAJwt | Self::MalformedTime { .. } => {
                "the caller sends the access token as it got it"
            }
            Self::Encrypted => {
                "configure the issuer to send this resource signed tokens instead of encrypted ones"
            }
            Self::Confirmation(_) => {
                "the issuer writes `cnf` with `x5t#S256` alone, base64url, 43 characters"
            }
            Self::BoundUnderBearer => {
                "the caller sends it under mtls_pop; for RFC 8705 clients use BindingPolicy::Rfc8705 (--binding rfc8705)"
            }
            Self::UnboundUnderPop | Self::BindingRequired => {
                "the caller gets a bound token: of type mtls_pop from Entra, over mutual TLS from an RFC 8705 issuer"
            }
            Self::IssuerNotTrusted { .. } | Self::TenantNotAllowed { .. } | Self::VersionMismatch => {
                "add the issuer or tenant to the verifier if its tokens shall be accepted"
            }
            Self::Audience { .. } => {
                "the caller asks for a token of this resource alone, or each of the token's audiences is added to the verifier"
            }
            Self::Expired { .. } | Self::TooOld { .. } => "the caller gets a new token; compare the clocks",
            Self::NotYetValid { .. } => "compare the clocks",
            Self::Lifetime { .. } => "raise the longest lifetime only if the issuer is known to exceed it",
            Self::Algorithm(_) => "Entra signs with RS256; for other issuers name their algorithms",
            Self::UnknownKey | Self::BadSignature | Self::KeyOfAnotherIssuer => {
                "look whether the token is of this issuer and unchanged; application-specific keys are not looked up"
            }
            Self::NoCertificate => {
                "let the listener ask for a client certificate in the handshake, or configure the proxy's header"
            }
            Self::CertificateMismatch { .. } => {
                "the caller uses the certificate that it got the token with, on this very connection"
            }
            Self::CertificateDates { .. } => "the caller renews its certificate and gets a new token with it",
            Self::ClaimsDemanded { .. } => "the caller gets a new token with the claims of the challenge",
            Self::ClientClaims => {
                "name the one claim that holds the client's id (Issuer::with_client_claim, --client-claim)"
            }
            Self::CallerKind => {
                "say which kind of caller is accepted (VerifierBuilder::callers, --callers applications|users|any)"
            }
            Self::ClientNotAllowed { .. } | Self::NoPermission => {
                "assign the caller a role or scope of this resource, or add it to the verifier"
            }
            Self::KeysUnavailable { .. } => {
                "look whether the issuer's metadata and keys can be reached from here, and are for accepted algorithms"
            }
        }
    }
}
