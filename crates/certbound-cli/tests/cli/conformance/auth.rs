//! AUTH: authorities.

use std::collections::BTreeSet;

use certbound::cache::Source;
use certbound::{Authority, Client, Cloud, Region, ResourceScope, TenantId, TokenCache};
use certbound_emulator::world::builtin;

use super::evidence::{Evidence, joined};
use super::pki;
use super::rows::rows;
use super::stage::{MTLS_HOST, Stage, graph, in_region, is_bound_by_certificate, output, tenant};
use super::trap::Trap;
use crate::support::{self, APP, TENANT, refusal};

rows! {
    (
        "AUTH-01",
        0,
        "The tenant can be a GUID or a domain. The path of the request has the tenant as it was configured.",
        a_tenant_is_a_guid_or_a_domain
    ),
    ("AUTH-02", 0, "The tenant `common` is refused before any credential is sent.", common_is_refused),
    (
        "AUTH-03",
        0,
        "The tenant `organizations` is refused before any credential is sent.",
        organizations_is_refused
    ),
    (
        "AUTH-04",
        0,
        "The tenant `consumers` is refused before any credential is sent.",
        consumers_is_refused
    ),
    (
        "AUTH-05",
        1,
        "A different tenant for one request is in the path of the request and in the cache key.",
        another_tenant_is_in_the_path_and_in_the_key
    ),
    (
        "AUTH-06",
        0,
        "From each login host of the public cloud, requests go to `mtlsauth.microsoft.com` or to a regional host below it.",
        the_public_cloud_has_its_host
    ),
    (
        "AUTH-07",
        0,
        "In the cloud for the US Government, requests go to `mtlsauth.microsoftonline.us` or to a regional host below it.",
        the_us_government_has_its_host
    ),
    (
        "AUTH-08",
        0,
        "In the cloud in China, requests go to `mtlsauth.partner.microsoftonline.cn` or to a regional host below it.",
        china_has_its_host
    ),
    (
        "AUTH-09",
        0,
        "With the legacy name `login.usgovcloudapi.net`, requests go to the hosts of AUTH-07.",
        the_legacy_name_of_the_us_government_leads_to_its_host
    ),
    (
        "AUTH-10",
        0,
        "With the legacy name `login.chinacloudapi.cn`, requests go to the hosts of AUTH-08.",
        the_legacy_name_of_china_leads_to_its_host
    ),
    (
        "AUTH-11",
        0,
        "An Entra authority whose host does not begin with `login.` is refused. The certificate is not sent to a derived \
         host.",
        a_host_without_login_is_refused
    ),
    (
        "AUTH-12",
        0,
        "An authority is refused before any request if it is no URL, begins with `http:`, or names no tenant.",
        an_authority_that_is_none_is_refused
    ),
}

#[tokio::main(flavor = "current_thread")]
async fn a_tenant_is_a_guid_or_a_domain() -> Evidence {
    let stage = Stage::new().await;
    for (at, tenant) in [TENANT, "contoso.example"].into_iter().enumerate() {
        let authority = Authority::parse(&format!("https://login.microsoftonline.com/{tenant}")).unwrap();
        let client = stage.at(authority).with_certificate(pki::c().binding()).build().unwrap();
        client.bound_token(&graph()).await.unwrap();
        let journal = stage.emulator.journal();
        assert_eq!(journal.len(), at + 1);
        is_bound_by_certificate(&journal[at], MTLS_HOST, pki::c());
        assert_eq!(journal[at].path, format!("/{tenant}/oauth2/v2.0/token"));
    }
    Evidence::of(stage.journal())
}

