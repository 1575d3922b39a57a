//! The endpoint of a platform, and its requests for Bearer tokens.

use certbound_core::managed_identity::{IdentityId, MachineSource, ServerThumbprint, SourceError};
use certbound_core::secret::Secret;
use http::{HeaderName, HeaderValue, Method};
use url::Url;

use super::environment::{DEFAULT_IDENTITY, EnvironmentError};
use crate::acquire::headers::PRODUCT;
use crate::correlation::CorrelationId;
use crate::rejected::TokenHash;
use crate::transport::Via;

/// The address of IMDS.
pub(crate) const IMDS: &str = "http://169.254.169.254";
const ARC: &str = "http://127.0.0.1:40342/metadata/identity/oauth2/token";
const ARC_AGENT: &str = "/opt/azcmagent/bin/himds";

/// The endpoint of a platform, with the values that its requests need.
pub(crate) struct Endpoint {
    origin: MachineSource,
    endpoint: Url,
    header: Option<Secret>,
    /// The client id of the default identity, for a platform on which a request must name an identity.
    default_identity: Option<String>,
    /// The certificate of the only allowed server, if the platform names it.
    pin: Option<ServerThumbprint>,
}

/// The inputs of a request for a Bearer token.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) id: &'a IdentityId,
    /// The name of the resource without `/.default`.
    pub(crate) resource: &'a str,
    pub(crate) capabilities: &'a [String],
    /// The token that the new one replaces.
    pub(crate) replaces: Option<TokenHash>,
    pub(crate) correlation_id: CorrelationId,
}

/// A request for a Bearer token.
pub(crate) struct PlainRequest {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: String,
}

