//! The authority: the login host of a token service, usually a tenant, and at most one region.

mod error;
pub mod instance;
mod place;
pub mod server_metadata;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use url::Url;

pub use self::error::AuthorityUrlError;
use self::instance::Environment;
pub use self::place::AuthorityKind;
use self::place::Place;
use self::server_metadata::ServerMetadata;
use crate::environment::{Cloud, NoExchangeAudience, known_environment};
use crate::region::{Region, RegionChoice, RegionOutcome};
use crate::scope::ExchangeScope;
use crate::shown::shown;
use crate::tenant::{TenantId, is_host_name};

/// The address of a token service, and the region to use. The usual kind is Microsoft Entra,
/// `https://host[:port]/tenant/`. [`Authority::parse`] determines the kind from the URL ([`AuthorityKind`]).
///
/// The type does not check that the host exists or belongs to Microsoft: an unknown host counts as a separate
/// environment. Regions and mutual-TLS hosts exist for Entra only. The metadata of an OpenID issuer names the issuer's
/// endpoints. Requests to an authority of any other kind are sent to the configured host, or to the host of custom
/// metadata.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Arc<str>,
    port: Option<u16>,
    place: Place,
    region: RegionChoice,
    /// The region outcome of the requests that use the region.
    region_outcome: RegionOutcome,
    /// The environment from custom metadata. Token requests use its preferred host unchanged.
    environment: Option<Arc<Environment>>,
    /// The environment from instance discovery, for a host that belongs to no known environment.
    discovered: Option<Arc<Environment>>,
    /// The metadata that an OpenID issuer publishes.
    metadata: Option<Arc<ServerMetadata>>,
}

impl Authority {
    /// Parses an authority URL such as `https://login.microsoftonline.com/contoso.com`.
    ///
    /// The URL is converted to lower case. An explicit `:443` is dropped, and so are path segments that the kind of
    /// authority does not use. The result has no region.
    ///
    /// # Errors
    /// [`AuthorityUrlError`] if the text is not an `https` URL with a plain host name, if it has user information, a
    /// query or a fragment, or if a URL parser would change it. A missing or malformed tenant or policy is also an
    /// error for the kinds of authority that require it.
    pub fn parse(url: &str) -> Result<Self, AuthorityUrlError> {
        let lower = url.to_ascii_lowercase();
        let parsed = plain_url(&lower, url)?;
        let host = parsed.host_str().unwrap_or_default();
        Ok(Self::at(host, parsed.port(), Place::read(host, parsed.path())?))
    }

    /// Makes the authority of an OpenID Connect issuer that is of no known kind, such as `https://idp.example/realm`.
    ///
    /// The path is kept as written, because a path can be case-sensitive. The token endpoint is unknown until
    /// [`Authority::with_metadata`] sets the metadata.
    ///
    /// # Errors
    /// The errors of [`Authority::parse`], except the errors of the tenant and the policy.
    pub fn oidc(issuer: &str) -> Result<Self, AuthorityUrlError> {
        let parsed = plain_url(issuer, issuer)?;
        let host = parsed.host_str().unwrap_or_default();
        Ok(Self::at(host, parsed.port(), Place::Oidc { path: parsed.path().into() }))
    }

    fn at(host: &str, port: Option<u16>, place: Place) -> Self {
        Self {
            host: host.into(),
            port,
            place,
            region: RegionChoice::Global,
            region_outcome: RegionOutcome::NotUsed,
            environment: None,
            discovered: None,
            metadata: None,
        }
    }

    /// Returns the public cloud's authority for a tenant.
    pub fn public(tenant: TenantId) -> Self {
        Self::in_cloud(Cloud::Public, tenant)
    }

    /// Returns a cloud's authority for a tenant.
    pub fn in_cloud(cloud: Cloud, tenant: TenantId) -> Self {
        Self::at(cloud.login_host(), None, Place::Entra(tenant))
    }

