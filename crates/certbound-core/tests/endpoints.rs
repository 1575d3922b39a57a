//! Examples of the rule that determines the host of the token endpoint. The numbers of the rows are stable.
//!
//! `T` stands for a tenant. Rows 53 and 54 need metadata, so each of these rows has its own test.

use certbound_core::authority::Authority;
use certbound_core::authority::instance::InstanceMetadata;
use certbound_core::authority::server_metadata::ServerMetadata;
use certbound_core::endpoint::{Channel, Flow, TokenEndpoint};
use certbound_core::region::Region;

use self::Expected::{Goes, Refused};

/// The tenant. Each authority contains the tenant in upper case, and the endpoint must contain it in lower case.
const TENANT: &str = "bea21ebe-8b64-4d06-9f6d-6a889b120a7c";

const NO_REGION: &[Option<&str>] = &[None];
const ANY_REGION: &[Option<&str>] = &[None, Some("westus3"), Some("usgovvirginia"), Some("login")];
const CC: &[Flow] = &[Flow::ClientCredentials];
const USER: &[Flow] = &[Flow::User];
const ANY_FLOW: &[Flow] = &[Flow::ClientCredentials, Flow::User];
const PLAIN: &[Channel] = &[Channel::Plain];
const MTLS: &[Channel] = &[Channel::MutualTls];
const ANY_CHANNEL: &[Channel] = &[Channel::Plain, Channel::MutualTls];

