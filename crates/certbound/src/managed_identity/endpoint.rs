//! The endpoint of a platform, and its requests for Bearer tokens.

use bytes::Bytes;
use certbound_core::managed_identity::{IdentityId, MachineSource, ServerThumbprint, SourceError};
use certbound_core::secret::Secret;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use url::Url;

use super::environment::{DEFAULT_IDENTITY, EnvironmentError};
use crate::acquire::headers::PRODUCT;
use crate::correlation::CorrelationId;
use crate::error::PlatformError;
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
    /// The thumbprint of the only accepted server certificate, if the platform names it.
    pin: Option<ServerThumbprint>,
}

/// The inputs of a request for a Bearer token.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) id: &'a IdentityId,
    /// The name of the resource without `/.default`.
    pub(crate) resource: &'a str,
    pub(crate) capabilities: &'a [String],
    /// The token that the new token replaces.
    pub(crate) replaces: Option<TokenHash>,
    pub(crate) correlation_id: CorrelationId,
}

/// The facts that distinguish the endpoints of platforms.
struct Api {
    /// The variable with the URL of the endpoint.
    variable: &'static str,
    /// The URL if the variable is not set.
    default: Option<&'static str>,
    /// The variable with the platform's secret, and the header in which requests send it.
    secret: Option<(&'static str, &'static str)>,
    /// The value of `api-version`.
    version: Option<&'static str>,
    /// Whether requests have the header `Metadata: true`.
    metadata: bool,
}

impl Api {
    const BASE: Self =
        Self { variable: "IDENTITY_ENDPOINT", default: None, secret: None, version: None, metadata: true };

    fn of(origin: MachineSource) -> Self {
        match origin {
            MachineSource::AppService => Self {
                secret: Some(("IDENTITY_HEADER", "x-identity-header")),
                version: Some("2019-08-01"),
                metadata: false,
                ..Self::BASE
            },
            MachineSource::ServiceFabric => Self {
                secret: Some(("IDENTITY_HEADER", "secret")),
                version: Some("2020-05-01"),
                metadata: false,
                ..Self::BASE
            },
            MachineSource::MachineLearning => Self {
                variable: "MSI_ENDPOINT",
                secret: Some(("MSI_SECRET", "secret")),
                version: Some("2017-09-01"),
                ..Self::BASE
            },
            MachineSource::CloudShell => Self { variable: "MSI_ENDPOINT", ..Self::BASE },
            MachineSource::AzureArc => Self { default: Some(ARC), version: Some("2020-06-01"), ..Self::BASE },
            _ => Self {
                variable: "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                default: Some(IMDS),
                version: Some("2018-02-01"),
                ..Self::BASE
            },
        }
    }
}

impl Endpoint {
    /// Finds the endpoint of an identity in the environment. If `named` is set, it is the source, and no source is
    /// detected.
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
                Ok(_) => Ok(secret),
                Err(_) => Err(EnvironmentError::NotAHeader { variable }),
            }
        };
        let api = Api::of(origin);
        let mut endpoint = match api.default {
            Some(default) => url(api.variable, set(api.variable).unwrap_or_else(|| default.to_owned()))?,
            None => url(api.variable, needed(api.variable)?)?,
        };
        if origin == MachineSource::Imds {
            // The path is ignored, because each operation of IMDS has its own path.
            endpoint.set_path("");
            endpoint.set_query(None);
        }
        let header = api.secret.map(|(variable, _)| secret(variable)).transpose()?;
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

    /// Returns the secret of the platform, which a request sends in a header.
    pub(super) fn header(&self) -> Option<&Secret> {
        self.header.as_ref()
    }

    /// Returns the client id that the environment gives for the system-assigned identity.
    pub(super) fn default_identity(&self) -> Option<&str> {
        self.default_identity.as_deref()
    }

    /// Returns whether the agent of Azure Arc is installed.
    pub(super) fn has_arc_agent() -> bool {
        cfg!(target_os = "linux") && std::path::Path::new(ARC_AGENT).exists()
    }

    pub(crate) fn origin(&self) -> MachineSource {
        self.origin
    }

    /// Returns the host of the endpoint, without brackets.
    pub(super) fn host(&self) -> &str {
        self.endpoint.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// Returns the URL of the endpoint, without a slash at the end. The URL distinguishes machines in tests.
    pub(crate) fn base(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    /// Returns the thumbprint of the server's certificate, if the platform names it.
    pub(crate) fn pin(&self) -> Option<&ServerThumbprint> {
        self.pin.as_ref()
    }

    /// Returns the kind of connection to the platform. The connection uses no proxy. If the platform names the
    /// thumbprint of the server's certificate, the connection accepts only this certificate.
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

    /// Returns the request for a Bearer token. `authorization` answers a challenge of the platform.
    ///
    /// # Errors
    /// [`PlatformError::Identity`], if the platform cannot select this identity, and [`PlatformError::Url`].
    pub(crate) fn bearer_request(
        &self,
        asked: Asked<'_>,
        authorization: Option<HeaderValue>,
    ) -> Result<Request<Bytes>, PlatformError> {
        let Asked { id, resource, correlation_id, .. } = asked;
        self.origin.check_identity(id)?;
        let (capabilities, replaces) = self.told(asked);
        let api = Api::of(self.origin);
        let query = api.version.map(|version| ("api-version", version)).into_iter();
        let query = query
            .chain([("resource", resource)])
            .chain(self.selector(id)?)
            .chain(capabilities.as_deref().map(|all| ("xms_cc", all)))
            .chain(replaces.as_deref().map(|hash| ("token_sha256_to_refresh", hash)));

        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if api.metadata {
            headers.insert("metadata", HeaderValue::from_static("true"));
        }
        if let (Some((_, name)), Some(secret)) = (api.secret, &self.header) {
            // The secret was checked when the identity was built.
            if let Ok(mut value) = HeaderValue::from_str(secret.expose()) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        let mut url = self.endpoint.clone();
        let (mut method, mut body) = (Method::GET, String::new());
        match self.origin {
            MachineSource::CloudShell => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                method = Method::POST;
                body = url::form_urlencoded::Serializer::new(body).extend_pairs(query).finish();
            }
            MachineSource::Imds => {
                headers.insert("x-client-sku", HeaderValue::from_static(PRODUCT));
                headers.insert("x-client-ver", HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
                headers.extend(
                    HeaderValue::from_str(&correlation_id.to_string())
                        .map(|id| (HeaderName::from_static("x-ms-client-request-id"), id)),
                );
                url.set_path("/metadata/identity/oauth2/token");
                url.query_pairs_mut().extend_pairs(query);
            }
            _ => {
                url.query_pairs_mut().extend_pairs(query);
            }
        }
        let request = Request::builder().method(method).uri(url.as_str()).body(Bytes::from(body));
        let mut request = request.map_err(|_| PlatformError::Url { origin: self.origin })?;
        *request.headers_mut() = headers;
        Ok(request)
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
