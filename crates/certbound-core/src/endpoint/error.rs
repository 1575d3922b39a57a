//! The errors of an authority that has no token endpoint for a request.

use strum::EnumProperty as _;

/// The reason why an authority has no endpoint for a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum EndpointError {
    /// The host does not begin with `login.`, so the client cannot derive a mutual-TLS host from it.
    #[error(
        "no mutual-TLS endpoint can be derived from the authority's host `{host}`: it does not start with `login.`"
    )]
    #[strum(props(
        fix = "use the cloud's ordinary host, which starts with `login.` (login.microsoftonline.com for the public cloud), and set the region with its own option; certbound derives the mutual-TLS host from host and region"
    ))]
    NotALoginHost {
        /// The configured host, escaped.
        host: String,
    },
    /// The tenant names many directories, or personal accounts. It issues no bound tokens.
    #[error(
        "the tenant `{tenant}` issues no certificate-bound tokens: it is not the directory of one organization"
    )]
    #[strum(props(code = "missing_tenanted_authority"))]
    #[strum(props(
        fix = "use the authority of the application's own tenant, such as https://host/contoso.com"
    ))]
    Tenantless {
        /// `consumers` or its id; in dSTS also `common` or `organizations`.
        tenant: String,
    },
    /// The client has not fetched the issuer's metadata. Only the metadata contains the token endpoint.
    #[error("the token endpoint of {authority} is unknown until the client fetches the issuer's metadata")]
    #[strum(props(code = "authority_not_discovered"))]
    #[strum(props(fix = "acquire a token; the client then fetches the metadata"))]
    NotDiscovered {
        /// The authority.
        authority: String,
    },
    /// The client must detect the region, but it has not detected the region yet.
    #[error("the token endpoint is not known before the region is detected")]
    #[strum(props(code = "region_discovery_failed"))]
    #[strum(props(
        fix = "acquire a token, so that the client detects the region; or name the region, or set REGION_NAME"
    ))]
    RegionNotDetected,
    /// The issuer's metadata does not declare that the issuer binds tokens (RFC 8705, section 3.3).
    #[error(
        "{issuer} does not issue certificate-bound tokens: its metadata lacks `tls_client_certificate_bound_access_tokens`"
    )]
    #[strum(props(fix = "request a Bearer token, or enable RFC 8705 at the issuer"))]
    DoesNotBind {
        /// The issuer, escaped.
        issuer: String,
    },
    /// The issuer's metadata lists no method to authenticate by a certificate.
    #[error(
        "{issuer} does not authenticate clients by certificate: it lists neither `tls_client_auth` nor `self_signed_tls_client_auth`"
    )]
    #[strum(props(
        fix = "use a credential other than a certificate, or enable tls_client_auth at the issuer"
    ))]
    TakesNoCertificate {
        /// The issuer, escaped.
        issuer: String,
    },
}

impl EndpointError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or("mtls_pop_not_supported_for_environment")
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}
