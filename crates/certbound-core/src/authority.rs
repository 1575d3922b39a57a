//! The authority: who issues the tokens. A login host, one tenant, and at most one region.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use url::{Host, Url};

use crate::environment::Cloud;
use crate::region::Region;
use crate::shown::shown;
use crate::tenant::{TenantError, TenantId, is_host_name};

/// A Microsoft Entra authority, `https://host[:port]/tenant/`, with the region to use there.
///
/// Does not ask whether the host exists or belongs to Microsoft: an unknown host is an environment of its own. Other
/// kinds of authority (AD FS, dSTS, B2C, CIAM) are refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Arc<str>,
    port: Option<u16>,
    tenant: TenantId,
    region: Option<Region>,
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
        let segment = parsed.path().split('/').nth(1).unwrap_or_default();
        if let Some(kind) = AuthorityKind::other_than_entra(host, segment) {
            return Err(AuthorityUrlError::TypeNotSupported { kind });
        }
        if segment.is_empty() {
            return Err(AuthorityUrlError::PathRequired { host: shown(host) });
        }
        let tenant = TenantId::parse(segment)?;
        Ok(Self { host: host.into(), port: parsed.port(), tenant, region: None })
    }

    /// The public cloud's authority for a tenant.
    pub fn public(tenant: TenantId) -> Self {
        Self::in_cloud(Cloud::Public, tenant)
    }

    /// A cloud's authority for a tenant, on the login host from which a mutual-TLS host can be derived.
    pub fn in_cloud(cloud: Cloud, tenant: TenantId) -> Self {
        Self { host: cloud.login_host().into(), port: None, tenant, region: None }
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

    /// The same authority for another tenant.
    #[must_use]
    pub fn with_tenant(self, tenant: TenantId) -> Self {
        Self { tenant, ..self }
    }

    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
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

    /// The canonical URL, `https://host[:port]/tenant/`; the region has no place in it.
    pub fn url(&self) -> String {
        let Self { host, tenant, .. } = self;
        match self.port {
            Some(port) => format!("https://{host}:{port}/{tenant}/"),
            None => format!("https://{host}/{tenant}/"),
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

/// A kind of authority that is not Microsoft Entra.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthorityKind {
    /// A customer directory on `*.ciamlogin.com`.
    Ciam,
    /// Active Directory Federation Services, path `/adfs`.
    Adfs,
    /// The datacenter security token service, path `/dstsv2`.
    Dsts,
    /// Azure AD B2C, path `/tfp`.
    B2c,
}

impl AuthorityKind {
    fn other_than_entra(host: &str, first_segment: &str) -> Option<Self> {
        match first_segment {
            _ if host.ends_with(".ciamlogin.com") => Some(Self::Ciam),
            "adfs" => Some(Self::Adfs),
            "dstsv2" => Some(Self::Dsts),
            "tfp" => Some(Self::B2c),
            _ => None,
        }
    }
}

impl fmt::Display for AuthorityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ciam => "CIAM (*.ciamlogin.com)",
            Self::Adfs => "AD FS (/adfs)",
            Self::Dsts => "dSTS (/dstsv2)",
            Self::B2c => "B2C (/tfp)",
        })
    }
}

/// Why a string is not an authority URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityUrlError {
    /// The text is no absolute URL with a plain host name, or is not written the way a URL parser would write it.
    #[error("`{shown}` is not the URL of an authority")]
    Malformed {
        /// The start of the text, escaped, without user information, query and fragment.
        shown: String,
    },
    /// The scheme is not `https`.
    #[error("the authority's scheme is `{scheme}`, and credentials are sent over `https` only")]
    NotHttps {
        /// The scheme, escaped.
        scheme: String,
    },
    /// The URL has a part that an authority has no use for. It is not shown, because it may be secret.
    #[error("the authority URL has {part}, which an authority never has")]
    ExtraPart {
        /// Which part.
        part: &'static str,
    },
    /// The URL ends after the host.
    #[error("the authority on `{host}` names no tenant: its first path segment is missing")]
    PathRequired {
        /// The host, escaped.
        host: String,
    },
    /// The URL is of an authority that is not Microsoft Entra.
    #[error("the authority is of the type {kind}, which is not supported")]
    TypeNotSupported {
        /// The kind of authority it is.
        kind: AuthorityKind,
    },
    /// The first path segment is not a tenant.
    #[error(transparent)]
    Tenant(#[from] TenantError),
}