/// The columns: number, authority, regions, flows, channels; then the endpoint, or the error code. In rows 22 and 23
/// the region is the result of a region detection, which the test passes as an argument.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    row(1, "https://login.microsoftonline.com/T", NO_REGION, CC, PLAIN, Goes("https://login.microsoftonline.com/T/oauth2/v2.0/token")),
    row(2, "https://login.windows.net/T", NO_REGION, CC, PLAIN, Goes("https://login.microsoftonline.com/T/oauth2/v2.0/token")),
    row(3, "https://sts.windows.net/T", NO_REGION, CC, PLAIN, Goes("https://login.microsoftonline.com/T/oauth2/v2.0/token")),
    row(4, "https://login.microsoft.com/T", NO_REGION, CC, PLAIN, Goes("https://login.microsoftonline.com/T/oauth2/v2.0/token")),
    row(5, "https://login.usgovcloudapi.net/T", NO_REGION, CC, PLAIN, Goes("https://login.microsoftonline.us/T/oauth2/v2.0/token")),
    row(6, "https://login.chinacloudapi.cn/T", NO_REGION, CC, PLAIN, Goes("https://login.partner.microsoftonline.cn/T/oauth2/v2.0/token")),
    row(7, "https://login.microsoftonline.com/T", &[Some("westus3")], CC, PLAIN, Goes("https://westus3.login.microsoft.com/T/oauth2/v2.0/token")),
    row(8, "https://login.windows.net/T", &[Some("westus3")], CC, PLAIN, Goes("https://westus3.login.microsoft.com/T/oauth2/v2.0/token")),
    row(9, "https://sts.windows.net/T", &[Some("westus3")], CC, PLAIN, Goes("https://westus3.login.microsoft.com/T/oauth2/v2.0/token")),
    row(10, "https://login.microsoftonline.us/T", &[Some("usgovvirginia")], CC, PLAIN, Goes("https://usgovvirginia.login.microsoftonline.us/T/oauth2/v2.0/token")),
    row(11, "https://login.usgovcloudapi.net/T", &[Some("usgovvirginia")], CC, PLAIN, Goes("https://usgovvirginia.login.microsoftonline.us/T/oauth2/v2.0/token")),
    row(12, "https://login.chinacloudapi.cn/T", &[Some("chinaeast2")], CC, PLAIN, Goes("https://chinaeast2.login.partner.microsoftonline.cn/T/oauth2/v2.0/token")),
    row(13, "https://login.sovcloud-identity.fr/T", &[Some("francecentral")], CC, PLAIN, Goes("https://francecentral.login.sovcloud-identity.fr/T/oauth2/v2.0/token")),
    row(14, "https://login.someenv.com/T", &[Some("centralus")], CC, PLAIN, Goes("https://centralus.login.someenv.com/T/oauth2/v2.0/token")),
    row(15, "https://westus3.login.microsoft.com/T", &[Some("westus3")], CC, PLAIN, Goes("https://westus3.login.microsoft.com/T/oauth2/v2.0/token")),
    row(16, "https://login.microsoftonline.com/T", &[Some("westus3")], USER, PLAIN, Goes("https://login.microsoftonline.com/T/oauth2/v2.0/token")),
    row(17, "https://login.microsoftonline.com/T", NO_REGION, CC, MTLS, Goes("https://mtlsauth.microsoft.com/T/oauth2/v2.0/token")),
    row(18, "https://login.windows.net/T", NO_REGION, CC, MTLS, Goes("https://mtlsauth.microsoft.com/T/oauth2/v2.0/token")),
    row(19, "https://login.microsoft.com/T", NO_REGION, CC, MTLS, Goes("https://mtlsauth.microsoft.com/T/oauth2/v2.0/token")),
    row(20, "https://login.microsoftonline.com/T", &[Some("westus3")], CC, MTLS, Goes("https://westus3.mtlsauth.microsoft.com/T/oauth2/v2.0/token")),
    row(21, "https://LOGIN.MicrosoftOnline.com/T", &[Some("eastus")], CC, MTLS, Goes("https://eastus.mtlsauth.microsoft.com/T/oauth2/v2.0/token")),
    row(22, "https://login.microsoftonline.com/T", &[Some("eastus")], CC, MTLS, Goes("https://eastus.mtlsauth.microsoft.com/T/oauth2/v2.0/token")),
    row(23, "https://login.microsoftonline.com/T", NO_REGION, CC, MTLS, Goes("https://mtlsauth.microsoft.com/T/oauth2/v2.0/token")),
    row(24, "https://login.microsoftonline.com/T", &[Some("evil.com/x")], CC, MTLS, Refused("invalid_region")),
    row(25, "https://login.microsoftonline.us/T", NO_REGION, CC, MTLS, Goes("https://mtlsauth.microsoftonline.us/T/oauth2/v2.0/token")),
    row(26, "https://login.microsoftonline.us/T", &[Some("usgovvirginia")], CC, MTLS, Goes("https://usgovvirginia.mtlsauth.microsoftonline.us/T/oauth2/v2.0/token")),
    row(27, "https://login.partner.microsoftonline.cn/T", NO_REGION, CC, MTLS, Goes("https://mtlsauth.partner.microsoftonline.cn/T/oauth2/v2.0/token")),
    row(28, "https://login.partner.microsoftonline.cn/T", &[Some("chinaeast2")], CC, MTLS, Goes("https://chinaeast2.mtlsauth.partner.microsoftonline.cn/T/oauth2/v2.0/token")),
    row(29, "https://login.sovcloud-identity.fr/T", NO_REGION, CC, MTLS, Goes("https://mtlsauth.sovcloud-identity.fr/T/oauth2/v2.0/token")),
    row(30, "https://login.sovcloud-identity.de/T", &[Some("germanywestcentral")], CC, MTLS, Goes("https://germanywestcentral.mtlsauth.sovcloud-identity.de/T/oauth2/v2.0/token")),
    row(31, "https://login.sovcloud-identity.sg/T", NO_REGION, CC, MTLS, Goes("https://mtlsauth.sovcloud-identity.sg/T/oauth2/v2.0/token")),
    row(32, "https://login.microsoftonline.de/T", NO_REGION, CC, MTLS, Goes("https://mtlsauth.microsoftonline.de/T/oauth2/v2.0/token")),
    row(33, "https://login.windows-ppe.net/T", &[Some("eastus")], CC, MTLS, Goes("https://eastus.mtlsauth.windows-ppe.net/T/oauth2/v2.0/token")),
    row(34, "https://login.microsoft-ppe.com/T", NO_REGION, CC, MTLS, Goes("https://mtlsauth.windows-ppe.net/T/oauth2/v2.0/token")),
    row(35, "https://login.mylocalaad.com/T", NO_REGION, CC, MTLS, Goes("https://mtlsauth.mylocalaad.com/T/oauth2/v2.0/token")),
    row(36, "https://login.mylocalaad.com/T", &[Some("westus3")], CC, MTLS, Goes("https://westus3.mtlsauth.mylocalaad.com/T/oauth2/v2.0/token")),
    row(37, "https://login.usgovcloudapi.net/T", &[Some("usgovvirginia")], ANY_FLOW, MTLS, Goes("https://usgovvirginia.mtlsauth.microsoftonline.us/T/oauth2/v2.0/token")),
    row(38, "https://login.chinacloudapi.cn/T", NO_REGION, ANY_FLOW, MTLS, Goes("https://mtlsauth.partner.microsoftonline.cn/T/oauth2/v2.0/token")),
    row(39, "https://sts.windows.net/T", ANY_REGION, ANY_FLOW, MTLS, Refused("mtls_pop_not_supported_for_environment")),
    row(40, "https://login-us.microsoftonline.com/T", ANY_REGION, ANY_FLOW, MTLS, Refused("mtls_pop_not_supported_for_environment")),
    row(41, "https://mtlsauth.microsoft.com/T", ANY_REGION, ANY_FLOW, MTLS, Refused("mtls_pop_not_supported_for_environment")),
    row(42, "https://westus3.login.microsoft.com/T", &[Some("westus3")], ANY_FLOW, MTLS, Refused("mtls_pop_not_supported_for_environment")),
    row(43, "https://login.microsoftonline.com/common", ANY_REGION, CC, MTLS, Refused("missing_tenanted_authority")),
    row(44, "https://login.microsoftonline.com/organizations", ANY_REGION, CC, MTLS, Refused("missing_tenanted_authority")),
    row(45, "https://login.microsoftonline.com/common", NO_REGION, CC, MTLS, Refused("missing_tenanted_authority")),
    row(46, "https://login.microsoftonline.com/T", &[Some("westus3")], USER, MTLS, Goes("https://westus3.mtlsauth.microsoft.com/T/oauth2/v2.0/token")),
    row(47, "https://login.microsoftonline.com/T", NO_REGION, USER, MTLS, Goes("https://mtlsauth.microsoft.com/T/oauth2/v2.0/token")),
    row(48, "https://host.dsts.core.azure-test.net/dstsv2/T", ANY_REGION, ANY_FLOW, ANY_CHANNEL, Goes("https://host.dsts.core.azure-test.net/dstsv2/T/oauth2/v2.0/token")),
    row(49, "https://host.dsts.core.azure-test.net/dstsv2/common", ANY_REGION, CC, ANY_CHANNEL, Goes("https://host.dsts.core.azure-test.net/dstsv2/common/oauth2/v2.0/token")),
    row(50, "https://fs.contoso.com/adfs", ANY_REGION, CC, ANY_CHANNEL, Goes("https://fs.contoso.com/adfs/oauth2/token")),
    row(51, "https://contoso.b2clogin.com/tfp/contoso.onmicrosoft.com/b2c_1_x", ANY_REGION, CC, ANY_CHANNEL, Goes("https://contoso.b2clogin.com/tfp/contoso.onmicrosoft.com/b2c_1_x/oauth2/v2.0/token")),
    row(52, "https://contoso.ciamlogin.com/", ANY_REGION, CC, ANY_CHANNEL, Goes("https://contoso.ciamlogin.com/contoso.onmicrosoft.com/oauth2/v2.0/token")),
    row(55, "http://login.microsoftonline.com/T", NO_REGION, ANY_FLOW, ANY_CHANNEL, Refused("authority_not_https")),
    row(56, "https://login.microsoftonline.com/", NO_REGION, ANY_FLOW, ANY_CHANNEL, Refused("authority_path_required")),
    row(57, "https://host/dstsv2", NO_REGION, ANY_FLOW, ANY_CHANNEL, Refused("authority_path_required")),
    row(58, "https://host/tfp/T", NO_REGION, ANY_FLOW, ANY_CHANNEL, Refused("authority_path_required")),
];

