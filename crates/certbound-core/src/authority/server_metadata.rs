//! The metadata of an OpenID Connect issuer (RFC 8414), with the members of RFC 8705.

use serde_json::{Map, Value};
use strum::EnumProperty as _;
use url::Url;

use super::Authority;
use crate::environment::known_environment;
use crate::json::{self, JsonError};
use crate::shown::shown;

/// The checked parts of an issuer's metadata that a token request needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerMetadata {
    issuer: String,
    token_endpoint: String,
    mtls_token_endpoint: Option<String>,
    binds_tokens: bool,
    authentication_methods: Option<Vec<String>>,
}

/// The methods to authenticate a client by the certificate of the connection (RFC 8705, section 2).
const BY_CERTIFICATE: [&str; 2] = ["tls_client_auth", "self_signed_tls_client_auth"];

impl ServerMetadata {
    /// The largest document that is read, in bytes.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// Returns the URL of an authority's metadata: the authority's URL without a slash at the end, followed by the
    /// well-known path.
    pub fn url_of(authority: &Authority) -> String {
        format!("{}/.well-known/openid-configuration", authority.url().trim_end_matches('/'))
    }

    /// Parses a document that was fetched from [`ServerMetadata::url_of`].
    ///
    /// The issuer in the document must have one of these forms: an `https` URL with the authority's host and port; an
    /// `https` URL with a known login host or a host one label below it; or the CIAM issuer of the authority's first
    /// path segment. In the first two forms, the path is not compared.
    ///
    /// # Errors
    /// [`MetadataError`] if the document is too large, is not JSON or is malformed, or if its issuer is not accepted.
    pub fn parse(authority: &Authority, document: &[u8]) -> Result<Self, MetadataError> {
        if document.len() > Self::MAX_BYTES {
            return Err(MetadataError::TooLarge { length: document.len() });
        }
        let document = json::parse_object(document)?;
        let issuer = text(&document, "issuer")?.unwrap_or_default();
        if !is_acceptable(authority, issuer) {
            return Err(MetadataError::Issuer { authority: authority.url(), found: shown(issuer) });
        }
        let token_endpoint = endpoint(text(&document, "token_endpoint")?, "token_endpoint")?
            .ok_or(MetadataError::Missing("token_endpoint"))?;
        let aliases = match document.get("mtls_endpoint_aliases") {
            None | Some(Value::Null) => None,
            Some(Value::Object(aliases)) => Some(aliases),
            Some(_) => return Err(MetadataError::WrongType("mtls_endpoint_aliases")),
        };
        let alias = aliases.map(|aliases| text(aliases, "token_endpoint")).transpose()?.flatten();
        Ok(Self {
            issuer: issuer.to_owned(),
            token_endpoint,
            mtls_token_endpoint: endpoint(alias, "mtls_endpoint_aliases")?,
            binds_tokens: match document.get("tls_client_certificate_bound_access_tokens") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(binds)) => *binds,
                Some(_) => {
                    return Err(MetadataError::WrongType("tls_client_certificate_bound_access_tokens"));
                }
            },
            authentication_methods: methods(&document)?,
        })
    }

    /// The issuer, as in the `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The token endpoint for a connection without a client certificate.
    pub fn token_endpoint(&self) -> &str {
        &self.token_endpoint
    }

    /// The token endpoint for a connection with a client certificate: the issuer's mutual-TLS alias, or the ordinary
    /// endpoint if the issuer has no alias.
    pub fn mtls_token_endpoint(&self) -> &str {
        self.mtls_token_endpoint.as_deref().unwrap_or(&self.token_endpoint)
    }

    /// Whether the metadata declares that the issuer binds tokens to the client's certificate.
    pub fn binds_tokens(&self) -> bool {
        self.binds_tokens
    }

    /// Whether a client may authenticate by its certificate alone. The result is also true if the metadata has no list
    /// of methods.
    pub fn takes_certificates(&self) -> bool {
        let by_certificate = |method: &String| BY_CERTIFICATE.contains(&method.as_str());
        self.authentication_methods.as_ref().is_none_or(|methods| methods.iter().any(by_certificate))
    }
}

