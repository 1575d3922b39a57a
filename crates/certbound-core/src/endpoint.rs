//! The token endpoint: the host of a request, and the rule that chose it.

use std::fmt;
use std::sync::Arc;
use strum::EnumProperty as _;

use crate::authority::{Authority, AuthorityKind};
use crate::environment::{Cloud, known_environment};
use crate::instance::Environment;
use crate::managed_identity::IssuedCredential;
use crate::region::Region;
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
    /// It makes no request. An unknown host is used unchanged, or a host is derived from it by the rule of the known
    /// ones. Kinds other than Entra have one host for every request, and no regions.
    ///
    /// # Errors
    /// [`EndpointError`] over mutual TLS, if the login host has no mutual-TLS host, whatever the region. Also for an
    /// OpenID issuer whose metadata is not known yet.
    pub fn token_endpoint(&self, flow: Flow, channel: Channel) -> Result<TokenEndpoint, EndpointError> {
        let Some(path) = self.token_path() else { return self.by_metadata(channel) };
        if let Some(environment) = self.environment() {
            let choice = Choice {
                host: environment.preferred_network().to_owned(),
                cache_environment: environment.preferred_cache().to_owned(),
                rule: HostRule::CustomMetadata,
            };
            return Ok(TokenEndpoint::new(self, None, choice, &path));
        }
        if self.kind() != AuthorityKind::Entra {
            return Ok(TokenEndpoint::new(self, None, as_it_is(self.host(), HostRule::OnlyHost), &path));
        }
        if channel == Channel::MutualTls {
            refuse_host_without_mtls(self.host())?;
        }
        let region = match (flow, channel) {
            (Flow::ClientCredentials, _) | (Flow::User, Channel::MutualTls) => self.region(),
            (Flow::User, Channel::Plain) => None,
        };
        let choice = match (region, channel) {
            (Some(region), Channel::Plain) => regional(self.host(), region),
            (Some(region), Channel::MutualTls) => regional_mtls(self.host(), region),
            (None, Channel::Plain) => preferred(self.host(), self.discovered()),
            (None, Channel::MutualTls) => global_mtls(self.host()),
        };
        Ok(TokenEndpoint::new(self, region, choice, &path))
    }

    fn by_metadata(&self, channel: Channel) -> Result<TokenEndpoint, EndpointError> {
        let metadata =
            self.metadata().ok_or_else(|| EndpointError::NotDiscovered { authority: self.url() })?;
        let url = match channel {
            Channel::Plain => metadata.token_endpoint(),
            Channel::MutualTls => metadata.mtls_token_endpoint(),
        };
        Ok(TokenEndpoint::named(url, self.host(), None))
    }

    /// Checks that a bound token can be requested from this authority.
    ///
    /// `by_certificate` says that the client authenticates by its certificate alone. Only OpenID issuers are checked.
    ///
    /// # Errors
    /// [`EndpointError::DoesNotBind`] or [`EndpointError::TakesNoCertificate`], according to the issuer's metadata.
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

/// The endpoint of a token request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenEndpoint {
    url: Arc<str>,
    host_end: usize,
    authority_end: usize,
    rule: HostRule,
    region: Option<Region>,
    cache_environment: Arc<str>,
    tenant: Option<TenantId>,
}

impl TokenEndpoint {
    fn new(authority: &Authority, region: Option<&Region>, choice: Choice, path: &str) -> Self {
        let mut url = format!("{SCHEME}{}", choice.host);
        let host_end = url.len();
        if let Some(port) = authority.port() {
            url.push_str(&format!(":{port}"));
        }
        let authority_end = url.len();
        url.push_str(path);
        Self {
            url: url.into(),
            host_end,
            authority_end,
            rule: choice.rule,
            region: region.cloned(),
            cache_environment: choice.cache_environment.into(),
            tenant: authority.tenant().cloned(),
        }
    }

    /// Makes an endpoint from a URL of a checked document: `https://host[:port]/…`.
    fn named(url: &str, cache_environment: &str, tenant: Option<TenantId>) -> Self {
        let rest = url.strip_prefix(SCHEME).unwrap_or_default();
        let authority_end = SCHEME.len() + rest.find(['/', '?']).unwrap_or(rest.len());
        let host_end =
            url[..authority_end].rfind(':').filter(|at| *at > SCHEME.len()).unwrap_or(authority_end);
        Self {
            url: url.into(),
            host_end,
            authority_end,
            rule: HostRule::Discovered,
            region: None,
            cache_environment: cache_environment.into(),
            tenant,
        }
    }