/// Checks that the command line and the library refuse a tenant without a connection.
async fn is_refused(tenant: &str) -> Evidence {
    let trap = Trap::new();
    let stage = Stage::new().await;
    let url = format!("https://login.microsoftonline.com/{tenant}");
    let mut command = support::certbound();
    command.env("HTTPS_PROXY", trap.url()).args(["token", "-o", "json", "--authority", &url]);
    command.args(["--scope", graph().as_str(), "--client-id", APP, "--certificate", &stage.file("C")]);
    let output = output(command).await;
    let (exit, code) = refusal(&output);
    assert_eq!((exit, code.as_str()), (2, "missing_tenanted_authority"));
    let of_library = match Authority::parse(&url) {
        Err(error) => error.code().to_owned(),
        Ok(authority) => {
            let builder = Client::builder(authority, APP).with_network(&trap.network());
            let client = builder.with_certificate(pki::c().binding()).build().unwrap();
            client.bound_token(&graph()).await.unwrap_err().code().to_owned()
        }
    };
    assert_eq!(of_library, code);
    trap.nothing_arrived()
        .fact("certbound token --authority", format!("exit code {exit}, {code}"))
        .fact("error of the library", of_library)
}

#[tokio::main(flavor = "current_thread")]
async fn common_is_refused() -> Evidence {
    is_refused("common").await
}

#[tokio::main(flavor = "current_thread")]
async fn organizations_is_refused() -> Evidence {
    is_refused("organizations").await
}

#[tokio::main(flavor = "current_thread")]
async fn consumers_is_refused() -> Evidence {
    is_refused("consumers").await
}

#[tokio::main(flavor = "current_thread")]
async fn another_tenant_is_in_the_path_and_in_the_key() -> Evidence {
    let stage = Stage::new().await;
    let cache = TokenCache::new();
    let builder = Client::builder(Authority::public(tenant()), builtin::MULTI_TENANT_APP);
    let builder = builder.with_network(&stage.network).with_cache(cache.clone());
    let client = builder.with_certificate(pki::c().binding()).build().unwrap();
    let other = TenantId::parse(builtin::OTHER_TENANT).unwrap();
    let scope = graph();
    let own = client.bound_token(&scope).await.unwrap();
    let first = client.bound_token(&scope).tenant(other.clone()).await.unwrap();
    let again = client.bound_token(&scope).tenant(other).await.unwrap();
    assert_eq!((again.details().source, cache.len()), (Source::Cache, 2));
    assert_eq!(first.secret().expose(), again.secret().expose());
    assert_ne!(own.secret().expose(), again.secret().expose());
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    for (entry, tenant) in journal.iter().zip([builtin::TENANT, builtin::OTHER_TENANT]) {
        is_bound_by_certificate(entry, MTLS_HOST, pki::c());
        assert_eq!(entry.path, format!("/{tenant}/oauth2/v2.0/token"));
    }
    let details = again.details();
    assert_eq!(details.tenant, builtin::OTHER_TENANT);
    Evidence::of(journal)
        .fact("origin of the second token for the other tenant", format!("{:?}", details.source))
        .fact("tenant of this token", details.tenant)
}

/// Requests a bound token at each login host of a cloud, without and with a region. Checks that all requests go to the
/// cloud's host of mutual TLS.
async fn all_go_to(cloud: Cloud, login_hosts: &[&str], mtls_host: &str, region: &str) -> Evidence {
    let stage = Stage::new().await;
    for login in login_hosts {
        let authority = Authority::parse(&format!("https://{login}/{TENANT}")).unwrap();
        let regional = authority.clone().with_region(Region::parse(region).unwrap());
        for authority in [authority, regional] {
            let client = stage.at(authority).with_certificate(pki::c().binding()).build().unwrap();
            client.bound_token(&ResourceScope::graph(cloud)).await.unwrap();
        }
    }
    let journal = stage.journal();
    assert_eq!(journal.len(), 2 * login_hosts.len());
    for pair in journal.chunks(2) {
        is_bound_by_certificate(&pair[0], mtls_host, pki::c());
        is_bound_by_certificate(&pair[1], &format!("{region}.{mtls_host}"), pki::c());
    }
    Evidence::of(journal)
        .fact("login hosts of the requests, each without and with a region", login_hosts.join(", "))
}

#[tokio::main(flavor = "current_thread")]
async fn the_public_cloud_has_its_host() -> Evidence {
    let names = ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com"];
    all_go_to(Cloud::Public, &names, MTLS_HOST, "westus3").await
}

const US_GOVERNMENT: &str = "mtlsauth.microsoftonline.us";

