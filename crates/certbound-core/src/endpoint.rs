//! The token endpoint: the host of a request, and the rule that chose it.

mod error;
mod host;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use self::error::EndpointError;
pub use self::host::HostRule;
use crate::authority::{Authority, AuthorityKind};
use crate::environment::Cloud;
use crate::managed_identity::IssuedCredential;
use crate::region::{Region, RegionChoice, RegionOutcome};
use crate::shown::shown;
use crate::tenant::TenantId;

/// The flow of a token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// The application requests a token for itself (RFC 6749 section 4.4). Both legs of an exchange use this flow.
    ClientCredentials,
    /// The application requests a token for a user. This flow uses the region over mutual TLS only.
    User,
}

/// The TLS connection of a token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The connection has no client certificate.
    Plain,
    /// The connection has a client certificate (RFC 8705 section 2), whether the token will be bound to it or not.
    MutualTls,
}

impl Authority {
    /// Returns the endpoint from which this authority's tokens are requested.
    ///
    /// The function makes no request. If the authority has custom instance metadata, the metadata's preferred network
    /// host is used. Otherwise the host of an Entra authority depends on the region and on mutual TLS; [`HostRule`]
    /// lists the rules. A user's flow without mutual TLS ignores the region. Kinds other than Entra have no regions.
    /// The metadata of an OpenID issuer names its endpoints.
    ///
    /// # Errors
    /// The error of [`Authority::check_mutual_tls`] over mutual TLS. [`EndpointError::NotDiscovered`] for an OpenID
    /// issuer whose metadata is not known yet. [`EndpointError::RegionNotDetected`] if [`Authority::awaits_region`]
    /// returns true.
    pub fn token_endpoint(&self, flow: Flow, channel: Channel) -> Result<TokenEndpoint, EndpointError> {
        let Some(path) = self.token_path() else {
            let metadata =
                self.metadata().ok_or_else(|| EndpointError::NotDiscovered { authority: self.url() })?;
            let url = match channel {
                Channel::Plain => metadata.token_endpoint(),
                Channel::MutualTls => metadata.mtls_token_endpoint(),
            };
            return Ok(TokenEndpoint::new(url, HostRule::Discovered, None, None));
        };
        let (mut used, mut outcome) = (None, RegionOutcome::NotUsed);
        let (host, rule) = if let Some(environment) = self.environment() {
            (environment.preferred_network().to_owned(), HostRule::CustomMetadata)
        } else if self.kind() != AuthorityKind::Entra {
            (self.host().to_owned(), HostRule::OnlyHost)
        } else {
            if channel == Channel::MutualTls {
                self.check_mutual_tls()?;
            }
            if self.awaits_region(flow, channel) {
                return Err(EndpointError::RegionNotDetected);
            }
            if self.uses_region(flow, channel) {
                (used, outcome) = (self.region(), self.region_outcome().clone());
            }
            host::of_entra(self, used, channel)
        };
        let port = self.port().map(|port| format!(":{port}")).unwrap_or_default();
        let url = format!("{SCHEME}{host}{port}{path}");
        let endpoint = TokenEndpoint::new(&url, rule, used.cloned(), self.tenant().cloned());
        Ok(TokenEndpoint { region_outcome: outcome, ..endpoint })
    }

    /// Whether requests of this flow on this channel use the authority's region.
    fn uses_region(&self, flow: Flow, channel: Channel) -> bool {
        let has_regions = self.kind() == AuthorityKind::Entra && self.environment().is_none();
        has_regions && (flow, channel) != (Flow::User, Channel::Plain)
    }

    /// Whether the region must be detected before a request of this flow on this channel.
    /// [`Authority::with_region_outcome`] sets the result of the detection.
    pub fn awaits_region(&self, flow: Flow, channel: Channel) -> bool {
        *self.region_choice() == RegionChoice::Detect && self.uses_region(flow, channel)
    }

