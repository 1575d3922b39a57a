//! The host of a token request to Entra, and the rule that chose it.

use strum::EnumMessage as _;

use super::Channel;
use crate::authority::Authority;
use crate::environment::known_environment;
use crate::region::Region;

/// The rule by which an endpoint's host was chosen. `Display` writes the stable snake-case name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::EnumMessage)]
#[cfg_attr(test, derive(strum::VariantArray))]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum HostRule {
    /// The environment's mutual-TLS host.
    #[strum(
        message = "The client presents a certificate and no region is set, so the host is the environment's global mutual-TLS host."
    )]
    GlobalMtls,
    /// The environment's mutual-TLS host in the region.
    #[strum(
        message = "The client presents a certificate and a region is set, so the host is the region's mutual-TLS host."
    )]
    RegionalMtls,
    /// The environment's host in the region.
    #[strum(message = "A region is set, so the host is the environment's host in that region.")]
    Regional,
    /// The configured host, which is already the region's host.
    #[strum(message = "The authority's host already begins with the region, so the host is used unchanged.")]
    AlreadyRegional,
    /// The preferred host of a known or discovered environment.
    #[strum(
        message = "The authority's host belongs to a known environment, so that environment's preferred host is used."
    )]
    PreferredNetwork,
    /// The configured host, which belongs to no known environment.
    #[strum(message = "The authority's host belongs to no known environment, so the host is used unchanged.")]
    AsConfigured,
    /// The host of an authority that is not Entra.
    #[strum(
        message = "The authority is not Microsoft Entra, so its host is used unchanged, without a region."
    )]
    OnlyHost,
    /// The preferred host of custom metadata.
    #[strum(
        message = "Instance metadata was supplied, so its preferred host is used, even if a region is set or a certificate is presented."
    )]
    CustomMetadata,
    /// The endpoint that a document names: an OpenID issuer's metadata, or the metadata service's response.
    #[strum(
        message = "A document names the endpoint: the metadata of an OpenID issuer, or the metadata service's response."
    )]
    Discovered,
}

impl HostRule {
    /// Explains the rule in one sentence.
    pub fn explain(self) -> &'static str {
        self.get_message().unwrap_or_default()
    }
}

/// Returns the host for an Entra authority without custom metadata.
pub(super) fn of_entra(
    authority: &Authority,
    region: Option<&Region>,
    channel: Channel,
) -> (String, HostRule) {
    let host = authority.host();
    match (region, channel) {
        (Some(region), Channel::Plain) => regional(host, region),
        // There is no `AlreadyRegional` case here. The host begins with `login.`, so with that case a region named
        // `login` would select a host that does not request the client's certificate.
        (Some(region), Channel::MutualTls) => {
            (format!("{region}.{}", mtls_host(host)), HostRule::RegionalMtls)
        }
        (None, Channel::MutualTls) => (mtls_host(host), HostRule::GlobalMtls),
        (None, Channel::Plain) => {
            let known = known_environment(host).map(|known| known.preferred_network);
            match known.or_else(|| authority.discovered().map(|found| found.preferred_network())) {
                Some(preferred) => (preferred.to_owned(), HostRule::PreferredNetwork),
                None => (host.to_owned(), HostRule::AsConfigured),
            }
        }
    }
}

fn regional(host: &str, region: &Region) -> (String, HostRule) {
    let first_label = host.split_once('.').map(|(label, _)| label);
    if first_label.is_some_and(|label| label.eq_ignore_ascii_case(region.as_str())) {
        return (host.to_owned(), HostRule::AlreadyRegional);
    }
    let base = match known_environment(host) {
        Some(known) if known.is_public => "login.microsoft.com",
        Some(known) => known.preferred_network,
        None => host,
    };
    (format!("{region}.{base}"), HostRule::Regional)
}

/// Returns the mutual-TLS host of a host that begins with `login.`.
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
