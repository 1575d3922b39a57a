//! The emulated hosts: the token service's hosts in every cloud, and the hosts of the world's resources and issuers.

use certbound_core::environment::{Cloud, known_environment, known_environments};
use certbound_core::region::Region;

use crate::world::{Resource, ResourceHost, ResourceStyle, World};

/// The part of the token endpoint's path after the tenant.
pub(crate) const TOKEN_PATH: &str = "/oauth2/v2.0/token";

/// The kind of an emulated host.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Host<'w> {
    /// An ordinary login host, global or regional. It never requests a certificate.
    Login(Cloud),
    /// A mutual-TLS host of the token service, global or regional.
    MutualTls(Cloud),
    /// A resource's host.
    Resource(&'w Resource, &'w ResourceHost),
    /// A host of external issuers that the emulator serves.
    Issuers,
}

impl Host<'_> {
    /// Returns the emulated host with this name, or `None` if the host is not emulated. The comparison ignores case.
    pub(crate) fn of<'w>(world: &'w World, name: &str) -> Option<Host<'w>> {
        let name = name.to_ascii_lowercase();
        token_service(&name).or_else(|| resource(world, &name)).or_else(|| issuers(world, &name))
    }

    /// Returns the cloud of a token service's host. For other hosts, returns the public cloud.
    pub(crate) fn cloud(&self) -> Cloud {
        match self {
            Host::Login(cloud) | Host::MutualTls(cloud) => *cloud,
            Host::Resource(..) | Host::Issuers => Cloud::Public,
        }
    }

    /// Returns whether the TLS handshake requests a client certificate.
    pub(crate) fn asks_for_certificate(&self) -> bool {
        match self {
            Host::Login(_) | Host::Issuers => false,
            Host::MutualTls(_) => true,
            Host::Resource(_, host) => host.asks_for_certificate && !host.late_certificate,
        }
    }

    /// Returns whether a renegotiation after a request requests the client certificate.
    pub(crate) fn asks_late(&self) -> bool {
        matches!(self, Host::Resource(_, host) if host.late_certificate)
    }

    /// Returns whether the host is a vault.
    pub(crate) fn is_vault(&self) -> bool {
        matches!(self, Host::Resource(resource, _) if resource.style == ResourceStyle::Vault)
    }

    /// Returns whether the TLS handshake offers HTTP/2. Only resources offer HTTP/2. A host that renegotiates does not
    /// offer it, because HTTP/2 forbids a renegotiation (RFC 9113, section 9.2.1).
    pub(crate) fn offers_http2(&self) -> bool {
        matches!(self, Host::Resource(_, host) if !host.late_certificate)
    }
}

/// Returns the domains that this world's certificate authority must allow: these names and their subdomains.
pub(crate) fn domains(world: &World) -> Vec<String> {
    let mut domains: Vec<String> = Cloud::ALL.iter().map(|cloud| mutual_tls_host(*cloud)).collect();
    let aliases = known_environments().flat_map(|environment| environment.aliases);
    domains.extend(aliases.map(|alias| (*alias).to_owned()));
    let hosts = world.resources.iter().flat_map(|resource| &resource.hosts);
    domains.extend(hosts.map(|host| host.name.trim_start_matches("*.").to_owned()));
    domains.extend(world.external_issuers.iter().filter_map(|it| it.served_host()).map(str::to_owned));
    domains.sort();
    domains.dedup();
    domains
}

/// Returns the mutual-TLS host of a cloud. The aliases of the public cloud share one host.
pub(crate) fn mutual_tls_host(cloud: Cloud) -> String {
    match cloud {
        Cloud::Public => "mtlsauth.microsoft.com".to_owned(),
        cloud => format!("mtlsauth.{}", cloud.login_host().trim_start_matches("login.")),
    }
}

fn token_service(name: &str) -> Option<Host<'static>> {
    global(name).or_else(|| {
        let (region, rest) = name.split_once('.')?;
        Region::parse(region).ok()?;
        global(rest).filter(|_| has_regions(rest))
    })
}

/// Returns whether the host name also exists with a region as its first label. This is true for `login.microsoft.com`
/// in the public cloud, for the usual login host of the other clouds, and for the mutual-TLS hosts.
fn has_regions(name: &str) -> bool {
    match known_environment(name) {
        None => true,
        Some(environment) if environment.is_public => name == "login.microsoft.com",
        Some(environment) => name == environment.preferred_network,
    }
}