    /// Checks that tokens can be requested from this authority over mutual TLS. The check needs no metadata of the
    /// authority.
    ///
    /// # Errors
    /// [`EndpointError::NotALoginHost`] if no mutual-TLS host can be derived from an Entra host. The check ignores the
    /// region.
    pub fn check_mutual_tls(&self) -> Result<(), EndpointError> {
        let derives = self.kind() == AuthorityKind::Entra && self.environment().is_none();
        if derives && !self.host().starts_with("login.") {
            return Err(EndpointError::NotALoginHost { host: shown(self.host()) });
        }
        Ok(())
    }

    /// Checks that the tenant can issue a bound token. The check needs no metadata of the authority.
    ///
    /// # Errors
    /// [`EndpointError::Tenantless`] for `consumers` (also by its id), and for `common` and `organizations` of dSTS.
    pub fn check_tenant(&self) -> Result<(), EndpointError> {
        match self.tenant() {
            Some(tenant) if tenant.is_shared() => {
                Err(EndpointError::Tenantless { tenant: tenant.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Checks that a bound token can be requested from this authority, according to the metadata of an OpenID issuer.
    ///
    /// `by_certificate` is true if the client authenticates by its certificate alone.
    ///
    /// # Errors
    /// [`EndpointError::DoesNotBind`] if the issuer does not bind tokens. [`EndpointError::TakesNoCertificate`] if
    /// `by_certificate` is true and the issuer does not authenticate clients by certificate.
    pub fn check_binding(&self, by_certificate: bool) -> Result<(), EndpointError> {
        let Some(metadata) = self.metadata() else { return Ok(()) };
        if !metadata.binds_tokens() {
            return Err(EndpointError::DoesNotBind { issuer: shown(metadata.issuer()) });
        }
        if by_certificate && !metadata.takes_certificates() {
            return Err(EndpointError::TakesNoCertificate { issuer: shown(metadata.issuer()) });
        }
        Ok(())
    }
}

const SCHEME: &str = "https://";

/// The endpoint of a token request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenEndpoint {
    url: Arc<str>,
    host_end: usize,
    rule: HostRule,
    region: Option<Region>,
    region_outcome: RegionOutcome,
    tenant: Option<TenantId>,
}

impl TokenEndpoint {
    /// Makes an endpoint from a URL of the form `https://host[:port]/…`.
    fn new(url: &str, rule: HostRule, region: Option<Region>, tenant: Option<TenantId>) -> Self {
        let host = url.strip_prefix(SCHEME).and_then(|rest| rest.split([':', '/', '?']).next());
        let host_end = SCHEME.len() + host.unwrap_or_default().len();
        Self { url: url.into(), host_end, rule, region, region_outcome: RegionOutcome::NotUsed, tenant }
    }

    /// Returns the endpoint for a certificate that the machine's metadata service issued. The region is read from the
    /// name of the host.
    pub fn of_machine(issued: &IssuedCredential) -> Self {
        let tenant = TenantId::parse(&issued.tenant_id).ok();
        let mut endpoint = Self::new(&issued.token_endpoint(), HostRule::Discovered, None, tenant);
        let (first, rest) = endpoint.host().split_once('.').unwrap_or_default();
        endpoint.region = Cloud::of_host(rest).and_then(|_| Region::parse(first).ok());
        if endpoint.region.is_some() {
            endpoint.region_outcome = RegionOutcome::Named;
        }
        endpoint
    }

    /// The whole URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The host alone.
    pub fn host(&self) -> &str {
        self.url.get(SCHEME.len()..self.host_end).unwrap_or_default()
    }

    /// The rule that chose the host.
    pub fn rule(&self) -> HostRule {
        self.rule
    }

    /// The region of this endpoint. The result is `None` if the authority has no region, or if the endpoint does not
    /// use it.
    pub fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }

    /// The way in which the region was determined.
    pub fn region_outcome(&self) -> &RegionOutcome {
        &self.region_outcome
    }

    /// The tenant. The result is `None` for AD FS and OpenID issuers.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }
}

/// Writes the URL.
impl fmt::Display for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}