impl AuthorityUrlError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } | Self::ExtraPart { .. } => "authority_invalid",
            Self::NotHttps { .. } => "authority_not_https",
            Self::PathRequired { .. } => "authority_path_required",
            Self::TypeNotSupported { .. } => "authority_type_not_supported",
            Self::Tenant(error) => error.code(),
        }
    }

    /// What to do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Malformed { .. } | Self::ExtraPart { .. } => {
                "Write the authority as https://host/tenant, for example https://login.microsoftonline.com/contoso.com."
            }
            Self::NotHttps { .. } => "Begin the authority with https://.",
            Self::PathRequired { .. } => "Add the tenant to the authority: https://host/tenant.",
            Self::TypeNotSupported { .. } => {
                "Use a Microsoft Entra authority, for example https://login.microsoftonline.com/contoso.com."
            }
            Self::Tenant(error) => error.fix(),
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TENANT: &str = "bea21ebe-8b64-4d06-9f6d-6a889b120a7c";

    fn code(url: &str) -> &'static str {
        Authority::parse(url).map_or_else(|error| error.code(), |_| "accepted")
    }

    #[test]
    fn the_canonical_form_is_host_port_and_tenant_in_lower_case() {
        for (written, canonical) in [
            (
                "https://login.microsoftonline.com/contoso.com",
                "https://login.microsoftonline.com/contoso.com/",
            ),
            (
                "HTTPS://LOGIN.MicrosoftOnline.com/Contoso.COM/",
                "https://login.microsoftonline.com/contoso.com/",
            ),
            ("https://login.example/contoso.com/foo/v2.0", "https://login.example/contoso.com/"),
            ("https://login.example:443/contoso.com", "https://login.example/contoso.com/"),
            ("https://login.example:8443/contoso.com", "https://login.example:8443/contoso.com/"),
            ("https://localhost:8443/consumers", "https://localhost:8443/consumers/"),
            ("https://127.0.0.1:8443/consumers", "https://127.0.0.1:8443/consumers/"),
        ] {
            let authority = Authority::parse(written).unwrap();
            assert_eq!(authority.url(), canonical, "{written}");
            assert_eq!(Authority::parse(canonical), Ok(authority), "{canonical}");
        }
    }

    #[test]
    fn a_part_too_many_is_named_and_the_length_is_bounded() {
        for (url, part) in [
            ("https://user@login.example/contoso.com", "a user name or password"),
            ("https://login.example/contoso.com?x=1", "a query"),
            ("https://login.example/contoso.com#x", "a fragment"),
        ] {
            assert_eq!(Authority::parse(url), Err(AuthorityUrlError::ExtraPart { part }), "{url}");
        }
        let long = |bytes: usize| {
            let start = "https://login.example/contoso.com/";
            format!("{start}{}", "a".repeat(bytes - start.len()))
        };
        assert_eq!(code(&long(MAX_URL_BYTES)), "accepted");
        assert_eq!(code(&long(MAX_URL_BYTES + 1)), "authority_invalid");
    }

    #[test]
    fn what_is_not_an_entra_authority_is_refused_by_name() {
        for (url, expected) in [
            ("", "authority_invalid"),
            ("login.microsoftonline.com/contoso.com", "authority_invalid"),
            ("/contoso.com", "authority_invalid"),
            ("https://", "authority_invalid"),
            ("https:///contoso.com", "authority_invalid"),
            ("https:/login.example/contoso.com", "authority_invalid"),
            ("https:login.example/contoso.com", "authority_invalid"),
            ("https:\\\\login.example\\contoso.com", "authority_invalid"),
            (" https://login.example/contoso.com", "authority_invalid"),
            ("https://login.example/contoso.com\n", "authority_invalid"),
            ("https://login.\texample/contoso.com", "authority_invalid"),
            ("https://user@login.example/contoso.com", "authority_invalid"),
            ("https://user:pass@login.example/contoso.com", "authority_invalid"),
            ("https://@login.example/contoso.com", "authority_invalid"),
            ("https://login.example/contoso.com?x=1", "authority_invalid"),
            ("https://login.example/contoso.com?", "authority_invalid"),
            ("https://login.example/contoso.com#x", "authority_invalid"),
            ("https://login.example:0/contoso.com", "authority_invalid"),
            ("https://login.example:65536/contoso.com", "authority_invalid"),
            ("https://login.example./contoso.com", "authority_invalid"),
            ("https://login..example/contoso.com", "authority_invalid"),
            ("https://log_in.example/contoso.com", "authority_invalid"),
            ("https://-login.example/contoso.com", "authority_invalid"),
            ("https://%6cogin.example/contoso.com", "authority_invalid"),
            ("https://lоgin.example/contoso.com", "authority_invalid"),
            ("https://login。example/contoso.com", "authority_invalid"),
            ("https://[::1]/contoso.com", "authority_invalid"),
            ("https://0x7f.1/contoso.com", "authority_invalid"),
            ("https://2130706433/contoso.com", "authority_invalid"),
            ("https://login.example/../contoso.com", "authority_invalid"),
            ("https://login.example/a/%2e%2e/contoso.com", "authority_invalid"),
            ("http://login.example/contoso.com", "authority_not_https"),
            ("ftp://login.example/contoso.com", "authority_not_https"),
            ("file:///contoso.com", "authority_not_https"),
            ("https://login.example", "authority_path_required"),
            ("https://login.example/", "authority_path_required"),
            ("https://login.example//contoso.com", "authority_path_required"),
            ("https://login.example/common", "missing_tenanted_authority"),
            ("https://login.example/Organizations/", "missing_tenanted_authority"),
            ("https://login.example/contoso", "invalid_tenant"),
            ("https://login.example/contoso%2ecom", "invalid_tenant"),
            ("https://contoso.ciamlogin.com/", "authority_type_not_supported"),
            ("https://contoso.ciamlogin.com/contoso.onmicrosoft.com", "authority_type_not_supported"),
            ("https://fs.contoso.com/ADFS", "authority_type_not_supported"),
            ("https://host.example/dstsv2/contoso.com", "authority_type_not_supported"),
            ("https://host.example/tfp/contoso.com/policy", "authority_type_not_supported"),
        ] {
            assert_eq!(code(url), expected, "{url:?}");
        }
    }

    #[test]
    fn a_refused_type_is_named() {
        let error = Authority::parse("https://fs.contoso.com/adfs").unwrap_err();
        assert_eq!(error.to_string(), "the authority is of the type AD FS (/adfs), which is not supported");
    }

    #[test]
    fn no_message_repeats_user_information_or_a_query() {
        for url in [
            "https://user:hunter2@login.example/contoso.com",
            "https://user:hunter2@login.exa mple/contoso.com",
            "https://login.example/contoso.com?code=hunter2",
            "https://login.exa mple/contoso.com?code=hunter2",
            "https://login.exa mple/contoso.com#hunter2",
            "https://user:x?hunter2@login.exa mple/contoso.com",
            "https://user:hunter2?x@login.exa mple/contoso.com",
        ] {
            let error = Authority::parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn the_cloud_follows_from_the_host() {
        let tenant = TenantId::parse(TENANT).unwrap();
        for &cloud in Cloud::ALL {
            let authority = Authority::in_cloud(cloud, tenant.clone());
            assert_eq!(authority.cloud(), cloud);
            assert_eq!(Authority::parse(&authority.url()), Ok(authority));
        }
        assert_eq!(Authority::parse("https://login.example/contoso.com").unwrap().cloud(), Cloud::Public);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = Authority::parse(&text);
        }

        #[test]
        fn what_is_accepted_reads_back_and_is_what_was_written(
            text in "[hH]ttps://[a-zA-Z0-9.:@%_/\\\\?#-]{1,24}(/[a-zA-Z0-9.%-]{0,12}){0,3}",
        ) {
            if let Ok(authority) = Authority::parse(&text) {
                let start = format!("https://{}", authority.host());
                prop_assert!(text.to_ascii_lowercase().starts_with(&start), "{} from {}", authority, text);
                prop_assert_eq!(Authority::parse(&authority.url()), Ok(authority));
            }
        }
    }
}
