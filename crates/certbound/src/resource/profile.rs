//! What a kind of resource expects beside the token.

use certbound_core::environment::Cloud;
use http::{HeaderName, HeaderValue};

use crate::token::Scheme;

/// The scheme and the extra headers of a kind of resource. It never says which certificate to present: the token does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceProfile {
    scheme: Scheme,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ResourceProfile {
    /// Scheme `mtls_pop`, no extra headers: Microsoft Graph and any resource not named otherwise.
    pub fn standard() -> Self {
        Self { scheme: Scheme::MtlsPop, headers: Vec::new() }
    }

    /// As standard, with `x-ms-tokenboundauth: true`, without which a vault does not look for the certificate.
    pub fn key_vault() -> Self {
        let name = HeaderName::from_static("x-ms-tokenboundauth");
        Self { scheme: Scheme::MtlsPop, headers: vec![(name, HeaderValue::from_static("true"))] }
    }

    /// Scheme `Bearer`, for servers of RFC 8705 other than Entra's.
    pub fn rfc8705() -> Self {
        Self { scheme: Scheme::Bearer, headers: Vec::new() }
    }

    /// The profile of a host: Key Vault's in every cloud, standard for any other.
    pub fn for_host(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        let is_vault = Cloud::ALL.iter().any(|cloud| {
            // The resource's host is that of all vaults, but for the vault's own name.
            let domain = cloud.vault_uri().trim_start_matches("https://");
            host.strip_suffix(domain).is_some_and(|name| name.len() > 1 && name.ends_with('.'))
        });
        if is_vault { Self::key_vault() } else { Self::standard() }
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The extra headers; a caller's own of the same name wins.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }
}
