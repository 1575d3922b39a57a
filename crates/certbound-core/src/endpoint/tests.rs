use proptest::prelude::*;

use strum::VariantArray as _;

use super::*;
use crate::environment::known_environment;
use crate::region::{DetectionFailure, RegionSource};

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
        assert_eq!(format!("{}:8443", endpoint.host()), expected);
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
fn a_region_that_is_detected_is_awaited_only_where_it_is_used() {
    let authority = Authority::parse("https://login.microsoftonline.com/contoso.com").unwrap();
    let failure = DetectionFailure::Status { status: 404 };
    let (source, remembered) = (RegionSource::MetadataService, false);
    let detected = RegionOutcome::Detected { source, remembered };
    for (region, outcome) in [(Some("eastus"), detected), (None, RegionOutcome::NotDetected { failure })] {
        let region = region.map(|name| Region::parse(name).unwrap());
        for (flow, channel) in FLOWS.into_iter().flat_map(|flow| CHANNELS.map(|channel| (flow, channel))) {
            let uses_region = (flow, channel) != (Flow::User, Channel::Plain);
            let awaiting = authority.clone().with_region(Region::detect());
            assert_eq!(awaiting.awaits_region(flow, channel), uses_region);
            let error = awaiting.token_endpoint(flow, channel).err();
            assert_eq!(error, uses_region.then_some(EndpointError::RegionNotDetected));
            let located = awaiting.with_region_outcome(region.clone(), outcome.clone());
            assert!(!located.awaits_region(flow, channel));
            let endpoint = located.token_endpoint(flow, channel).unwrap();
            let expected = if uses_region { &outcome } else { &RegionOutcome::NotUsed };
            assert_eq!(endpoint.region_outcome(), expected);
            assert_eq!(endpoint.region(), region.as_ref().filter(|_| uses_region));
        }
    }
    // Other kinds of authority have no regions, so no region is detected.
    let other =
        Authority::parse("https://host.example/dstsv2/contoso.com").unwrap().with_region(Region::detect());
    assert!(!other.awaits_region(Flow::ClientCredentials, Channel::MutualTls));
    assert!(other.token_endpoint(Flow::ClientCredentials, Channel::MutualTls).is_ok());
    // The authority in a cache key has no region.
    assert_eq!(authority.clone().with_region(Region::detect()).for_cache(), authority.for_cache());
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

/// MSAL.NET refused these two hosts before version 4.88.
#[test]
fn a_legacy_host_has_the_mutual_tls_host_of_its_cloud() {
    for (host, cloud) in
        [("login.usgovcloudapi.net", Cloud::UsGovernment), ("login.chinacloudapi.cn", Cloud::China)]
    {
        let legacy = Authority::parse(&format!("https://{host}/contoso.com")).unwrap();
        let current = Authority::in_cloud(cloud, TenantId::parse("contoso.com").unwrap());
        for region in [None, Some("somewhere")] {
            let hosts = [&legacy, &current].map(|authority| {
                let region = region.map(|name| Region::parse(name).unwrap());
                let authority = region.map_or(authority.clone(), |name| authority.clone().with_region(name));
                let endpoint = authority.token_endpoint(Flow::ClientCredentials, Channel::MutualTls);
                endpoint.unwrap().host().to_owned()
            });
            assert_eq!(hosts[0], hosts[1]);
        }
    }
}

#[test]
fn a_tenant_that_is_no_organization_cannot_issue_a_bound_token() {
    for (url, code) in [
        ("https://login.microsoftonline.com/consumers", Err("missing_tenanted_authority")),
        (
            "https://login.microsoftonline.com/9188040D-6c67-4c5b-b112-36a304b66dad",
            Err("missing_tenanted_authority"),
        ),
        ("https://host.example/dstsv2/common", Err("missing_tenanted_authority")),
        ("https://host.example/dstsv2/Organizations", Err("missing_tenanted_authority")),
        ("https://host.example/dstsv2/contoso.com", Ok(())),
        ("https://login.microsoftonline.com/contoso.com", Ok(())),
        ("https://host.example/adfs", Ok(())),
    ] {
        let authority = Authority::parse(url).unwrap();
        assert_eq!(authority.check_tenant().map_err(|error| error.code()), code, "{url}");
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
    let names: std::collections::HashSet<_> = HostRule::VARIANTS.iter().map(ToString::to_string).collect();
    let sentences: std::collections::HashSet<_> =
        HostRule::VARIANTS.iter().map(|rule| rule.explain()).collect();
    assert_eq!((names.len(), sentences.len()), (HostRule::VARIANTS.len(), HostRule::VARIANTS.len()));
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
        prop_assert_eq!(read.path(), "/contoso.com/oauth2/v2.0/token");
    }
}