#[test]
fn every_worked_case_has_its_endpoint_or_its_error() {
    for row in ROWS {
        for &region in row.regions {
            for &flow in row.flows {
                for &channel in row.channels {
                    let found = endpoint(row.authority, region, flow, channel);
                    let expected = match row.expected {
                        Goes(url) => Ok(with_tenant(url, TENANT)),
                        Refused(code) => Err(code),
                    };
                    assert_eq!(
                        found.map(|found| found.url().to_owned()),
                        expected,
                        "row {}: {region:?} {flow:?} {channel:?}",
                        row.number
                    );
                }
            }
        }
    }
}

#[test]
fn every_row_is_present_once_and_in_order() {
    let present: Vec<u8> = ROWS.iter().map(|row| row.number).collect();
    let wanted: Vec<u8> = (1..=52).chain(55..=58).collect();
    assert_eq!(present, wanted);
}

/// Row 53: only the issuer's metadata names the endpoint. The metadata may name a second endpoint for mutual TLS.
#[test]
fn row_53_an_openid_issuers_endpoint_is_what_its_metadata_names() {
    let authority = Authority::oidc("https://idp.example.com/x").unwrap();
    assert_eq!(
        ServerMetadata::url_of(&authority),
        "https://idp.example.com/x/.well-known/openid-configuration"
    );
    let found = |authority: &Authority, channel| {
        let authority = authority.clone().with_region(Region::parse("westus3").unwrap());
        authority
            .token_endpoint(Flow::ClientCredentials, channel)
            .map(|found| (found.url().to_owned(), found.region().cloned()))
            .map_err(|error| error.code())
    };
    for channel in ANY_CHANNEL {
        assert_eq!(found(&authority, *channel), Err("authority_not_discovered"));
    }
    let document = |mtls: &str| {
        format!(
            r#"{{"issuer":"https://idp.example.com","token_endpoint":"https://idp.example.com/t/token"{mtls}}}"#
        )
    };
    let with = |mtls: &str| {
        let metadata = ServerMetadata::parse(&authority, document(mtls).as_bytes()).unwrap();
        authority.clone().with_metadata(metadata.into())
    };
    let plain = Ok(("https://idp.example.com/t/token".to_owned(), None));
    assert_eq!(found(&with(""), Channel::Plain), plain);
    assert_eq!(found(&with(""), Channel::MutualTls), plain);
    let aliased =
        with(r#","mtls_endpoint_aliases":{"token_endpoint":"https://mtls.example.com:8443/token"}"#);
    assert_eq!(found(&aliased, Channel::Plain), plain);
    assert_eq!(found(&aliased, Channel::MutualTls).unwrap().0, "https://mtls.example.com:8443/token");
    let endpoint = aliased.token_endpoint(Flow::ClientCredentials, Channel::MutualTls).unwrap();
    assert_eq!(endpoint.host(), "mtls.example.com");
}

/// Row 54: custom metadata decides the host, also for mutual TLS and with a region.
#[test]
fn row_54_metadata_of_ones_own_is_the_last_word() {
    let metadata =
        br#"{"metadata":[{"preferred_network":"net.custom.example","preferred_cache":"cache.custom.example",
        "aliases":["login.microsoftonline.com","login.usgovcloudapi.net"]}]}"#;
    let metadata = InstanceMetadata::parse(metadata).unwrap();
    for host in ["login.microsoftonline.com", "login.usgovcloudapi.net"] {
        let authority = Authority::parse(&format!("https://{host}/contoso.com")).unwrap();
        let authority = authority.with_instance_metadata(&metadata).unwrap();
        for authority in [authority.clone(), authority.with_region(Region::parse("westus3").unwrap())] {
            for channel in ANY_CHANNEL {
                let found = authority.token_endpoint(Flow::ClientCredentials, *channel).unwrap();
                assert_eq!(found.url(), "https://net.custom.example/contoso.com/oauth2/v2.0/token");
                assert_eq!(found.region(), None);
            }
        }
    }
}