    /// Returns the endpoint for a certificate that the machine's metadata service issued. The region is read from the
    /// name of the host.
    pub fn of_machine(issued: &IssuedCredential) -> Self {
        let tenant = TenantId::parse(&issued.tenant_id).ok();
        let mut endpoint = Self::named(&issued.token_endpoint(), "managed_identity", tenant);
        let (first, rest) = endpoint.host().split_once('.').unwrap_or_default();
        endpoint.region = Cloud::of_host(rest).and_then(|_| Region::parse(first).ok());
        endpoint
    }

    /// The whole URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The host alone.
    pub fn host(&self) -> &str {
        &self.url[SCHEME.len()..self.host_end]
    }

    /// The host, with the port if it is not 443: `host[:port]` (RFC 3986 section 3.2).
    pub fn authority_part(&self) -> &str {
        &self.url[SCHEME.len()..self.authority_end]
    }

    /// The path, for Entra `/tenant/oauth2/v2.0/token`.
    pub fn path(&self) -> &str {
        &self.url[self.authority_end..]
    }

    /// The rule that chose the host.
    pub fn rule(&self) -> HostRule {
        self.rule
    }

    /// The region of this endpoint. `None` if the authority has no region, or if its region was not used.
    pub fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }

    /// The environment under which tokens from this endpoint are cached.
    ///
    /// It is the *configured* host for a regional or mutual-TLS endpoint, and the environment's preferred name
    /// otherwise.
    pub fn cache_environment(&self) -> &str {
        &self.cache_environment
    }

    /// The tenant. `None` for AD FS and OpenID issuers.
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

/// The rule by which an endpoint's host was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostRule {
    /// The environment's mutual-TLS host.
    GlobalMtls,
    /// The environment's mutual-TLS host in the region.
    RegionalMtls,
    /// The environment's host in the region.
    Regional,
    /// The configured host, which is already the region's host.
    AlreadyRegional,
    /// The preferred host of a known environment.
    PreferredNetwork,
    /// The configured host, which belongs to no known environment.
    AsConfigured,
    /// The host of an authority that is not Entra.
    OnlyHost,
    /// The preferred host of custom metadata.
    CustomMetadata,
    /// The endpoint in the issuer's metadata.
    Discovered,
}

impl HostRule {
    /// All rules.
    pub const ALL: &'static [HostRule] = &[
        HostRule::GlobalMtls,
        HostRule::RegionalMtls,
        HostRule::Regional,
        HostRule::AlreadyRegional,
        HostRule::PreferredNetwork,
        HostRule::AsConfigured,
        HostRule::OnlyHost,
        HostRule::CustomMetadata,
        HostRule::Discovered,
    ];

    /// Explains the rule in one sentence.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::GlobalMtls => {
                "The connection carries a client certificate and no region is set, so the host is the environment's \
                 global mutual-TLS host."
            }
            Self::RegionalMtls => {
                "The connection carries a client certificate and a region is set, so the host is the region's \
                 mutual-TLS host."
            }
            Self::Regional => "A region is set, so the host is the environment's host in that region.",
            Self::AlreadyRegional => {
                "The authority's host already begins with the region, so it is used as it is."
            }
            Self::PreferredNetwork => {
                "The authority's host belongs to a known environment, so that environment's preferred host is used."
            }
            Self::AsConfigured => {
                "The authority's host belongs to no known environment, so it is used as it is."
            }
            Self::OnlyHost => {
                "The authority is not Microsoft Entra, so its host is used as it is, without a region."
            }
            Self::CustomMetadata => {
                "Instance metadata was supplied, so the host it prefers is used, whatever the region and the channel."
            }
            Self::Discovered => {
                "The authority is an OpenID issuer, so the endpoint is the one its metadata names."
            }
        }
    }
}

/// Writes the stable snake-case name.
impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::GlobalMtls => "global_mtls",
            Self::RegionalMtls => "regional_mtls",
            Self::Regional => "regional",
            Self::AlreadyRegional => "already_regional",
            Self::PreferredNetwork => "preferred_network",
            Self::AsConfigured => "as_configured",
            Self::OnlyHost => "only_host",
            Self::CustomMetadata => "custom_metadata",
            Self::Discovered => "discovered",
        })
    }
}