impl Endpoint {
    /// Finds the endpoint of an identity in the environment. `named` selects a source without looking for others.
    pub(super) fn find(
        id: &IdentityId,
        named: Option<MachineSource>,
        variable: &dyn Fn(&str) -> Option<String>,
        has_arc_agent: bool,
    ) -> Result<Self, EnvironmentError> {
        let origin = named.unwrap_or_else(|| MachineSource::detect(variable, has_arc_agent));
        let set = |name: &'static str| variable(name).filter(|value| !value.is_empty());
        let needed = |variable: &'static str| set(variable).ok_or(EnvironmentError::NotSet { variable });
        let url = |name: &'static str, text: String| {
            let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let url = url.filter(|url| url.has_host() && url.as_str().parse::<http::Uri>().is_ok());
            url.ok_or(EnvironmentError::NotAUrl { variable: name })
        };
        let secret = |variable: &'static str| {
            let secret = Secret::new(needed(variable)?);
            match HeaderValue::from_str(secret.expose()) {
                Ok(_) => Ok(Some(secret)),
                Err(_) => Err(EnvironmentError::NotAHeader { variable }),
            }
        };
        let endpoint = match origin {
            MachineSource::AppService | MachineSource::ServiceFabric => {
                url("IDENTITY_ENDPOINT", needed("IDENTITY_ENDPOINT")?)?
            }
            MachineSource::MachineLearning | MachineSource::CloudShell => {
                url("MSI_ENDPOINT", needed("MSI_ENDPOINT")?)?
            }
            MachineSource::AzureArc => {
                url("IDENTITY_ENDPOINT", set("IDENTITY_ENDPOINT").unwrap_or_else(|| ARC.to_owned()))?
            }
            _ => {
                let name = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
                // The path is ignored, because each operation of IMDS has its own.
                let mut base = url(name, set(name).unwrap_or_else(|| IMDS.to_owned()))?;
                base.set_path("");
                base.set_query(None);
                base
            }
        };
        let header = match origin {
            MachineSource::AppService | MachineSource::ServiceFabric => secret("IDENTITY_HEADER")?,
            MachineSource::MachineLearning => secret("MSI_SECRET")?,
            _ => None,
        };
        let pin = match origin {
            MachineSource::ServiceFabric if endpoint.scheme() != "https" => {
                return Err(EnvironmentError::NotHttps { variable: "IDENTITY_ENDPOINT" });
            }
            MachineSource::ServiceFabric => {
                let variable = "IDENTITY_SERVER_THUMBPRINT";
                let pin = needed(variable)?.parse();
                Some(pin.map_err(|cause| EnvironmentError::Thumbprint { variable, cause })?)
            }
            _ => None,
        };
        let default_identity = match origin {
            MachineSource::MachineLearning if id.is_system() => Some(needed(DEFAULT_IDENTITY)?),
            _ => None,
        };
        Ok(Self { origin, endpoint, header, default_identity, pin })
    }

    /// Returns whether the agent of Azure Arc is installed.
    pub(super) fn has_arc_agent() -> bool {
        cfg!(target_os = "linux") && std::path::Path::new(ARC_AGENT).exists()
    }

    pub(crate) fn origin(&self) -> MachineSource {
        self.origin
    }

    /// Returns the base URL of the endpoint. It distinguishes machines in tests.
    pub(crate) fn base(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    /// Returns the thumbprint of the server's certificate, if the platform names it.
    pub(crate) fn pin(&self) -> Option<&ServerThumbprint> {
        self.pin.as_ref()
    }

    /// Returns how the platform is reached: without a proxy, and with a check of its certificate if the platform names
    /// it.
    pub(crate) fn via(&self) -> Via<'_> {
        self.pin.as_ref().map_or(Via::Local, Via::Pinned)
    }

    /// Returns the URL of a path of IMDS with its query.
    pub(crate) fn imds(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut url = self.endpoint.clone();
        url.set_path(path);
        url.query_pairs_mut().clear().extend_pairs(query);
        url.into()
    }

    /// Returns the request for a Bearer token.
    ///
    /// # Errors
    /// [`SourceError`], if the platform cannot select this identity.
    pub(crate) fn plain(&self, asked: Asked<'_>) -> Result<PlainRequest, SourceError> {
        let Asked { id, resource, correlation_id, .. } = asked;
        self.origin.check_identity(id)?;
        let (capabilities, replaces) = self.told(asked);
        let mut query: Vec<(&str, &str)> = Vec::new();
        let mut headers: Vec<(HeaderName, HeaderValue)> =
            vec![(http::header::ACCEPT, HeaderValue::from_static("application/json"))];
        let mut header = |name: &'static str, value: &str| {
            // The platform's secret was checked when the identity was built.
            if let Ok(mut value) = HeaderValue::from_str(value) {
                value.set_sensitive(name == "secret" || name == "x-identity-header");
                headers.push((HeaderName::from_static(name), value));
            }
        };
        let secret = self.header.as_ref().map(Secret::expose).unwrap_or_default();
        let version = match self.origin {
            MachineSource::AppService => "2019-08-01",
            MachineSource::ServiceFabric => "2020-05-01",
            MachineSource::MachineLearning => "2017-09-01",
            MachineSource::AzureArc => "2020-06-01",
            MachineSource::CloudShell => "",
            _ => "2018-02-01",
        };
        if !version.is_empty() {
            query.push(("api-version", version));
        }
        query.push(("resource", resource));
        query.extend(self.selector(id)?);
        query.extend(capabilities.as_deref().map(|all| ("xms_cc", all)));
        query.extend(replaces.as_deref().map(|hash| ("token_sha256_to_refresh", hash)));
        match self.origin {
            MachineSource::AppService => header("x-identity-header", secret),
            MachineSource::ServiceFabric => header("secret", secret),
            MachineSource::MachineLearning => {
                header("metadata", "true");
                header("secret", secret);
            }
            _ => header("metadata", "true"),
        }
        if self.origin == MachineSource::Imds {
            header("x-client-sku", PRODUCT);
            header("x-client-ver", env!("CARGO_PKG_VERSION"));
            header("x-ms-client-request-id", &correlation_id.to_string());
        }
        if self.origin == MachineSource::CloudShell {
            header("content-type", "application/x-www-form-urlencoded");
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
            return Ok(PlainRequest {
                method: Method::POST,
                url: self.endpoint.as_str().to_owned(),
                headers,
                body,
            });
        }
        let mut url = self.endpoint.clone();
        if self.origin == MachineSource::Imds {
            url.set_path("/metadata/identity/oauth2/token");
        }
        url.query_pairs_mut().extend_pairs(query);
        Ok(PlainRequest { method: Method::GET, url: url.into(), headers, body: String::new() })
    }

    /// Returns the capabilities and the hash of the replaced token. Only Service Fabric has parameters for them.
    fn told(&self, asked: Asked<'_>) -> (Option<String>, Option<String>) {
        if self.origin != MachineSource::ServiceFabric {
            return (None, None);
        }
        let capabilities = (!asked.capabilities.is_empty()).then(|| asked.capabilities.join(","));
        (capabilities, asked.replaces.map(|token| token.hex()))
    }

    /// Returns the parameter that selects the identity.
    fn selector<'a>(&'a self, id: &'a IdentityId) -> Result<Option<(&'static str, &'a str)>, SourceError> {
        let cannot = || SourceError { origin: self.origin, id: id.clone() };
        Ok(match (self.origin, id) {
            (MachineSource::MachineLearning, IdentityId::System) => {
                // The workspace always has an identity. A variable names it.
                Some(("clientid", self.default_identity.as_deref().ok_or_else(cannot)?))
            }
            (MachineSource::MachineLearning, IdentityId::ClientId(id)) => Some(("clientid", id)),
            (_, IdentityId::System) => None,
            (MachineSource::ServiceFabric, IdentityId::ObjectId(id)) => Some(("principalId", id)),
            (_, IdentityId::ClientId(id)) => Some(("client_id", id)),
            (_, IdentityId::ObjectId(id)) => Some(("object_id", id)),
            (MachineSource::Imds | MachineSource::AzureArc, IdentityId::ResourceId(id)) => {
                Some(("msi_res_id", id))
            }
            (_, IdentityId::ResourceId(id)) => Some(("mi_res_id", id)),
            _ => return Err(cannot()),
        })
    }
}