struct Row {
    number: u8,
    authority: &'static str,
    regions: &'static [Option<&'static str>],
    flows: &'static [Flow],
    channels: &'static [Channel],
    expected: Expected,
}

#[derive(Clone, Copy)]
enum Expected {
    /// The endpoint.
    Goes(&'static str),
    /// The code of the error.
    Refused(&'static str),
}

const fn row(
    number: u8,
    authority: &'static str,
    regions: &'static [Option<&'static str>],
    flows: &'static [Flow],
    channels: &'static [Channel],
    expected: Expected,
) -> Row {
    Row { number, authority, regions, flows, channels, expected }
}

/// Determines the endpoint in the steps that an application takes. Returns an error as its code.
fn endpoint(
    authority: &str,
    region: Option<&str>,
    flow: Flow,
    channel: Channel,
) -> Result<TokenEndpoint, &'static str> {
    let written = with_tenant(authority, &TENANT.to_ascii_uppercase());
    let mut authority = Authority::parse(&written).map_err(|error| error.code())?;
    if let Some(region) = region {
        authority = authority.with_region(Region::parse(region).map_err(|error| error.code())?);
    }
    authority.token_endpoint(flow, channel).map_err(|error| error.code())
}

/// Replaces the path segment `T` of a URL.
fn with_tenant(url: &str, tenant: &str) -> String {
    url.split('/').map(|segment| if segment == "T" { tenant } else { segment }).collect::<Vec<_>>().join("/")
}