/// Why an authority has no endpoint for a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum EndpointError {
    /// The host is an old name of its cloud, and no mutual-TLS host exists for it.
    #[error(
        "the authority's host `{host}` has no mutual-TLS endpoint; its cloud's is reached through `{instead}`"
    )]
    #[strum(props(fix = "Use the authority host login.partner.microsoftonline.cn."))]
    OldHost {
        /// The configured host.
        host: &'static str,
        /// The host of the same cloud that has a mutual-TLS host.
        instead: &'static str,
    },
    /// The host does not begin with `login.`, so no mutual-TLS host can be derived from it.
    #[error(
        "no mutual-TLS endpoint can be derived from the authority's host `{host}`: it does not start with `login.`"
    )]
    #[strum(props(
        fix = "Use the cloud's ordinary host, which starts with `login.` (login.microsoftonline.com for the public cloud), and set the region apart from it; the mutual-TLS host is derived from the two."
    ))]
    NotALoginHost {
        /// The configured host, escaped.
        host: String,
    },
    /// The issuer's metadata was not fetched. The token endpoint is known from there only.
    #[error("the token endpoint of {authority} is not known before its metadata is fetched")]
    #[strum(props(code = "authority_not_discovered"))]
    #[strum(props(fix = "Acquire a token; the client then fetches the metadata."))]
    NotDiscovered {
        /// The authority.
        authority: String,
    },
    /// The issuer's metadata does not say that it binds tokens (RFC 8705, section 3.3).
    #[error(
        "{issuer} does not issue certificate-bound tokens: its metadata lacks `tls_client_certificate_bound_access_tokens`"
    )]
    #[strum(props(fix = "Request a Bearer token, or enable RFC 8705 at the issuer."))]
    DoesNotBind {
        /// The issuer, escaped.
        issuer: String,
    },
    /// The issuer's metadata lists no method to authenticate by a certificate.
    #[error(
        "{issuer} does not authenticate clients by certificate: it lists neither `tls_client_auth` nor `self_signed_tls_client_auth`"
    )]
    #[strum(props(
        fix = "Use a credential other than a certificate, or enable tls_client_auth at the issuer."
    ))]
    TakesNoCertificate {
        /// The issuer, escaped.
        issuer: String,
    },
}

impl EndpointError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or("mtls_pop_not_supported_for_environment")
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::OldHost { host: US_OLD, .. } => "Use the authority host login.microsoftonline.us.",
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }
}

const SCHEME: &str = "https://";
const US_OLD: &str = "login.usgovcloudapi.net";
const CHINA_OLD: &str = "login.chinacloudapi.cn";

fn refuse_host_without_mtls(host: &str) -> Result<(), EndpointError> {
    match host {
        US_OLD => Err(EndpointError::OldHost { host: US_OLD, instead: "login.microsoftonline.us" }),
        CHINA_OLD => {
            Err(EndpointError::OldHost { host: CHINA_OLD, instead: "login.partner.microsoftonline.cn" })
        }
        _ if !host.starts_with("login.") => Err(EndpointError::NotALoginHost { host: shown(host) }),
        _ => Ok(()),
    }
}

struct Choice {
    host: String,
    cache_environment: String,
    rule: HostRule,
}

fn as_it_is(host: &str, rule: HostRule) -> Choice {
    Choice { host: host.to_owned(), cache_environment: host.to_owned(), rule }
}

fn preferred(host: &str, discovered: Option<&Environment>) -> Choice {
    let (host, cache_environment, rule) = match (known_environment(host), discovered) {
        (Some(known), _) => (known.preferred_network, known.preferred_cache, HostRule::PreferredNetwork),
        (None, Some(environment)) => {
            (environment.preferred_network(), environment.preferred_cache(), HostRule::PreferredNetwork)
        }
        (None, None) => (host, host, HostRule::AsConfigured),
    };
    Choice { host: host.to_owned(), cache_environment: cache_environment.to_owned(), rule }
}

