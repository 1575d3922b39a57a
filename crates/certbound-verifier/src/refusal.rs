//! All reasons for which the verifier refuses a request.

mod forwarded;
mod http_error;

use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::jws::JwsError;
use certbound_core::jwt::CnfError;
use certbound_core::time::UnixTime;
use strum::EnumProperty as _;

pub use self::forwarded::ForwardedError;
pub(crate) use self::forwarded::MAX_CERTIFICATE_HEADER;

/// The reason why the verifier refuses a request. If there are several reasons, the verifier uses the first reason in
/// the order of these variants.
///
/// `Display` is for the log of the resource. It may show claims of the token, shortened and escaped, but never the
/// token. The caller gets [`Refusal::description`], which contains no part of the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum Refusal {
    /// The request has `Content-Length` and `Transfer-Encoding`: two servers could read it as different requests (RFC
    /// 9112, section 6.1).
    #[error("the request has both Content-Length and Transfer-Encoding")]
    #[strum(props(code = "ambiguous_length"))]
    #[strum(props(description = "the length of the request is ambiguous"))]
    #[strum(props(
        fix = "the caller, or the proxy in front of the resource, must send only one of Content-Length and Transfer-Encoding"
    ))]
    AmbiguousLength,
    /// The URL has a token. RFC 6750, section 2.3, allows this form and discourages its use.
    #[error("the URL has an access_token parameter")]
    #[strum(props(code = "token_in_url"))]
    #[strum(props(description = "a token must not be in the URL"))]
    #[strum(props(fix = "the caller must send the token in one Authorization header and nowhere else"))]
    TokenInUrl,
    /// The request has no `Authorization` header.
    #[error("the request has no Authorization header")]
    #[strum(props(code = "no_credentials"))]
    #[strum(props(description = "a token is required"))]
    #[strum(props(
        fix = "the caller must send `Authorization: mtls_pop TOKEN`, or `Bearer TOKEN` if the binding policy accepts it"
    ))]
    NoCredentials,
    /// The scheme is neither `mtls_pop` nor `Bearer`.
    #[error("the Authorization scheme is neither mtls_pop nor Bearer")]
    #[strum(props(code = "unknown_scheme"))]
    #[strum(props(description = "the scheme is not accepted"))]
    #[strum(props(
        fix = "the caller must send `Authorization: mtls_pop TOKEN`, or `Bearer TOKEN` if the binding policy accepts it"
    ))]
    UnknownScheme,
    /// There are several `Authorization` headers, or the header is not a scheme, one space and a token.
    #[error(
        "the request has several Authorization headers, or its header is not a scheme, one space and a token"
    )]
    #[strum(props(code = "malformed_authorization"))]
    #[strum(props(description = "the Authorization header is malformed"))]
    #[strum(props(fix = "the caller must send the token in one Authorization header and nowhere else"))]
    MalformedAuthorization,
    /// The header by which a vault's callers opt in is missing, occurs more than once, or is not `true`.
    #[error("the request must have the header x-ms-tokenboundauth exactly once, with the value true")]
    #[strum(props(code = "opt_in_missing"))]
    #[strum(props(description = "the header x-ms-tokenboundauth is required"))]
    #[strum(props(fix = "the caller must send `x-ms-tokenboundauth: true`"))]
    OptInMissing,
    /// The proxy's certificate header is not accepted.
    #[error("the certificate header is refused: {0}")]
    #[strum(props(code = "certificate_header_refused"))]
    #[strum(props(description = "the certificate header is not acceptable"))]
    CertificateHeader(#[from] ForwardedError),
    /// The token is not an acceptable JWS. The form, the base64url, the JSON or the size is wrong.
    #[error("the token is malformed: {0}")]
    #[strum(props(code = "malformed_token"))]
    #[strum(props(description = "the token is malformed"))]
    #[strum(props(fix = "the caller must send the access token unchanged"))]
    Malformed(JwsError),
    /// The token is a JWE (RFC 7516).
    #[error("the token is encrypted, and the verifier accepts signed tokens only")]
    #[strum(props(code = "encrypted_token"))]
    #[strum(props(description = "the token is encrypted"))]
    #[strum(props(
        fix = "configure the issuer to issue signed tokens for this resource instead of encrypted tokens"
    ))]
    Encrypted,
    /// `cnf` does not consist of exactly one canonical `x5t#S256`.
    #[error("the token's confirmation is not understood: {0}")]
    #[strum(props(code = "confirmation_not_understood"))]
    #[strum(props(description = "the token's confirmation is not understood"))]
    #[strum(props(fix = "the issuer must write `cnf` with `x5t#S256` only: 43 characters of base64url"))]
    Confirmation(#[from] CnfError),
    /// The caller sent a bound token under `Bearer`.
    #[error("a certificate-bound token was sent under Bearer")]
    #[strum(props(code = "bound_token_under_bearer"))]
    #[strum(props(description = "a certificate-bound token was sent under Bearer"))]
    #[strum(props(
        fix = "the caller must send the token under mtls_pop; for clients of RFC 8705 use BindingPolicy::Rfc8705 (--binding rfc8705)"
    ))]
    BoundUnderBearer,
    /// The caller sent a token without `cnf` under `mtls_pop`.
    #[error("a token without cnf was sent under mtls_pop")]
    #[strum(props(code = "unbound_token_under_mtls_pop"))]
    #[strum(props(description = "the token is not bound to a certificate"))]
    #[strum(props(
        fix = "the caller must request a bound token: of type mtls_pop from Entra, or over mutual TLS from an issuer of RFC 8705"
    ))]
    UnboundUnderPop,
    /// The token has no `cnf`, and the binding policy requires a bound token.
    #[error("the token has no cnf, and a bound token is required")]
    #[strum(props(code = "binding_required"))]
    #[strum(props(description = "the token is not bound to a certificate"))]
    #[strum(props(
        fix = "the caller must request a bound token: of type mtls_pop from Entra, or over mutual TLS from an issuer of RFC 8705"
    ))]
    BindingRequired,
    /// `typ` is not `JWT`, `at+jwt` or `application/at+jwt`.
    #[error("the typ in the token's header is not JWT, at+jwt or application/at+jwt")]
    #[strum(props(code = "not_a_jwt"))]
    #[strum(props(description = "the token is not an access token"))]
    #[strum(props(fix = "the caller must send an access token, not an id token or another JWT"))]
    NotAJwt,
    /// `iss` does not belong to a trusted issuer.
    #[error("the issuer is not trusted: {found}")]
    #[strum(props(code = "issuer_not_trusted"))]
    #[strum(props(description = "the token's issuer is not trusted"))]
    #[strum(props(
        fix = "if the verifier must accept tokens of this issuer or tenant, add the issuer or tenant to the verifier"
    ))]
    IssuerNotTrusted {
        /// The `iss` of the token, shortened and escaped.
        found: String,
    },
    /// The verifier trusts the issuer, but does not accept the token's tenant.
    #[error("the tenant {found} is not accepted")]
    #[strum(props(code = "tenant_not_allowed"))]
    #[strum(props(description = "the token's tenant is not accepted"))]
    #[strum(props(
        fix = "if the verifier must accept tokens of this issuer or tenant, add the issuer or tenant to the verifier"
    ))]
    TenantNotAllowed {
        /// The `tid` of the token, shortened and escaped.
        found: String,
    },
    /// `ver` does not match `iss`, or the claim that names the client is missing or belongs to the other version.
    #[error("the token's version does not match its issuer or its claims")]
    #[strum(props(code = "version_mismatch"))]
    #[strum(props(description = "the token's version does not match its claims"))]
    #[strum(props(fix = "check that Entra issued the token, and that the caller sends the token unchanged"))]
    VersionMismatch,
    /// `aud` is not accepted for this resource.
    #[error("the token's audience is not accepted: {found}")]
    #[strum(props(code = "audience_mismatch"))]
    #[strum(props(description = "the token's audience is not accepted"))]
    #[strum(props(
        fix = "the caller must request a token for this resource only; or add each of the token's audiences to the verifier"
    ))]
    Audience {
        /// The `aud` of the token, shortened and escaped.
        found: String,
    },
    /// A required time is missing, or a time is not a number that is at least 0.
    #[error("the claim `{claim}` is missing or is not a time in seconds")]
    #[strum(props(code = "malformed_time"))]
    #[strum(props(description = "a time in the token is malformed"))]
    #[strum(props(fix = "the caller must send the access token unchanged"))]
    MalformedTime {
        /// The name of the claim.
        claim: &'static str,
    },
    /// `exp` is in the past.
    #[error("the token expired at {expired}; it is now {now}")]
    #[strum(props(code = "token_expired"))]
    #[strum(props(description = "the token has expired"))]
    #[strum(props(
        fix = "the caller must request a new token; if the token is new, correct the clock of this machine"
    ))]
    Expired {
        /// `exp`.
        expired: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// `nbf` or `iat` is in the future.
    #[error("the token is not valid before {from}; it is now {now}")]
    #[strum(props(code = "token_not_yet_valid"))]
    #[strum(props(description = "the token is not valid yet"))]
    #[strum(props(
        fix = "correct the clock of this machine; if this clock is correct, the issuer's clock is wrong"
    ))]
    NotYetValid {
        /// `nbf` or `iat`.
        from: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The token expires before it becomes valid, or its lifetime is too long for the policy.
    #[error("the token's lifetime is not accepted: from {from} to {to}")]
    #[strum(props(code = "token_lifetime_refused"))]
    #[strum(props(description = "the token's lifetime is not accepted"))]
    #[strum(props(
        fix = "if this issuer issues tokens with this lifetime, raise the longest lifetime (VerifierBuilder::longest_lifetime)"
    ))]
    Lifetime {
        /// `nbf` or `iat`. If the token has neither claim, it is the time of the check.
        from: UnixTime,
        /// `exp`.
        to: UnixTime,
    },
    /// The token was issued longer ago than the policy accepts.
    #[error("the token was issued too long ago, at {issued}; it is now {now}")]
    #[strum(props(code = "token_too_old"))]
    #[strum(props(description = "the token was issued too long ago"))]
    #[strum(props(
        fix = "the caller must request a new token; if the token is new, correct the clock of this machine"
    ))]
    TooOld {
        /// `iat`.
        issued: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The algorithm is not accepted for the issuer.
    #[error("the signature is refused: {0}")]
    #[strum(props(code = "algorithm_not_accepted"))]
    #[strum(props(description = "the token's algorithm is not accepted"))]
    #[strum(props(
        fix = "Entra signs with RS256; for another issuer, name its algorithms in the verifier's settings"
    ))]
    Algorithm(JwsError),
    /// No key of the issuer matches the token's `kid` and algorithm.
    #[error("no key of the issuer matches the token's key id and algorithm")]
    #[strum(props(code = "unknown_key"))]
    #[strum(props(description = "the token's signing key is unknown"))]
    #[strum(props(
        fix = "check that this issuer issued the token and that the token is unchanged; application-specific keys are not supported"
    ))]
    UnknownKey,
    /// The key belongs to a different tenant or issuer.
    #[error("the signing key belongs to a different tenant or issuer")]
    #[strum(props(code = "key_of_another_issuer"))]
    #[strum(props(description = "the token's signing key belongs to a different tenant or issuer"))]
    #[strum(props(
        fix = "check that this issuer issued the token and that the token is unchanged; application-specific keys are not supported"
    ))]
    KeyOfAnotherIssuer,
    /// The signature is not valid.
    #[error("the signature is not valid")]
    #[strum(props(code = "bad_signature"))]
    #[strum(props(description = "the token's signature is not valid"))]
    #[strum(props(
        fix = "check that this issuer issued the token and that the token is unchanged; application-specific keys are not supported"
    ))]
    BadSignature,
    /// The connection has no client certificate.
    #[error("the connection has no client certificate")]
    #[strum(props(code = "client_certificate_missing"))]
    #[strum(props(description = "the connection has no client certificate"))]
    #[strum(props(
        fix = "the caller must present its certificate in TLS; the listener must request it, or the proxy must pass it in the certificate header"
    ))]
    NoCertificate,
    /// The connection has a client certificate, but the token is bound to a different certificate.
    #[error(
        "the token is bound to the certificate {bound_to}, but the connection has the certificate {found}"
    )]
    #[strum(props(code = "client_certificate_mismatch"))]
    #[strum(props(description = "the token is bound to a different certificate"))]
    #[strum(props(
        fix = "the caller must send the token on a connection with the certificate with which it requested the token"
    ))]
    CertificateMismatch {
        /// The token's `x5t#S256`.
        bound_to: String,
        /// The thumbprint of the connection's certificate.
        found: Thumbprint,
    },
    /// The token is bound to the client certificate, which is outside its validity dates.
    #[error("the client certificate is valid from {from} to {to}; it is now {now}")]
    #[strum(props(code = "client_certificate_dates"))]
    #[strum(props(description = "the client certificate is outside its validity period"))]
    #[strum(props(fix = "the caller must renew its certificate and request a new token with it"))]
    CertificateDates {
        /// The start of the certificate's validity.
        from: UnixTime,
        /// The end of the certificate's validity.
        to: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The token does not satisfy the claims that the application demands (continuous access evaluation).
    #[error("the token does not satisfy the required claims")]
    #[strum(props(code = "insufficient_claims"))]
    #[strum(props(description = "the token does not satisfy the required claims"))]
    #[strum(props(fix = "the caller must request a new token with the claims of the challenge"))]
    ClaimsDemanded {
        /// The demanded claims, as a JSON object.
        claims: String,
    },
    /// The claims name two clients, or a claim that names the client is empty or not a string.
    #[error(
        "the token's claims name different clients, or a claim that names the client is empty or not a string"
    )]
    #[strum(props(code = "client_claims_conflict"))]
    #[strum(props(
        description = "the token's claims name different clients, or a claim that names the client is empty or not a string"
    ))]
    #[strum(props(
        fix = "set the claim that contains the client id (Issuer::with_client_claim, --client-claim)"
    ))]
    ClientClaims,
    /// The kind of caller is not accepted, or the token does not state the kind clearly.
    #[error(
        "this kind of caller is not accepted, or the token does not show whether the caller is an application or a user"
    )]
    #[strum(props(code = "caller_kind_not_accepted"))]
    #[strum(props(description = "this kind of caller is not accepted"))]
    #[strum(props(
        fix = "if the resource must accept this kind of caller, set the kind (VerifierBuilder::callers, --callers applications|users|any)"
    ))]
    CallerKind,
    /// The client is not one of the accepted clients.
    #[error("the client {found} is not accepted")]
    #[strum(props(code = "client_not_allowed"))]
    #[strum(props(description = "the client is not accepted"))]
    #[strum(props(
        fix = "if the resource must accept this client, add its id to the verifier (only_clients, --allow-client)"
    ))]
    ClientNotAllowed {
        /// The client id of the token, shortened and escaped.
        found: String,
    },
    /// The token has none of the required roles and scopes.
    #[error("the token has neither a required role nor a required scope")]
    #[strum(props(code = "no_permission"))]
    #[strum(props(description = "the caller has no role or scope that is required"))]
    #[strum(props(
        fix = "assign one of the required roles or scopes to the caller, which must then request a new token"
    ))]
    NoPermission,
    /// The issuer's keys are not available. The caller did nothing wrong.
    #[error("the issuer's keys are not available: {reason}")]
    #[strum(props(code = "keys_unavailable"))]
    #[strum(props(description = "tokens cannot be verified at the moment"))]
    #[strum(props(
        fix = "check that the issuer's metadata and keys can be reached, that the certificate of their host is trusted (SSL_CERT_FILE), and that the keys are for accepted algorithms"
    ))]
    KeysUnavailable {
        /// The reason, such as the last failure.
        reason: String,
        /// The host of the document that the verifier could not use. The value is `None` if no fetch failed at a host.
        host: Option<String>,
        /// Whether the next fetch may succeed without a change. It is false for a certificate that is not trusted.
        is_transient: bool,
        /// The time that the caller should wait before its next request.
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

    /// Returns the stable code for logs, metrics and scripts.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// Returns the text for the caller. Each reason has one fixed text, which contains no part of the request.
    pub fn description(&self) -> &'static str {
        self.get_str("description").unwrap_or_default()
    }

    /// Returns advice on how to fix the error, for the reader of the resource's log.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::CertificateHeader(error) => error.fix(),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }
}
