//! From an issuer to its keys: OpenID metadata, then the key set it names.

use certbound_core::json;
use certbound_core::shown::shown;

use crate::fetch::AnyFetch;
use crate::issuer::{Issuer, Kind, Tenants};
use crate::key_set::KeySet;

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// What is asked, and what the answer must say.
pub(super) struct Discovery {
    issuer: Issuer,
    metadata_url: String,
    /// The metadata's own `issuer`. `{tenantid}` stands there literally for several tenants.
    expected_issuer: String,
    /// The only host that keys are taken from: metadata of one issuer must not point at keys of another.
    keys_host: String,
}

impl Discovery {
    pub(super) fn of(issuer: &Issuer) -> Self {
        let (metadata_url, expected_issuer, keys_host) = match &issuer.0 {
            Kind::Entra { cloud, tenants } => {
                let host = cloud.login_host();
                let (segment, named) = match only(tenants) {
                    Some(tenant) => (tenant, tenant),
                    None => ("common", "{tenantid}"),
                };
                let url = format!("https://{host}/{segment}/v2.0{WELL_KNOWN}");
                (url, format!("https://{host}/{named}/v2.0"), host.to_owned())
            }
            Kind::Oidc { issuer, keys_host, .. } => {
                let url = format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'));
                let host = keys_host.clone().or_else(|| host_of(issuer)).unwrap_or_default();
                (url, issuer.clone(), host)
            }
        };
        Self { issuer: issuer.clone(), metadata_url, expected_issuer, keys_host }
    }

    /// For the log.
    pub(super) fn name(&self) -> &str {
        &self.expected_issuer
    }

    /// The keys, or why there are none.
    pub(super) async fn fetch(&self, fetch: &dyn AnyFetch) -> Result<KeySet, String> {
        let get = async |url: &str| fetch.get(url).await.map_err(|error| format!("{url}: {error}"));
        let document = get(&self.metadata_url).await?;
        let jwks_uri =
            self.keys_url(&document).map_err(|reason| format!("{}: {reason}", self.metadata_url))?;
        let keys = get(&jwks_uri).await?;
        KeySet::of_jwks(&self.issuer, &keys).map_err(|error| format!("{jwks_uri}: {error}"))
    }

    fn keys_url(&self, document: &[u8]) -> Result<String, String> {
        if document.len() > KeySet::MAX_BYTES {
            return Err(format!("it is larger than {} bytes", KeySet::MAX_BYTES));
        }
        let document = json::parse_object(document).map_err(|error| error.to_string())?;
        let text = |name: &str| document.get(name).and_then(|value| value.as_str());
        let issuer = text("issuer").unwrap_or_default();
        if issuer != self.expected_issuer {
            return Err(format!("its issuer is `{}` instead of `{}`", shown(issuer), self.expected_issuer));
        }
        let url = text("jwks_uri").ok_or("it has no jwks_uri")?;
        match host_of(url) {
            Some(host) if host == self.keys_host => Ok(url.to_owned()),
            _ => Err(format!("its jwks_uri is not an https URL at {}", self.keys_host)),
        }
    }
}

/// The tenant, if there is exactly one: its own document is the one to read then.
fn only(tenants: &Tenants) -> Option<&str> {
    match tenants {
        Tenants::Listed(ids) if ids.len() == 1 => ids.first().map(String::as_str),
        _ => None,
    }
}

/// The host of an https URL without a user name; with its port, if that is not 443.
fn host_of(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let plain = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    let host = url.host_str().filter(|_| plain)?.to_ascii_lowercase();
    Some(url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
}
