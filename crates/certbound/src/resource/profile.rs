//! The scheme and headers that a kind of resource expects with the token.

use certbound_core::environment::Cloud;
use http::{HeaderName, HeaderValue};

use crate::token::Scheme;

/// The scheme and the extra headers of a kind of resource. The profile does not determine the certificate; the token
/// determines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceProfile {
    scheme: Scheme,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ResourceProfile {
    /// Returns the profile with scheme `mtls_pop` and no extra headers: for Microsoft Graph and most resources.
    pub fn standard() -> Self {
        Self { scheme: Scheme::MtlsPop, headers: Vec::new() }
    }

    /// Returns the standard profile with the header `x-ms-tokenboundauth: true`. Without this header, Key Vault does
    /// not check the certificate.
    pub fn key_vault() -> Self {
        let name = HeaderName::from_static("x-ms-tokenboundauth");
        Self { scheme: Scheme::MtlsPop, headers: vec![(name, HeaderValue::from_static("true"))] }
    }

    /// Returns the profile with scheme `Bearer`, for resources of RFC 8705 other than Entra's.
    pub fn rfc8705() -> Self {
        Self { scheme: Scheme::Bearer, headers: Vec::new() }
    }

    /// Returns the profile for a host: the profile of Key Vault in every cloud, and the standard profile for other
    /// hosts.
    pub fn for_host(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        let is_vault = Cloud::ALL.iter().any(|cloud| {
            // The resource's host is the domain of all vaults. The host of a vault is its name in that domain.
            let domain = cloud.vault_uri().trim_start_matches("https://");
            host.strip_suffix(domain).is_some_and(|name| name.len() > 1 && name.ends_with('.'))
        });
        if is_vault { Self::key_vault() } else { Self::standard() }
    }

    /// Returns the scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the extra headers. A header of the request with the same name has priority.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }
}