fn text<'d>(document: &'d Map<String, Value>, name: &'static str) -> Result<Option<&'d str>, MetadataError> {
    match document.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(MetadataError::WrongType(name)),
    }
}

fn methods(document: &Map<String, Value>) -> Result<Option<Vec<String>>, MetadataError> {
    const NAME: &str = "token_endpoint_auth_methods_supported";
    let listed = match document.get(NAME) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(listed)) => listed,
        Some(_) => return Err(MetadataError::WrongType(NAME)),
    };
    let method = |value: &Value| value.as_str().map(str::to_owned).ok_or(MetadataError::WrongType(NAME));
    listed.iter().map(method).collect::<Result<_, _>>().map(Some)
}

/// Checks that the scheme is `https`, and that every URL parser reads the URL in the same way.
fn endpoint(url: Option<&str>, name: &'static str) -> Result<Option<String>, MetadataError> {
    let Some(written) = url else { return Ok(None) };
    let malformed = || MetadataError::Endpoint { name, found: shown(written) };
    let url = Url::parse(written).map_err(|_| malformed())?;
    let plain = url.scheme() == "https"
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
        && url.host_str().is_some()
        && url.as_str().len() <= 2048
        && (url.as_str() == written || url.as_str() == format!("{written}/"));
    if plain { Ok(Some(url.into())) } else { Err(malformed()) }
}

fn is_acceptable(authority: &Authority, issuer: &str) -> bool {
    let Ok(url) = Url::parse(issuer) else { return false };
    let Some(host) = url.host_str().filter(|_| url.scheme() == "https" && url.username().is_empty()) else {
        return false;
    };
    if host == authority.host() && url.port() == authority.port() {
        return true;
    }
    let below = |host: &str| host.split_once('.').is_some_and(|(_, rest)| known_environment(rest).is_some());
    if known_environment(host).is_some() || below(host) {
        return true;
    }
    let canonical = authority.url();
    let segment = canonical.split('/').nth(3).filter(|segment| !segment.is_empty());
    segment.is_some_and(|tenant| {
        let base = format!("https://{tenant}.ciamlogin.com");
        [base.clone(), format!("{base}/{tenant}"), format!("{base}/{tenant}/v2.0")]
            .iter()
            .any(|known| issuer.trim_end_matches('/') == known)
    })
}

/// The reason why a document is not an issuer's metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum MetadataError {
    /// The document is larger than [`ServerMetadata::MAX_BYTES`].
    #[error(
        "the issuer's metadata is {length} bytes long; at most {} bytes are accepted",
        ServerMetadata::MAX_BYTES
    )]
    TooLarge {
        /// The length of the document in bytes.
        length: usize,
    },
    /// The document is not an acceptable JSON object.
    #[error("the issuer's metadata cannot be read: {0}")]
    Json(#[from] JsonError),
    /// The document lacks a required member. The value is its name.
    #[error("the issuer's metadata has no `{0}`")]
    Missing(&'static str),
    /// A member has the wrong type. The value is its name.
    #[error("`{0}` in the issuer's metadata has the wrong type")]
    WrongType(&'static str),
    /// An endpoint is not a URL to which credentials may be sent.
    #[error("`{name}` in the issuer's metadata is not an https URL: `{found}`")]
    Endpoint {
        /// The name of the member.
        name: &'static str,
        /// The start of the URL, escaped.
        found: String,
    },
    /// The document names an issuer that is not accepted for the authority.
    #[error("the metadata of {authority} has an issuer that is not accepted: `{found}`")]
    #[strum(props(code = "authority_validation_failed"))]
    #[strum(props(
        fix = "if the issuer in the metadata is the intended issuer, configure that issuer as the authority"
    ))]
    Issuer {
        /// The authority whose metadata was fetched.
        authority: String,
        /// The start of the issuer in the document, escaped.
        found: String,
    },
}

impl MetadataError {
    /// Returns MSAL's code for the error.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or("oidc_failure")
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or(
            "check that the authority is an OpenID Connect issuer; its metadata must be a JSON document",
        )
    }
}
