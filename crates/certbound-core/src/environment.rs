//! The clouds, and the login hosts that are known without instance discovery.

use strum::{EnumProperty as _, VariantArray as _};

/// A Microsoft Entra cloud.
///
/// A listed cloud may be out of service. [`Cloud::GermanyLegacy`] was closed in 2021; it is listed because its login
/// host still names an environment. `Display` writes the stable lower-case name, such as `us_government`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum Cloud {
    /// The worldwide cloud.
    Public,
    /// China, operated by 21Vianet.
    China,
    /// The United States government.
    UsGovernment,
    /// Microsoft Cloud Germany. It was closed in 2021.
    GermanyLegacy,
    /// The French sovereign cloud.
    France,
    /// The German sovereign cloud.
    Germany,
    /// The Singaporean sovereign cloud.
    Singapore,
    /// Microsoft's pre-production ring of the worldwide cloud.
    Ppe,
}

impl Cloud {
    /// Every cloud, the public cloud first.
    pub const ALL: &'static [Cloud] = Self::VARIANTS;

    /// The login host to which the client sends requests without a region and without mutual TLS.
    pub const fn login_host(self) -> &'static str {
        match self {
            Cloud::Public => "login.microsoftonline.com",
            Cloud::China => "login.partner.microsoftonline.cn",
            Cloud::UsGovernment => "login.microsoftonline.us",
            Cloud::GermanyLegacy => "login.microsoftonline.de",
            Cloud::France => "login.sovcloud-identity.fr",
            Cloud::Germany => "login.sovcloud-identity.de",
            Cloud::Singapore => "login.sovcloud-identity.sg",
            Cloud::Ppe => "login.windows-ppe.net",
        }
    }

    /// The audience of a token exchange: the `aud` of an assertion, and the resource of Leg 1.
    ///
    /// Each cloud has an audience of its own, and refuses the audience of another cloud (AADSTS7002206). The result is
    /// `None` for [`Cloud::GermanyLegacy`], which has no token exchange.
    pub const fn exchange_uri(self) -> Option<&'static str> {
        Some(match self {
            Cloud::Public => "api://AzureADTokenExchange",
            Cloud::China => "api://AzureADTokenExchangeChina",
            Cloud::UsGovernment => "api://AzureADTokenExchangeUSGov",
            Cloud::GermanyLegacy => return None,
            Cloud::France => "api://AzureADTokenExchangeFrance",
            Cloud::Germany => "api://AzureADTokenExchangeGermany",
            Cloud::Singapore => "api://AzureADTokenExchangeGovSG",
            Cloud::Ppe => "api://AzureADTokenExchangePpe",
        })
    }

    /// The Microsoft Graph resource, without a trailing slash.
    ///
    /// The client requests a token for this resource. The host that accepts a certificate-bound token may have a
    /// different name.
    pub const fn graph_uri(self) -> &'static str {
        match self {
            Cloud::Public => "https://graph.microsoft.com",
            Cloud::China => "https://microsoftgraph.chinacloudapi.cn",
            Cloud::UsGovernment => "https://graph.microsoft.us",
            Cloud::GermanyLegacy => "https://graph.microsoft.de",
            Cloud::France => "https://graph.svc.sovcloud.fr",
            Cloud::Germany => "https://graph.svc.sovcloud.de",
            Cloud::Singapore => "https://graph.svc.sovcloud.sg",
            Cloud::Ppe => "https://graph.microsoft-ppe.com",
        }
    }

    /// The Key Vault resource, without a trailing slash. All vaults of the cloud are one resource.
    pub const fn vault_uri(self) -> &'static str {
        match self {
            Cloud::Public => "https://vault.azure.net",
            Cloud::China => "https://vault.azure.cn",
            Cloud::UsGovernment => "https://vault.usgovcloudapi.net",
            Cloud::GermanyLegacy => "https://vault.microsoftazure.de",
            Cloud::France => "https://vault.sovcloud-api.fr",
            Cloud::Germany => "https://vault.sovcloud-api.de",
            Cloud::Singapore => "https://vault.sovcloud-api.sg",
            Cloud::Ppe => "https://vault-int.azure-int.net",
        }
    }

    /// Returns the cloud of a login host. The host may be in its ordinary, regional or mutual-TLS form, and in upper or
    /// lower case.
    ///
    /// The result is `None` if the host belongs to no known environment. The function does not check that the host
    /// accepts requests.
    pub fn of_host(host: &str) -> Option<Cloud> {
        let host = host.to_ascii_lowercase();
        let login_form = |name: &str| match name.strip_prefix("mtlsauth.") {
            Some(rest) => format!("login.{rest}"),
            None => name.to_owned(),
        };
        known_environment(&login_form(&host))
            .or_else(|| known_environment(&login_form(host.split_once('.')?.1)))
            .map(|environment| environment.cloud)
    }
}

