//! Finds the keys of an issuer: fetches its metadata, then the key set that the metadata names.

use std::fmt::Display;

use certbound_core::json;
use certbound_core::shown::shown;

use crate::fetch::{AnyFetch, FetchError};
use crate::issuer::{Issuer, KeySet, KeySetError, KeysHost, Kind, Tenants};

const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// The URLs of an issuer's metadata, and the values that the metadata must have.
pub(super) struct Discovery {
    issuer: Issuer,
    metadata_url: String,
    /// The URL of the metadata of an authorization server without OpenID (RFC 8414, section 3.1).
    oauth_url: Option<String>,
    /// The `issuer` that the metadata must have. For several tenants, it literally contains `{tenantid}`.
    expected_issuer: String,
    /// The only host from which keys are fetched: the metadata of one issuer must not refer to the keys of another
    /// issuer. `None` allows no host.
    keys_host: Option<KeysHost>,
}

/// The reason why a fetch returned no keys.
pub(super) enum NoKeys {
    /// The request failed, or the answer could not be read.
    Failed(Failure),
    /// The issuer published a set in which no key can be used.
    Withdrawn(Failure),
}

impl From<Failure> for NoKeys {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The failure to fetch or to read a document.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) host: Option<String>,
    /// Whether the next fetch may succeed without a change.
    pub(super) is_transient: bool,
}

impl Failure {
    /// Returns a failure in which no server answered. The next fetch may succeed.
    pub(super) fn without_answer(reason: &str) -> Self {
        Self { reason: reason.to_owned(), host: None, is_transient: true }
    }

    /// Returns the failure for the document at `url`.
    fn of(url: &str, error: impl Display, is_transient: bool) -> Self {
        let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        Self { reason: format!("{url}: {error}"), host, is_transient }
    }

    fn of_fetch(url: &str, error: &FetchError) -> Self {
        Self::of(url, error, error.is_transient())
    }
}

impl Discovery {
    pub(super) fn of(issuer: &Issuer) -> Self {
        match &issuer.0 {
            Kind::Entra { cloud, tenants } => {
                let host = cloud.login_host();
                let (segment, named) = match only(tenants) {
                    Some(tenant) => (tenant, tenant),
                    None => ("common", "{tenantid}"),
                };
                Self {
                    issuer: issuer.clone(),
                    metadata_url: format!("https://{host}/{segment}/v2.0{OPENID}"),
                    oauth_url: None,
                    expected_issuer: format!("https://{host}/{named}/v2.0"),
                    keys_host: KeysHost::of_issuer(&format!("https://{host}")),
                }
            }
            Kind::Oidc { issuer: name, keys_host, .. } => Self {
                issuer: issuer.clone(),
                metadata_url: format!("{}{OPENID}", name.trim_end_matches('/')),
                oauth_url: oauth_url(name),
                expected_issuer: name.clone(),
                keys_host: keys_host.clone().or_else(|| KeysHost::of_issuer(name)),
            },
        }
    }

    /// Whether the other discovery reads the same documents and accepts the same keys.
    pub(super) fn has_same_keys(&self, other: &Self) -> bool {
        self.issuer.id() == other.issuer.id()
            && self.metadata_url == other.metadata_url
            && self.expected_issuer == other.expected_issuer
            && self.keys_host == other.keys_host
            && self.issuer.algorithms() == other.issuer.algorithms()
    }

    /// The name of the issuer in the log.
    pub(super) fn name(&self) -> &str {
        &self.expected_issuer
    }

    /// Fetches the keys. Returns the reason if the fetch fails.
    pub(super) async fn fetch(&self, fetch: &dyn AnyFetch) -> Result<KeySet, NoKeys> {
        let (url, document) = self.metadata(fetch).await?;
        let jwks_uri = self.keys_url(&document).map_err(|reason| Failure::of(url, reason, false))?;
        let keys = fetch.get(&jwks_uri).await.map_err(|error| Failure::of_fetch(&jwks_uri, &error))?;
        KeySet::of_jwks(&self.issuer, &keys).map_err(|error| {
            let failure = Failure::of(&jwks_uri, &error, false);
            match error {
                KeySetError::NoneUsable { .. } | KeySetError::NoneAccepted { .. } => {
                    NoKeys::Withdrawn(failure)
                }
                _ => NoKeys::Failed(failure),
            }
        })
    }

    /// Fetches OpenID's metadata. If this document does not exist, fetches the metadata of RFC 8414 instead. Any other
    /// failure is returned.
    async fn metadata(&self, fetch: &dyn AnyFetch) -> Result<(&str, Vec<u8>), Failure> {
        let url = &self.metadata_url;
        let error = match fetch.get(url).await {
            Ok(document) => return Ok((url, document)),
            Err(error) => error,
        };
        match &self.oauth_url {
            Some(other) if error.is_absence() => match fetch.get(other).await {
                Ok(document) => Ok((other, document)),
                Err(second) => Err(Failure::of(
                    url,
                    format!("{error}; {other}: {second}"),
                    error.is_transient() || second.is_transient(),
                )),
            },
            _ => Err(Failure::of_fetch(url, &error)),
        }
    }

    fn keys_url(&self, document: &[u8]) -> Result<String, String> {
        if document.len() > KeySet::MAX_BYTES {
            return Err(format!("the metadata is larger than {} bytes", KeySet::MAX_BYTES));
        }
        let document = json::parse_object(document).map_err(|error| error.to_string())?;
        let text = |name: &str| document.get(name).and_then(|value| value.as_str());
        let issuer = text("issuer").unwrap_or_default();
        if issuer != self.expected_issuer {
            return Err(format!(
                "the issuer in the metadata is `{}` instead of `{}`",
                shown(issuer),
                self.expected_issuer
            ));
        }
        let url = text("jwks_uri").ok_or("the metadata has no jwks_uri")?;
        let host = self.keys_host.as_ref();
        host.and_then(|host| host.allowed(url)).ok_or_else(|| {
            let host = host.map(KeysHost::to_string).unwrap_or_default();
            format!("the jwks_uri `{}` is not an https URL at {host}", shown(url))
        })
    }
}

/// Returns the tenant if there is exactly one tenant. In this case the tenant's own document is read.
fn only(tenants: &Tenants) -> Option<&str> {
    match tenants {
        Tenants::Listed(ids) if ids.len() == 1 => ids.first().map(String::as_str),
        _ => None,
    }
}

/// Returns the URL of the metadata. The well-known path is inserted between host and path (RFC 8414, section 3.1).
fn oauth_url(issuer: &str) -> Option<String> {
    let url = url::Url::parse(issuer).ok()?;
    let path = url.path().trim_end_matches('/');
    Some(format!("{}{OAUTH}{path}", url.origin().ascii_serialization()))
}
