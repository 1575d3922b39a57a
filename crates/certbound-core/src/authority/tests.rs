use proptest::prelude::*;

use super::*;
use crate::tenant::TenantId;

const TENANT: &str = "bea21ebe-8b64-4d06-9f6d-6a889b120a7c";

fn code(url: &str) -> &'static str {
    Authority::parse(url).map_or_else(|error| error.code(), |_| "accepted")
}

#[test]
fn the_canonical_form_is_host_port_and_tenant_in_lower_case() {
    for (written, canonical) in [
        ("https://login.microsoftonline.com/contoso.com", "https://login.microsoftonline.com/contoso.com/"),
        ("HTTPS://LOGIN.MicrosoftOnline.com/Contoso.COM/", "https://login.microsoftonline.com/contoso.com/"),
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
        ("https://contoso.ciamlogin.com/common", "missing_tenanted_authority"),
        ("https://con_toso.ciamlogin.com/", "authority_invalid"),
        ("https://host.example/dstsv2", "authority_path_required"),
        ("https://host.example/dstsv2/", "authority_path_required"),
        ("https://host.example/dstsv2/contoso", "invalid_tenant"),
        ("https://host.example/tfp", "authority_path_required"),
        ("https://host.example/tfp/contoso.com", "authority_path_required"),
        ("https://host.example/tfp/contoso.com/", "authority_path_required"),
        ("https://host.example/tfp/common/policy", "missing_tenanted_authority"),
        ("https://host.example/tfp/contoso.com/pol%20icy", "authority_policy_invalid"),
    ] {
        assert_eq!(code(url), expected, "{url:?}");
    }
}