/// The exchange audiences of two clouds whose hosts are not public. For this reason [`Cloud`] has no variants for these
/// clouds.
const CLOSED_EXCHANGE_URIS: [&str; 2] =
    ["api://AzureADTokenExchangeUSNat", "api://AzureADTokenExchangeUSSec"];

/// Returns the audiences of a token exchange in every cloud, including the two clouds whose hosts are not public.
pub fn exchange_uris() -> impl Iterator<Item = &'static str> {
    Cloud::ALL.iter().filter_map(|cloud| cloud.exchange_uri()).chain(CLOSED_EXCHANGE_URIS)
}

/// The reason why the token exchange of an authority has no known audience.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum NoExchangeAudience {
    /// The cloud has no token exchange.
    #[error("the cloud {cloud} has no token exchange, so Leg 1 can obtain no assertion in this cloud")]
    #[strum(props(fix = "use an authority of a cloud with a token exchange for both legs"))]
    Cloud {
        /// The cloud.
        cloud: Cloud,
    },
    /// The login host belongs to no known cloud. Each cloud refuses the audience of another cloud, so certbound assumes
    /// no audience.
    #[error("no known cloud has the host `{host}`, so the audience of its token exchange is unknown")]
    #[strum(props(
        fix = "use the login host of a known cloud, such as login.microsoftonline.com; for a private name of a login host, give the client instance metadata whose `preferred_network` is this login host"
    ))]
    UnknownHost {
        /// The host.
        host: String,
    },
}

impl NoExchangeAudience {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        "token_exchange_not_supported"
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}

/// A set of login hosts that belong to one environment, and the two preferred hosts of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownEnvironment {
    /// Every login host of the environment, in lower case.
    pub aliases: &'static [&'static str],
    /// The host to which requests without a region and without mutual TLS are sent.
    pub preferred_network: &'static str,
    /// The host under which tokens are cached.
    pub preferred_cache: &'static str,
    /// Whether the regional and mutual-TLS hosts are the shared hosts under `microsoft.com`.
    pub is_public: bool,
    /// The cloud to which the environment belongs.
    pub cloud: Cloud,
}

/// Returns the environment that has `host` among its aliases. Upper and lower case are equal.
///
/// Only login hosts are found: a regional or a mutual-TLS host is not an alias.
pub fn known_environment(host: &str) -> Option<&'static KnownEnvironment> {
    KNOWN.iter().find(|environment| environment.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(host)))
}

/// Returns all known environments.
pub fn known_environments() -> impl Iterator<Item = &'static KnownEnvironment> {
    KNOWN.iter()
}

/// Whether two login hosts, in upper or lower case, are known aliases of one environment.
pub fn same_environment(one: &str, other: &str) -> bool {
    matches!((known_environment(one), known_environment(other)), (Some(one), Some(other)) if std::ptr::eq(one, other))
}

static KNOWN: [KnownEnvironment; 9] = [
    KnownEnvironment {
        preferred_cache: "login.windows.net",
        is_public: true,
        ..of_its_own(
            &["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"],
            Cloud::Public,
        )
    },
    of_its_own(&["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"], Cloud::China),
    of_its_own(&["login.microsoftonline.de"], Cloud::GermanyLegacy),
    of_its_own(&["login.microsoftonline.us", "login.usgovcloudapi.net"], Cloud::UsGovernment),
    // The token exchange of this host has the worldwide cloud's audience.
    of_its_own(&["login-us.microsoftonline.com"], Cloud::Public),
    of_its_own(&["login.windows-ppe.net", "sts.windows-ppe.net", "login.microsoft-ppe.com"], Cloud::Ppe),
    of_its_own(&["login.sovcloud-identity.fr"], Cloud::France),
    of_its_own(&["login.sovcloud-identity.de"], Cloud::Germany),
    of_its_own(&["login.sovcloud-identity.sg"], Cloud::Singapore),
];

