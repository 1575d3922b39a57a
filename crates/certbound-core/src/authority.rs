//! The authority: who issues the tokens. A login host, one tenant, and at most one region.

mod error;
mod place;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use url::{Host, Url};

pub use self::error::AuthorityUrlError;
pub use self::place::AuthorityKind;
use self::place::Place;
use crate::environment::Cloud;
use crate::instance::Environment;
use crate::region::Region;
use crate::server_metadata::ServerMetadata;
use crate::shown::shown;
use crate::tenant::{TenantId, is_host_name};

/// An authority: who issues the tokens, with the region to use there. By default Microsoft Entra,
/// `https://host[:port]/tenant/`; its kind follows from the URL ([`AuthorityKind`]).
///
/// Does not ask whether the host exists or belongs to Microsoft: an unknown host is an environment of its own. Regions
/// and mutual-TLS hosts are Entra's; other kinds are reached at the host they are configured with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Arc<str>,
    port: Option<u16>,
    place: Place,
    region: Option<Region>,
    /// The environment by metadata of one's own, which no host rule changes.
    environment: Option<Arc<Environment>>,
    /// The environment by instance discovery, for a host that is not among the known ones.
    discovered: Option<Arc<Environment>>,
    /// What an OpenID issuer says of itself.
    metadata: Option<Arc<ServerMetadata>>,
}

impl Authority {
    /// Reads an authority URL such as `https://login.microsoftonline.com/contoso.com`.
    ///
    /// The URL is lower-cased; path segments after the tenant and an explicit `:443` are dropped. The region is none.
    ///
    /// # Errors
    /// [`AuthorityUrlError`] for what is not an `https` URL of a host and a tenant and nothing else, and for every text
    /// that a URL parser would have to repair first.
    pub fn parse(url: &str) -> Result<Self, AuthorityUrlError> {
        let malformed = || AuthorityUrlError::Malformed { shown: shown_url(url) };
        if url.len() > MAX_URL_BYTES || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed());
        }
        let lower = url.to_ascii_lowercase();
        let parsed = Url::parse(&lower).map_err(|_| malformed())?;
        if parsed.scheme() != "https" {
            return Err(AuthorityUrlError::NotHttps { scheme: shown(parsed.scheme()) });
        }
        refuse_extra_parts(&parsed)?;
        let host = written_host(&parsed, &lower).ok_or_else(malformed)?;
        if parsed.port() == Some(0) {
            return Err(malformed());
        }
        let place = Place::read(host, parsed.path())?;
        Ok(Self::at(host, parsed.port(), place))
    }

    /// An OpenID Connect issuer that is none of the known kinds, such as `https://idp.example/realm`.
    ///
    /// The path is kept as it is written, since an issuer is compared byte for byte. Its token endpoint is known once
    /// its metadata is ([`Authority::with_metadata`]).
    ///
    /// # Errors
    /// As [`Authority::parse`], without the demands on a path.
    pub fn oidc(issuer: &str) -> Result<Self, AuthorityUrlError> {
        let malformed = || AuthorityUrlError::Malformed { shown: shown_url(issuer) };
        if issuer.len() > MAX_URL_BYTES || !issuer.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed());
        }
        let parsed = Url::parse(issuer).map_err(|_| malformed())?;
        if parsed.scheme() != "https" {
            return Err(AuthorityUrlError::NotHttps { scheme: shown(parsed.scheme()) });
        }
        refuse_extra_parts(&parsed)?;
        let host = written_host(&parsed, issuer).ok_or_else(malformed)?;
        if parsed.port() == Some(0) {
            return Err(malformed());
        }
        Ok(Self::at(host, parsed.port(), Place::Oidc { path: parsed.path().into() }))
    }

    fn at(host: &str, port: Option<u16>, place: Place) -> Self {
        Self {
            host: host.into(),
            port,
            place,
            region: None,
            environment: None,
            discovered: None,
            metadata: None,
        }
    }

    /// The public cloud's authority for a tenant.
    pub fn public(tenant: TenantId) -> Self {
        Self::in_cloud(Cloud::Public, tenant)
    }

    /// A cloud's authority for a tenant, on the login host from which a mutual-TLS host can be derived.
    pub fn in_cloud(cloud: Cloud, tenant: TenantId) -> Self {
        Self::at(cloud.login_host(), None, Place::Entra(tenant))
    }

    /// The same authority with this region.
    #[must_use]
    pub fn with_region(self, region: Region) -> Self {
        Self { region: Some(region), ..self }
    }

    /// The same authority without a region.
    #[must_use]
    pub fn without_region(self) -> Self {
        Self { region: None, ..self }
    }

    /// The same authority for another tenant; none where the kind of authority has no tenant to choose (AD FS, B2C,
    /// OpenID issuers).
    pub fn for_tenant(&self, tenant: TenantId) -> Option<Self> {
        let place = self.place.for_tenant(tenant)?;
        Some(Self { place, ..self.clone() })
    }

    /// The same authority in an environment of one's own metadata: its hosts are used as they are, whatever the region
    /// and also for mutual TLS.
    #[must_use]
    pub fn in_environment(self, environment: Arc<Environment>) -> Self {
        Self { environment: Some(environment), ..self }
    }

    /// The same authority in the environment that instance discovery told: its preferred host is used where neither a
    /// region nor mutual TLS chooses another.
    #[must_use]
    pub fn in_discovered_environment(self, environment: Arc<Environment>) -> Self {
        Self { discovered: Some(environment), ..self }
    }

    /// Whether its environment was given, by metadata of one's own or by discovery.
    pub fn has_environment(&self) -> bool {
        self.environment.is_some() || self.discovered.is_some()
    }

    /// The same authority with what it says of itself.
    #[must_use]
    pub fn with_metadata(self, metadata: Arc<ServerMetadata>) -> Self {
        Self { metadata: Some(metadata), ..self }
    }

    /// The kind of token service.
    pub fn kind(&self) -> AuthorityKind {
        self.place.kind()
    }

    /// The tenant; AD FS and OpenID issuers have none.
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

    /// The login host as configured, in lower case; requests may go to another one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, when it is not 443.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The region as configured; a request may not use it.
    pub fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }

    /// The cloud of the login host; [`Cloud::Public`] when the host is unknown.
    pub fn cloud(&self) -> Cloud {
        Cloud::of_host(&self.host).unwrap_or(Cloud::Public)
    }

    /// The cloud of the login host; none when the host is unknown.
    pub fn cloud_if_known(&self) -> Option<Cloud> {
        Cloud::of_host(&self.host)
    }

    /// The canonical URL, for Entra `https://host[:port]/tenant/`; the region has no place in it.
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