#[test]
fn each_kind_has_its_canonical_form() {
    for (written, canonical, kind, tenant) in [
        (
            "https://login.example/contoso.com/x",
            "https://login.example/contoso.com/",
            AuthorityKind::Entra,
            Some("contoso.com"),
        ),
        (
            "https://Contoso.ciamlogin.com",
            "https://contoso.ciamlogin.com/contoso.onmicrosoft.com/",
            AuthorityKind::Ciam,
            Some("contoso.onmicrosoft.com"),
        ),
        (
            "https://contoso.ciamlogin.com/fabrikam.com/v2.0",
            "https://contoso.ciamlogin.com/fabrikam.com/",
            AuthorityKind::Ciam,
            Some("fabrikam.com"),
        ),
        ("https://fs.contoso.com:444/ADFS/ls", "https://fs.contoso.com:444/adfs/", AuthorityKind::Adfs, None),
        (
            "https://host.example/dstsv2/Common/x",
            "https://host.example/dstsv2/common/",
            AuthorityKind::Dsts,
            Some("common"),
        ),
        (
            "https://host.example/TFP/contoso.com/B2C_1_x/y",
            "https://host.example/tfp/contoso.com/b2c_1_x/",
            AuthorityKind::B2c,
            Some("contoso.com"),
        ),
    ] {
        let authority = Authority::parse(written).unwrap();
        assert_eq!((authority.url().as_str(), authority.kind()), (canonical, kind));
        assert_eq!(authority.tenant().map(TenantId::as_str), tenant);
        assert_eq!(Authority::parse(canonical), Ok(authority));
    }
    for (issuer, url) in [
        ("https://idp.example", "https://idp.example/"),
        ("https://idp.example:8443/Realm/x", "https://idp.example:8443/Realm/x"),
        ("https://fs.contoso.com/adfs", "https://fs.contoso.com/adfs"),
    ] {
        let authority = Authority::oidc(issuer).unwrap();
        assert_eq!((authority.url().as_str(), authority.kind()), (url, AuthorityKind::Oidc));
    }
    for bad in [
        "",
        "http://idp.example",
        "https://u@idp.example",
        "https://idp.example/?x",
        "https://IDP.example",
        "https://idp.example/a/../b",
    ] {
        assert!(Authority::oidc(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_tenant_can_be_chosen_where_the_kind_has_one() {
    let chosen = |authority: &str| {
        let other = TenantId::parse("fabrikam.com").unwrap();
        Authority::parse(authority).unwrap().for_tenant(other).map(|authority| authority.url())
    };
    assert_eq!(
        chosen("https://login.example/contoso.com").as_deref(),
        Some("https://login.example/fabrikam.com/")
    );
    assert_eq!(chosen("https://c.ciamlogin.com").as_deref(), Some("https://c.ciamlogin.com/fabrikam.com/"));
    assert_eq!(
        chosen("https://h.example/dstsv2/common").as_deref(),
        Some("https://h.example/dstsv2/fabrikam.com/")
    );
    assert_eq!(chosen("https://h.example/adfs"), None);
    assert_eq!(chosen("https://h.example/tfp/contoso.com/p"), None);
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

#[test]
fn the_exchange_audience_follows_from_the_host_or_its_environment() {
    let at = |url: &str| Authority::parse(url).unwrap();
    let uri = |authority: &Authority| authority.exchange_uri().map_err(|error| error.to_string());
    assert_eq!(uri(&at("https://login.usgovcloudapi.net/t.example")), Ok("api://AzureADTokenExchangeUSGov"));
    let error = at("https://login.microsoftonline.de/t.example").exchange_uri().unwrap_err();
    assert_eq!(error, NoExchangeAudience::Cloud { cloud: Cloud::GermanyLegacy });
    assert!(error.to_string().contains("germany_legacy") && !error.fix().is_empty());
    let unknown = at("https://login.example/t.example");
    let error = unknown.exchange_uri().unwrap_err();
    assert_eq!(error, NoExchangeAudience::UnknownHost { host: "login.example".to_owned() });
    assert!(error.fix().contains("instance metadata"));
    // Metadata can state that the host is an alias of a known host.
    let metadata = |network: &str| {
        let document = format!(
            r#"{{"metadata":[{{"preferred_network":"{network}","preferred_cache":"login.example","aliases":["login.example"]}}]}}"#
        );
        instance::InstanceMetadata::parse(document.as_bytes()).unwrap()
    };
    let of_france = unknown.clone().with_instance_metadata(&metadata("login.sovcloud-identity.fr")).unwrap();
    assert_eq!(uri(&of_france), Ok("api://AzureADTokenExchangeFrance"));
    let private = unknown.with_instance_metadata(&metadata("login.private.example")).unwrap();
    assert!(private.exchange_uri().is_err(), "a private cloud has an audience that this table does not know");
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

/// Each row has an authority. Its flag is true if the authority shares cached tokens with `public`.
#[test]
fn aliases_and_regions_share_cached_tokens_and_clouds_and_tenants_do_not() {
    let public = format!("https://login.microsoftonline.com/{TENANT}");
    let rows = [
        (format!("https://login.windows.net/{TENANT}"), true),
        (format!("https://sts.windows.net/{TENANT}"), true),
        (format!("https://LOGIN.MICROSOFT.COM/{TENANT}"), true),
        (format!("https://login.microsoftonline.us/{TENANT}"), false),
        (format!("https://login.partner.microsoftonline.cn/{TENANT}"), false),
        (format!("https://login.windows-ppe.net/{TENANT}"), false),
        (format!("https://login.example/{TENANT}"), false),
        (format!("https://login.microsoftonline.com:8443/{TENANT}"), false),
        ("https://login.microsoftonline.com/contoso.com".to_owned(), false),
    ];
    let for_cache = |url: &str| Authority::parse(url).unwrap().for_cache();
    for (other, is_shared) in rows {
        assert_eq!(for_cache(&public) == for_cache(&other), is_shared, "{other}");
    }
    let regional = Authority::parse(&public).unwrap().with_region(Region::parse("westus3").unwrap());
    assert_eq!(regional.for_cache(), for_cache(&public));
    // B2C policies are different authorities, and their hosts have no known aliases.
    let policy = |name: &str| for_cache(&format!("https://contoso.b2clogin.com/tfp/contoso.com/{name}"));
    assert_ne!(policy("one"), policy("two"));
}