/// Makes an environment whose first host is the preferred host.
const fn of_its_own(aliases: &'static [&'static str], cloud: Cloud) -> KnownEnvironment {
    KnownEnvironment {
        aliases,
        preferred_network: aliases[0],
        preferred_cache: aliases[0],
        is_public: false,
        cloud,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_is_the_cloud_of_its_own_login_host() {
        for &cloud in Cloud::ALL {
            assert_eq!(Cloud::of_host(cloud.login_host()), Some(cloud), "{cloud}");
        }
    }

    #[test]
    fn a_look_up_ignores_case_and_nothing_else() {
        assert!(known_environment("LOGIN.Windows.NET").is_some_and(|known| known.is_public));
        assert_eq!(known_environment("login.windows.net."), None);
        assert_eq!(known_environment("login.windows.net.evil.example"), None);
        assert_eq!(known_environment("mtlsauth.microsoft.com"), None);
        assert_eq!(known_environment(""), None);
    }

    #[test]
    fn no_host_is_an_alias_of_two_environments() {
        let mut seen = std::collections::HashSet::new();
        for environment in &KNOWN {
            assert!(environment.aliases.contains(&environment.preferred_network));
            assert!(environment.aliases.contains(&environment.preferred_cache));
            assert!(environment.aliases.iter().all(|alias| seen.insert(*alias)), "{environment:?}");
        }
    }

    #[test]
    fn regional_and_mutual_tls_hosts_belong_to_the_cloud_of_their_login_host() {
        for (host, cloud) in [
            ("mtlsauth.microsoft.com", Some(Cloud::Public)),
            ("westus3.login.microsoft.com", Some(Cloud::Public)),
            ("westus3.mtlsauth.microsoft.com", Some(Cloud::Public)),
            ("USGovVirginia.mtlsauth.microsoftonline.us", Some(Cloud::UsGovernment)),
            ("chinaeast2.mtlsauth.partner.microsoftonline.cn", Some(Cloud::China)),
            ("mtlsauth.sovcloud-identity.sg", Some(Cloud::Singapore)),
            ("eastus.mtlsauth.windows-ppe.net", Some(Cloud::Ppe)),
            ("a.b.login.microsoft.com", None),
            ("login.example.com", None),
        ] {
            assert_eq!(Cloud::of_host(host), cloud, "{host}");
        }
    }

    /// The rows repeat the documented table of MSAL.NET 4.92.0.
    #[test]
    fn the_exchange_audience_is_by_login_host() {
        for (hosts, audience) in [
            (
                &[
                    "login.microsoftonline.com",
                    "login.windows.net",
                    "login.microsoft.com",
                    "sts.windows.net",
                    "login-us.microsoftonline.com",
                ][..],
                Some("api://AzureADTokenExchange"),
            ),
            (
                &["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"],
                Some("api://AzureADTokenExchangeChina"),
            ),
            (
                &["login.microsoftonline.us", "login.usgovcloudapi.net"],
                Some("api://AzureADTokenExchangeUSGov"),
            ),
            (&["login.sovcloud-identity.fr"], Some("api://AzureADTokenExchangeFrance")),
            (&["login.sovcloud-identity.de"], Some("api://AzureADTokenExchangeGermany")),
            (&["login.sovcloud-identity.sg"], Some("api://AzureADTokenExchangeGovSG")),
            (
                &["login.windows-ppe.net", "sts.windows-ppe.net", "login.microsoft-ppe.com"],
                Some("api://AzureADTokenExchangePpe"),
            ),
            (&["login.microsoftonline.de"], None),
        ] {
            for host in hosts {
                assert_eq!(Cloud::of_host(host).unwrap().exchange_uri(), audience, "{host}");
            }
        }
    }

    #[test]
    fn no_two_clouds_share_an_exchange_audience() {
        let mut seen = std::collections::HashSet::new();
        assert!(exchange_uris().all(|uri| seen.insert(uri)));
        assert_eq!(seen.len(), Cloud::ALL.len() - 1 + CLOSED_EXCHANGE_URIS.len(), "one cloud has none");
    }
}