/// The canonical URL.
impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

impl FromStr for Authority {
    type Err = AuthorityUrlError;

    fn from_str(url: &str) -> Result<Self, AuthorityUrlError> {
        Self::parse(url)
    }
}

const MAX_URL_BYTES: usize = 2048;

fn refuse_extra_parts(url: &Url) -> Result<(), AuthorityUrlError> {
    let part = if !url.username().is_empty() || url.password().is_some() {
        "a user name or password"
    } else if url.query().is_some() {
        "a query"
    } else if url.fragment().is_some() {
        "a fragment"
    } else {
        return Ok(());
    };
    Err(AuthorityUrlError::ExtraPart { part })
}

/// The host, if it is a plain name and the URL says literally `https://host[:port][/path]`.
///
/// A URL parser decodes percent signs, rewrites numbers into IPv4 addresses, turns backslashes round and removes dot
/// segments. Whoever reads the configuration does not, so a text that needed any of it is refused.
fn written_host<'a>(url: &'a Url, text: &str) -> Option<&'a str> {
    let host = match url.host()? {
        Host::Domain(_) | Host::Ipv4(_) => url.host_str().filter(|host| is_host_name(host))?,
        Host::Ipv6(_) => return None,
    };
    let rest = text.strip_prefix("https://")?.strip_prefix(host)?;
    let path = match rest.strip_prefix(':') {
        Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    (path == url.path() || (path.is_empty() && url.path() == "/")).then_some(host)
}

/// Shows neither a query nor a fragment, and nothing at all when there may be user information: people put secrets there.
fn shown_url(url: &str) -> String {
    match url.contains('@') {
        true => "***".to_owned(),
        false => shown(url.split(['?', '#']).next().unwrap_or_default()),
    }
}