    /// Returns the same authority with this region, or with this [choice](RegionChoice) of a region.
    #[must_use]
    pub fn with_region(self, region: impl Into<RegionChoice>) -> Self {
        let region = region.into();
        let region_outcome = match region {
            RegionChoice::Fixed(_) => RegionOutcome::Named,
            RegionChoice::Global | RegionChoice::Detect => RegionOutcome::NotUsed,
        };
        Self { region, region_outcome, ..self }
    }

    /// Returns the same authority without a region.
    #[must_use]
    pub fn without_region(self) -> Self {
        self.with_region(RegionChoice::Global)
    }

    /// Returns the same authority with the region that the client determined at run time. `None` means the global
    /// endpoint. Token endpoints that use the region report this `outcome`.
    #[must_use]
    pub fn with_region_outcome(self, region: Option<Region>, outcome: RegionOutcome) -> Self {
        let region = region.map_or(RegionChoice::Global, RegionChoice::Fixed);
        Self { region, region_outcome: outcome, ..self }
    }

    /// Returns the same authority for a different tenant. The result is `None` for kinds whose tenant cannot be
    /// replaced (AD FS, B2C, OpenID issuers).
    pub fn for_tenant(&self, tenant: TenantId) -> Option<Self> {
        let place = self.place.for_tenant(tenant)?;
        Some(Self { place, ..self.clone() })
    }

    /// Returns the same authority in an environment from custom metadata. Every token request uses the environment's
    /// preferred host unchanged, even with a region or mutual TLS.
    #[must_use]
    pub fn in_environment(self, environment: Arc<Environment>) -> Self {
        Self { environment: Some(environment), ..self }
    }

    /// Returns the same authority in an environment from instance discovery. The environment's preferred host is used
    /// unless a region or mutual TLS determines the host.
    #[must_use]
    pub fn in_discovered_environment(self, environment: Arc<Environment>) -> Self {
        Self { discovered: Some(environment), ..self }
    }

    /// Returns the authority as part of a cache key: without a region, and for Entra with the host under which the
    /// environment's tokens are cached. Two authorities with equal results issue the same tokens.
    #[must_use]
    pub fn for_cache(&self) -> Self {
        let environment = self.environment.as_deref().or(self.discovered.as_deref());
        let preferred = match environment {
            Some(environment) => Some(environment.preferred_cache()),
            None => known_environment(&self.host).map(|known| known.preferred_cache),
        };
        let preferred = preferred.filter(|_| self.kind() == AuthorityKind::Entra);
        Self { host: preferred.map_or_else(|| Arc::clone(&self.host), Arc::from), ..self.clone() }
            .without_region()
    }

    /// Whether an environment was set, from custom metadata or from discovery.
    pub fn has_environment(&self) -> bool {
        self.environment.is_some() || self.discovered.is_some()
    }

    /// Returns the same authority with the metadata that it publishes.
    #[must_use]
    pub fn with_metadata(self, metadata: Arc<ServerMetadata>) -> Self {
        Self { metadata: Some(metadata), ..self }
    }

    /// The kind of token service.
    pub fn kind(&self) -> AuthorityKind {
        self.place.kind()
    }