fn regional(host: &str, region: &Region) -> Choice {
    let first_label = host.split_once('.').map(|(label, _)| label);
    if first_label.is_some_and(|label| label.eq_ignore_ascii_case(region.as_str())) {
        return Choice {
            host: host.to_owned(),
            cache_environment: host.to_owned(),
            rule: HostRule::AlreadyRegional,
        };
    }
    let base = match known_environment(host) {
        Some(known) if known.is_public => "login.microsoft.com",
        Some(known) => known.preferred_network,
        None => host,
    };
    Choice { host: format!("{region}.{base}"), cache_environment: host.to_owned(), rule: HostRule::Regional }
}

/// Returns the region's mutual-TLS host. It has no `AlreadyRegional` case: the host begins with `login.`, and a region
/// named `login` would send the certificate to a host that does not request it.
fn regional_mtls(host: &str, region: &Region) -> Choice {
    Choice {
        host: format!("{region}.{}", mtls_host(host)),
        cache_environment: host.to_owned(),
        rule: HostRule::RegionalMtls,
    }
}

fn global_mtls(host: &str) -> Choice {
    Choice { host: mtls_host(host), cache_environment: host.to_owned(), rule: HostRule::GlobalMtls }
}

fn mtls_host(host: &str) -> String {
    let base = match known_environment(host) {
        Some(known) if known.is_public => return "mtlsauth.microsoft.com".to_owned(),
        Some(known) => known.preferred_network,
        None => host,
    };
    match base.strip_prefix("login.") {
        Some(rest) => format!("mtlsauth.{rest}"),
        None => base.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::environment::Cloud;

    const FLOWS: [Flow; 2] = [Flow::ClientCredentials, Flow::User];
    const CHANNELS: [Channel; 2] = [Channel::Plain, Channel::MutualTls];

    #[test]
    fn the_port_survives_every_replacement_of_the_host() {
        let authority = Authority::parse("https://login.windows.net:8443/contoso.com/extra").unwrap();
        let regional = authority.clone().with_region(Region::parse("westus3").unwrap());
        for (authority, channel, expected) in [
            (&authority, Channel::Plain, "login.microsoftonline.com:8443"),
            (&authority, Channel::MutualTls, "mtlsauth.microsoft.com:8443"),
            (&regional, Channel::Plain, "westus3.login.microsoft.com:8443"),
            (&regional, Channel::MutualTls, "westus3.mtlsauth.microsoft.com:8443"),
        ] {
            let endpoint = authority.token_endpoint(Flow::ClientCredentials, channel).unwrap();
            assert_eq!(endpoint.authority_part(), expected);
            assert_eq!(format!("{}:8443", endpoint.host()), expected);
            assert_eq!(endpoint.path(), "/contoso.com/oauth2/v2.0/token");
            assert_eq!(endpoint.url(), format!("https://{expected}/contoso.com/oauth2/v2.0/token"));
            assert_eq!(endpoint.tenant().map(TenantId::as_str), Some("contoso.com"));
        }
    }

    #[test]
    fn the_region_is_reported_only_where_it_is_used() {
        let authority = Authority::parse("https://login.microsoftonline.com/contoso.com")
            .unwrap()
            .with_region(Region::parse("westus3").unwrap());
        for flow in FLOWS {
            for channel in CHANNELS {
                let endpoint = authority.token_endpoint(flow, channel).unwrap();
                assert_eq!(endpoint.region().is_some(), endpoint.host().starts_with("westus3."));
            }
        }
    }

    #[test]
    fn a_region_named_login_does_not_keep_the_certificate_from_the_mutual_tls_host() {
        let authority = Authority::parse("https://login.microsoftonline.com/contoso.com")
            .unwrap()
            .with_region(Region::parse("login").unwrap());
        let endpoint = authority.token_endpoint(Flow::ClientCredentials, Channel::MutualTls).unwrap();
        assert_eq!(endpoint.host(), "login.mtlsauth.microsoft.com");
    }

    #[test]
    fn a_regional_host_is_recognised_in_any_case() {
        let authority = Authority::parse("https://westus3.login.microsoft.com/contoso.com")
            .unwrap()
            .with_region(Region::parse("WestUS3").unwrap());
        let endpoint = authority.token_endpoint(Flow::ClientCredentials, Channel::Plain).unwrap();
        assert_eq!(
            (endpoint.host(), endpoint.rule()),
            ("westus3.login.microsoft.com", HostRule::AlreadyRegional)
        );
    }

    #[test]
    fn a_refusal_names_the_host_to_use() {
        for (host, instead) in [(US_OLD, Cloud::UsGovernment), (CHINA_OLD, Cloud::China)] {
            let authority = Authority::parse(&format!("https://{host}/contoso.com")).unwrap();
            let error = authority.token_endpoint(Flow::ClientCredentials, Channel::MutualTls).unwrap_err();
            assert!(error.to_string().contains(instead.login_host()), "{error}");
            assert!(error.fix().contains(instead.login_host()), "{error}");
            assert_eq!(authority.cloud(), instead);
        }
    }

    #[test]
    fn every_cloud_has_a_mutual_tls_endpoint_of_the_same_cloud() {
        for &cloud in Cloud::ALL {
            let authority = Authority::in_cloud(cloud, TenantId::parse("contoso.com").unwrap());
            for authority in [authority.clone(), authority.with_region(Region::parse("somewhere").unwrap())] {
                let endpoint = authority.token_endpoint(Flow::ClientCredentials, Channel::MutualTls).unwrap();
                assert_eq!(Cloud::of_host(endpoint.host()), Some(cloud), "{endpoint}");
            }
        }
    }

    #[test]
    fn every_rule_has_a_name_and_a_sentence_of_its_own() {
        let names: std::collections::HashSet<_> = HostRule::ALL.iter().map(ToString::to_string).collect();
        let sentences: std::collections::HashSet<_> =
            HostRule::ALL.iter().map(|rule| rule.explain()).collect();
        assert_eq!((names.len(), sentences.len()), (HostRule::ALL.len(), HostRule::ALL.len()));
        assert!(sentences.iter().all(|sentence| sentence.ends_with('.')));
    }

    /// Returns the possible ends of an endpoint's host: names that the owner of the configured host owns.
    fn families(host: &str) -> Vec<String> {
        match known_environment(host) {
            Some(known) if known.is_public => vec![".microsoft.com".into(), ".microsoftonline.com".into()],
            Some(known) => vec![known.preferred_network.trim_start_matches("login").into()],
            None => vec![host.trim_start_matches("login").into()],
        }
    }

    proptest! {
        #[test]
        fn an_endpoint_stays_in_the_authoritys_own_family(
            host in prop_oneof![
                proptest::sample::select(vec![
                    "login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net",
                    "login.microsoftonline.us", "login.usgovcloudapi.net", "login.chinacloudapi.cn",
                    "login.partner.microsoftonline.cn", "login-us.microsoftonline.com", "login.microsoft-ppe.com",
                    "login.sovcloud-identity.fr", "mtlsauth.microsoft.com", "westus3.login.microsoft.com",
                ]).prop_map(str::to_owned),
                "(login\\.)?[a-z]{1,5}(\\.[a-z]{2,5}){1,3}",
            ],
            port in proptest::option::of(1u16..),
            region in proptest::option::of("[A-Za-z0-9]{1,12}|login|mtlsauth|westus3"),
            flow in proptest::sample::select(FLOWS.to_vec()),
            channel in proptest::sample::select(CHANNELS.to_vec()),
        ) {
            let port_part = port.map(|port| format!(":{port}")).unwrap_or_default();
            let mut authority = Authority::parse(&format!("https://{host}{port_part}/contoso.com")).unwrap();
            if let Some(region) = &region {
                authority = authority.with_region(Region::parse(region).unwrap());
            }
            let Ok(endpoint) = authority.token_endpoint(flow, channel) else {
                prop_assert_eq!(channel, Channel::MutualTls);
                return Ok(());
            };
            let host = endpoint.host().to_ascii_lowercase();
            prop_assert!(
                host == authority.host() || families(authority.host()).iter().any(|family| host.ends_with(family)),
                "{} from {}", endpoint, authority
            );
            if channel == Channel::MutualTls {
                prop_assert!(host.starts_with("mtlsauth.") || host.contains(".mtlsauth."), "{}", endpoint);
            }
            let read = url::Url::parse(endpoint.url()).unwrap();
            prop_assert_eq!(read.host_str(), Some(host.as_str()));
            prop_assert_eq!(read.port(), port.filter(|port| *port != 443));
            prop_assert_eq!(read.path(), endpoint.path());
        }
    }
}