#[tokio::main(flavor = "current_thread")]
async fn the_us_government_has_its_host() -> Evidence {
    let names = ["login.microsoftonline.us"];
    all_go_to(Cloud::UsGovernment, &names, US_GOVERNMENT, "usgovvirginia").await
}

const CHINA: &str = "mtlsauth.partner.microsoftonline.cn";

#[tokio::main(flavor = "current_thread")]
async fn china_has_its_host() -> Evidence {
    all_go_to(Cloud::China, &["login.partner.microsoftonline.cn"], CHINA, "chinaeast2").await
}

#[tokio::main(flavor = "current_thread")]
async fn the_legacy_name_of_the_us_government_leads_to_its_host() -> Evidence {
    let names = ["login.usgovcloudapi.net"];
    all_go_to(Cloud::UsGovernment, &names, US_GOVERNMENT, "usgovvirginia").await
}

#[tokio::main(flavor = "current_thread")]
async fn the_legacy_name_of_china_leads_to_its_host() -> Evidence {
    all_go_to(Cloud::China, &["login.chinacloudapi.cn"], CHINA, "chinaeast2").await
}

#[tokio::main(flavor = "current_thread")]
async fn a_host_without_login_is_refused() -> Evidence {
    let trap = Trap::new();
    const HOSTS: [&str; 3] = ["sts.windows.net", "sts.contoso.example", "mtlsauth.microsoft.com"];
    let mut codes = BTreeSet::new();
    for host in HOSTS {
        let authority = Authority::parse(&format!("https://{host}/{TENANT}")).unwrap();
        let regional = authority.clone().with_region(in_region("westus3").region().unwrap().clone());
        for authority in [authority, regional] {
            let builder = Client::builder(authority, APP).with_network(&trap.network());
            let client = builder.with_certificate(pki::c().binding());
            let code = match client.build() {
                Err(error) => error.code().to_owned(),
                Ok(client) => client.bound_token(&graph()).await.unwrap_err().code().to_owned(),
            };
            codes.insert(code);
        }
    }
    assert_eq!(codes, BTreeSet::from(["mtls_pop_not_supported_for_environment".to_owned()]));
    trap.nothing_arrived()
        .fact("authorities, with and without a region", HOSTS.join(", "))
        .fact("errors for these authorities", joined(&codes))
}

#[tokio::main(flavor = "current_thread")]
async fn an_authority_that_is_none_is_refused() -> Evidence {
    let trap = Trap::new();
    let stage = Stage::new().await;
    let mut errors = Vec::new();
    // Without a tenant in its URL, the command line names the flag for the tenant. It reads a text without a scheme as a
    // host, so only the library refuses such a text.
    for (url, of_library, of_command) in [
        (
            "http://login.microsoftonline.com/contoso.example",
            "authority_not_https",
            Some("authority_not_https"),
        ),
        ("https://login.microsoftonline.com", "authority_path_required", Some("tenant_required")),
        ("https://", "authority_invalid", Some("authority_invalid")),
        ("login.microsoftonline.com/contoso.example", "authority_invalid", None),
        ("contoso", "authority_invalid", None),
    ] {
        assert_eq!(Authority::parse(url).unwrap_err().code(), of_library, "{url}");
        let mut text = format!("library {of_library}");
        if let Some(of_command) = of_command {
            let mut command = support::certbound();
            command.env("HTTPS_PROXY", trap.url()).args(["token", "-o", "json", "--authority", url]);
            command.args(["--scope", graph().as_str(), "--client-id", APP]);
            command.args(["--certificate", &stage.file("C")]);
            let (exit, code) = refusal(&output(command).await);
            assert_eq!((exit, code.as_str()), (2, of_command), "{url}");
            text.push_str(&format!(", command line {code} with exit code {exit}"));
        }
        errors.push((url, text));
    }
    let empty = Authority::parse("").unwrap_err();
    assert_eq!(empty.code(), "authority_invalid");
    let evidence = trap.nothing_arrived().fact("empty authority", format!("library {}", empty.code()));
    errors
        .into_iter()
        .fold(evidence, |evidence, (url, error)| evidence.fact(format!("authority {url}"), error))
}