    /// The tenant. The result is `None` for AD FS and OpenID issuers.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.place.tenant()
    }

    pub(crate) fn token_path(&self) -> Option<String> {
        self.place.token_path()
    }

    pub(crate) fn environment(&self) -> Option<&Environment> {
        self.environment.as_deref()
    }

    pub(crate) fn discovered(&self) -> Option<&Environment> {
        self.discovered.as_deref()
    }

    pub(crate) fn metadata(&self) -> Option<&ServerMetadata> {
        self.metadata.as_deref()
    }

    /// The login host as configured, in lower case. Requests may be sent to a different host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if it is not 443.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The configured or detected region. Some requests do not use it. The result is `None` if there is no region, or
    /// if the region was not detected yet.
    pub fn region(&self) -> Option<&Region> {
        match &self.region {
            RegionChoice::Fixed(region) => Some(region),
            RegionChoice::Global | RegionChoice::Detect => None,
        }
    }

    /// The choice of the region.
    pub fn region_choice(&self) -> &RegionChoice {
        &self.region
    }

    pub(crate) fn region_outcome(&self) -> &RegionOutcome {
        &self.region_outcome
    }

    /// The cloud of the login host, or [`Cloud::Public`] if the host is unknown.
    pub fn cloud(&self) -> Cloud {
        Cloud::of_host(&self.host).unwrap_or(Cloud::Public)
    }

    /// The cloud of the login host, or `None` if the host is unknown.
    pub fn cloud_if_known(&self) -> Option<Cloud> {
        Cloud::of_host(&self.host)
    }

    /// The cloud whose token exchange the authority uses. For a host of no known cloud, the environment from custom
    /// metadata or from discovery determines the cloud.
    fn exchange_cloud(&self) -> Result<Cloud, NoExchangeAudience> {
        let of_environment = || {
            let environment = self.environment.as_deref().or(self.discovered.as_deref())?;
            Cloud::of_host(environment.preferred_network())
                .or_else(|| Cloud::of_host(environment.preferred_cache()))
        };
        let unknown = || NoExchangeAudience::UnknownHost { host: self.host.to_string() };
        self.cloud_if_known().or_else(of_environment).ok_or_else(unknown)
    }

    /// The audience of the authority's token exchange.
    ///
    /// # Errors
    /// [`NoExchangeAudience`], if the cloud has no token exchange, or if no known cloud has the host. The metadata of
    /// an environment can state that an unknown host is an alias of a known host.
    pub fn exchange_uri(&self) -> Result<&'static str, NoExchangeAudience> {
        let cloud = self.exchange_cloud()?;
        cloud.exchange_uri().ok_or(NoExchangeAudience::Cloud { cloud })
    }

    /// The scope of Leg 1 at this authority.
    ///
    /// # Errors
    /// The errors of [`Authority::exchange_uri`].
    pub fn exchange_scope(&self) -> Result<ExchangeScope, NoExchangeAudience> {
        ExchangeScope::of(self.exchange_cloud()?)
    }

    /// The canonical URL, for Entra `https://host[:port]/tenant/`. It does not contain the region.
    pub fn url(&self) -> String {
        format!("https://{}{}", self.host_and_port(), self.place.path())
    }

    /// `host[:port]` as configured.
    pub fn host_and_port(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_string(),
        }
    }
}

/// Writes the canonical URL.
impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

const MAX_URL_BYTES: usize = 2048;

/// Parses an `https` URL of host, port and path, whose text is literally `https://host[:port][/path]`.
///
/// A URL parser decodes percent-encoded characters of the host, rewrites numbers into IPv4 addresses, replaces
/// backslashes and removes dot segments. Other programs that read the same configuration possibly do not make these
/// changes. Therefore a text that a URL parser would change is refused. Errors show `given`, which is the text before
/// its conversion to lower case.
fn plain_url(text: &str, given: &str) -> Result<Url, AuthorityUrlError> {
    let malformed = || AuthorityUrlError::Malformed { shown: shown_url(given) };
    if text.len() > MAX_URL_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed());
    }
    let url = Url::parse(text).map_err(|_| malformed())?;
    if url.scheme() != "https" {
        return Err(AuthorityUrlError::NotHttps { scheme: shown(url.scheme()) });
    }
    let extra = |part| Err(AuthorityUrlError::ExtraPart { part });
    if !url.username().is_empty() || url.password().is_some() {
        return extra("a user name or password");
    }
    if url.query().is_some() {
        return extra("a query");
    }
    if url.fragment().is_some() {
        return extra("a fragment");
    }
    let is_literal = || {
        let host = url.host_str().filter(|host| is_host_name(host))?;
        let rest = text.strip_prefix("https://")?.strip_prefix(host)?;
        let path = match rest.strip_prefix(':') {
            Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
            None => rest,
        };
        Some(path == url.path() || (path.is_empty() && url.path() == "/"))
    };
    if is_literal() != Some(true) || url.port() == Some(0) { Err(malformed()) } else { Ok(url) }
}

/// Returns a URL for an error message, without query and fragment. A URL with an `@` is replaced completely, because it
/// may have secret user information.
fn shown_url(url: &str) -> String {
    match url.contains('@') {
        true => "***".to_owned(),
        false => shown(url.split(['?', '#']).next().unwrap_or_default()),
    }
}