fn global(name: &str) -> Option<Host<'static>> {
    let mutual_tls = Cloud::ALL.iter().find(|cloud| mutual_tls_host(**cloud) == name);
    match mutual_tls {
        Some(cloud) => Some(Host::MutualTls(*cloud)),
        None => known_environment(name).map(|environment| Host::Login(environment.cloud)),
    }
}

fn resource<'w>(world: &'w World, name: &str) -> Option<Host<'w>> {
    let mut all = world.resources.iter().flat_map(|it| it.hosts.iter().map(move |host| (it, host)));
    let covers = |pattern: &str| {
        let label =
            pattern.strip_prefix("*.").and_then(|parent| name.strip_suffix(parent)?.strip_suffix('.'));
        label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
    };
    let exact = all.clone().find(|(_, host)| host.name == name);
    let found = exact.or_else(|| all.find(|(_, host)| covers(&host.name)));
    found.map(|(resource, host)| Host::Resource(resource, host))
}

fn issuers(world: &World, name: &str) -> Option<Host<'static>> {
    world.external_issuers.iter().any(|it| it.served_host() == Some(name)).then_some(Host::Issuers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> String {
        match Host::of(&World::built_in(), name) {
            None => "none".to_owned(),
            Some(Host::Login(cloud)) => format!("login {cloud}"),
            Some(Host::MutualTls(cloud)) => format!("mtls {cloud}"),
            Some(Host::Resource(resource, _)) => resource.uris[0].clone(),
            Some(Host::Issuers) => "issuers".to_owned(),
        }
    }

    #[test]
    fn every_login_host_is_in_a_domain_of_the_certificate_authority() {
        let domains = domains(&World::built_in());
        for alias in known_environments().flat_map(|environment| environment.aliases) {
            assert!(domains.iter().any(|domain| domain == alias), "{alias}");
        }
        assert!(domains.iter().any(|domain| domain == "login-us.microsoftonline.com"), "{domains:?}");
    }

    #[test]
    fn a_host_with_exactly_this_name_comes_before_a_wildcard() {
        let mut world = World::built_in();
        let vault = world.resources.iter_mut().find(|it| it.uris[0] == "https://vault.azure.net").unwrap();
        let mut late = vault.hosts[0].clone();
        (late.name, late.late_certificate) = ("late.vault.azure.net".to_owned(), true);
        vault.hosts.push(late);
        let is_late = |name: &str| match Host::of(&world, name) {
            Some(Host::Resource(_, host)) => host.late_certificate,
            _ => panic!("{name} is not a resource"),
        };
        assert!(is_late("late.vault.azure.net") && !is_late("demo.vault.azure.net"));
    }

    #[test]
    fn each_host_is_what_it_is_in_every_cloud_and_nobody_elses() {
        for (name, expected) in [
            ("login.microsoftonline.com", "login public"),
            ("LOGIN.windows.net", "login public"),
            ("westus3.login.microsoft.com", "login public"),
            ("westus3.login.microsoftonline.com", "none"),
            ("eastus.sts.windows.net", "none"),
            ("chinaeast2.login.chinacloudapi.cn", "none"),
            ("chinaeast2.login.partner.microsoftonline.cn", "login china"),
            ("mtlsauth.microsoft.com", "mtls public"),
            ("westus3.mtlsauth.microsoft.com", "mtls public"),
            ("mtlsauth.microsoftonline.us", "mtls us_government"),
            ("chinaeast2.mtlsauth.partner.microsoftonline.cn", "mtls china"),
            ("mtlsauth.sovcloud-identity.fr", "mtls france"),
            ("mtlsauth.microsoftonline.com", "none"),
            ("mtlsauth.usgovcloudapi.net", "none"),
            ("a.b.mtlsauth.microsoft.com", "none"),
            ("we-st.mtlsauth.microsoft.com", "none"),
            ("demo.vault.azure.net", "https://vault.azure.net"),
            ("a.b.vault.azure.net", "none"),
            ("vault.azure.net", "none"),
            ("evilvault.azure.net", "none"),
            ("graph.microsoft.com", "https://graph.microsoft.com"),
            ("orders.contoso.example", "api://orders"),
            ("example.com", "none"),
            ("", "none"),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
}
