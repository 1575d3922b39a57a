//! Cases 34 and 37 to 43: the values that the claims must have.

use std::time::Duration;

use certbound_verifier::{BuildError, Callers, Cloud, Issuer, IssuerError, TenantId, Verifier};
use serde_json::{Value, json};

use crate::support::{
    AUDIENCE, CLIENT, NOW, OTHER_TENANT, TENANT, Token, builder, client, code, decide, decide_as, keys, token,
};
use certbound_verifier::Scheme;

fn with(name: &str, value: Value) -> &'static str {
    code(decide(&token().claim(name, value).sign()))
}

fn by(verifier: &Verifier, token: &Token) -> &'static str {
    code(decide_as(verifier, Scheme::MtlsPop, &token.sign(), &client()))
}

const N: u64 = NOW.as_secs();

#[test]
fn v34_v37_times() {
    // The leeway is 60 s. For each claim the test sends the last accepted second and the first refused second.
    assert_eq!(with("exp", json!(N - 59)), "accepted");
    assert_eq!(with("exp", json!(N - 60)), "token_expired");
    assert_eq!(with("nbf", json!(N + 60)), "accepted");
    assert_eq!(with("nbf", json!(N + 61)), "token_not_yet_valid");
    assert_eq!(with("iat", json!(N + 60)), "accepted");
    assert_eq!(with("iat", json!(N + 61)), "token_not_yet_valid");
    assert_eq!(code(decide(&token().without("exp").sign())), "malformed_time");
    assert_eq!(code(decide(&token().without("nbf").without("iat").sign())), "accepted");
    for wrong in [
        json!("1800003600"),
        json!("1800003600.5"),
        json!(-1),
        json!(-0.5),
        json!(null),
        json!(true),
        json!([]),
        json!([N]),
    ] {
        for name in ["exp", "nbf", "iat"] {
            assert_eq!(with(name, wrong.clone()), "malformed_time", "{name} {wrong}");
        }
    }
    assert_eq!(with("exp", json!(u64::MAX)), "token_lifetime_refused");
    // The token expires at the time at which its validity begins, or is valid for longer than any token of Entra.
    let short = token().claim("nbf", json!(N + 30)).claim("exp", json!(N + 30));
    assert_eq!(code(decide(&short.sign())), "token_lifetime_refused");
    assert_eq!(with("exp", json!(N - 300 + 29 * 3600)), "accepted");
    assert_eq!(with("exp", json!(N - 300 + 29 * 3600 + 1)), "token_lifetime_refused");
}

/// RFC 7519, section 2, allows a fraction. The verifier rounds a fraction against the caller.
#[test]
fn v34_a_fraction_of_a_second_counts_against_the_caller() {
    let n = f64::from(u32::try_from(N).unwrap());
    let with = |name: &str, seconds: f64| with(name, json!(seconds));
    assert_eq!(with("exp", n + 3600.5), "accepted");
    assert_eq!(with("exp", n - 59.0), "accepted");
    assert_eq!(with("exp", n - 59.5), "token_expired");
    for name in ["nbf", "iat"] {
        assert_eq!(with(name, n - 299.5), "accepted");
        assert_eq!(with(name, n + 59.5), "accepted");
        assert_eq!(with(name, n + 60.5), "token_not_yet_valid", "{name}");
    }
    // The verifier includes the fractions of both times in an age and in a lifetime.
    let limit = f64::from(29 * 3600);
    assert_eq!(with("exp", n - 300.0 + limit), "accepted");
    assert_eq!(with("exp", n - 300.0 + limit + 0.5), "token_lifetime_refused");
    assert_eq!(with("iat", n + 3600.0 - limit - 0.5), "token_lifetime_refused");
    let young = builder().max_age(Duration::from_secs(600)).leeway(Duration::ZERO).build().unwrap();
    assert_eq!(by(&young, &token().claim("iat", json!(n - 599.5))), "accepted");
    assert_eq!(by(&young, &token().claim("iat", json!(n - 600.5))), "token_too_old");
    // 1e300 is outside every accepted range. 1e400 is outside the range of a 64-bit floating-point number.
    assert_eq!(with("exp", 1e300), "token_lifetime_refused");
    assert_eq!(with("nbf", 1e300), "token_not_yet_valid");
    let text = serde_json::to_string(&token().claims).unwrap();
    let huge = text.replace(&format!("\"exp\":{}", N + 3600), "\"exp\":1e400");
    assert_ne!(text, huge);
    let header = r#"{"typ":"JWT","alg":"RS256","kid":"k1"}"#;
    assert_eq!(code(decide(&crate::support::sign_json(header, &huge))), "malformed_token");
}

/// A token without `iat` and `nbf` is accepted for no longer than a token that has them.
#[test]
fn v37_a_lifetime_without_a_beginning_counts_from_now() {
    let without = |exp: u64| {
        let token = token().without("nbf").without("iat").claim("exp", json!(exp));
        code(decide(&token.sign()))
    };
    assert_eq!(without(N + 100 * 365 * 86400), "token_lifetime_refused");
    assert_eq!(without(N + 48 * 3600), "token_lifetime_refused");
    assert_eq!(without(N + 29 * 3600 + 60), "accepted", "the clocks may differ by 60 s");
    assert_eq!(without(N + 29 * 3600 + 61), "token_lifetime_refused");
    let longer = builder().longest_lifetime(Duration::from_secs(48 * 3600)).build().unwrap();
    let token = token().without("nbf").without("iat").claim("exp", json!(N + 48 * 3600));
    assert_eq!(by(&longer, &token), "accepted");
}

/// The verifier remembers a decision no longer than the accepted age of the token, also if `iat` has a fraction.
#[tokio::test]
async fn v37_a_remembered_token_grows_too_old() {
    use certbound_verifier::Authorization;
    let clock = crate::keys::At::now();
    let verifier = Verifier::builder()
        .issuer_with_keys(crate::support::issuer(), keys())
        .audience(AUDIENCE)
        .any_role(["Orders.Read"])
        .max_age(Duration::from_secs(600))
        .leeway(Duration::ZERO)
        .remember(16)
        .with_clock(clock.clone())
        .build()
        .unwrap();
    let issued = f64::from(u32::try_from(N).unwrap()) - 500.5;
    let token = token().claim("iat", json!(issued)).sign();
    let authorization = Authorization::new(Scheme::MtlsPop, &token);
    assert_eq!(code(verifier.verify(&authorization, &client()).await), "accepted");
    clock.advance(100);
    assert_eq!(code(verifier.verify(&authorization, &client()).await), "token_too_old");
}

#[test]
fn v37_a_token_that_is_too_old_by_choice() {
    let verifier = builder().max_age(Duration::from_secs(600)).leeway(Duration::ZERO).build().unwrap();
    assert_eq!(by(&verifier, &token().claim("iat", json!(N - 600))), "accepted");
    assert_eq!(by(&verifier, &token().claim("iat", json!(N - 601))), "token_too_old");
    assert_eq!(by(&verifier, &token().without("iat")), "malformed_time");
}

#[test]
fn v37_the_longest_lifetime_by_choice() {
    let verifier = builder().longest_lifetime(Duration::from_secs(4000)).build().unwrap();
    assert_eq!(by(&verifier, &token().claim("exp", json!(N - 300 + 4000))), "accepted");
    assert_eq!(by(&verifier, &token().claim("exp", json!(N - 300 + 4001))), "token_lifetime_refused");
}

#[test]
fn v38_the_audience_is_exactly_ours() {
    for wrong in [
        json!("https://graph.microsoft.com"),
        json!("api://orders/"),
        json!("API://orders"),
        json!("api://order"),
        json!([AUDIENCE, "api://other"]),
        json!([]),
        json!([7]),
        json!(7),
        json!(null),
        json!(""),
    ] {
        assert_eq!(with("aud", wrong.clone()), "audience_mismatch", "{wrong}");
    }
    assert_eq!(with("aud", json!([AUDIENCE])), "accepted");
    assert_eq!(code(decide(&token().without("aud").sign())), "audience_mismatch");
    let several = builder().accept_several_audiences().build().unwrap();
    assert_eq!(by(&several, &token().claim("aud", json!(["api://other", AUDIENCE]))), "accepted");
    assert_eq!(by(&several, &token().claim("aud", json!(["api://other", "x"]))), "audience_mismatch");
    let second = builder().audience(CLIENT).build().unwrap();
    assert_eq!(by(&second, &token().claim("aud", json!(CLIENT))), "accepted");
}

#[test]
fn v38_several_audiences_are_all_ours_or_one_is_by_choice() {
    let aud = |several: &[&str]| token().claim("aud", json!(several));
    let lax = builder().accept_several_audiences().build().unwrap();
    assert_eq!(by(&lax, &aud(&["api://other", AUDIENCE])), "accepted");
    assert_eq!(by(&lax, &aud(&["api://other", "x"])), "audience_mismatch");
    assert_eq!(by(&lax, &aud(&[])), "audience_mismatch");
    // The refusal advises to add each audience to the verifier. The test adds them.
    let both = aud(&[AUDIENCE, "https://idp.example/userinfo"]);
    let refusal = decide(&both.sign()).unwrap_err();
    assert!(refusal.fix().contains("each of the token's audiences"), "{}", refusal.fix());
    let ours = builder().audience("https://idp.example/userinfo").build().unwrap();
    assert_eq!(by(&ours, &both), "accepted");
    assert_eq!(by(&ours, &aud(&[AUDIENCE, AUDIENCE])), "accepted");
    assert_eq!(by(&ours, &aud(&[AUDIENCE, "https://idp.example/userinfo", "x"])), "audience_mismatch");
    assert_eq!(by(&ours, &token().claim("aud", json!([AUDIENCE, 7]))), "audience_mismatch");
}

#[test]
fn v39_the_issuer_is_exactly_the_tenants() {
    let v2 = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    for wrong in [
        format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0"),
        "https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(),
        format!("{v2}/"),
        format!("{v2}/x"),
        v2.replace("https:", "http:"),
        v2.replace("login.microsoftonline.com", "login.microsoftonline.com.evil.example"),
        v2.replace("login.microsoftonline.com", "login.microsoftonline.com@evil.example"),
        v2.replace("login.", "LOGIN."),
        v2.replace("microsoftonline.com", "microsoftonline.us"),
        format!("https://sts.windows.net/{TENANT}"),
        String::new(),
    ] {
        assert_eq!(with("iss", json!(wrong)), "issuer_not_trusted", "{wrong}");
    }
    assert_eq!(with("iss", json!(7)), "issuer_not_trusted");
    assert_eq!(code(decide(&token().without("iss").sign())), "issuer_not_trusted");
    // This is the tenant's issuer of the other token version.
    assert_eq!(with("iss", json!(format!("https://sts.windows.net/{TENANT}/"))), "version_mismatch");
}

#[test]
fn v40_the_tenant_is_the_issuers() {
    for wrong in [
        json!(OTHER_TENANT),
        json!(TENANT.to_ascii_uppercase()),
        json!("{tenantid}"),
        json!("common"),
        json!(7),
    ] {
        assert_eq!(with("tid", wrong.clone()), "issuer_not_trusted", "{wrong}");
    }
    assert_eq!(code(decide(&token().without("tid").sign())), "issuer_not_trusted");
    let of_another = token()
        .claim("tid", json!(OTHER_TENANT))
        .claim("iss", json!(format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0")));
    assert_eq!(code(decide(&of_another.sign())), "tenant_not_allowed");
}

#[test]
fn v40_tenants_by_a_list_or_a_rule() {
    let of = |tenant: &str| {
        token()
            .claim("tid", json!(tenant))
            .claim("iss", json!(format!("https://login.microsoftonline.com/{tenant}/v2.0")))
    };
    let third = "00000000-0000-0000-0000-000000000001";
    let listed = [TENANT, OTHER_TENANT].map(|tenant| TenantId::parse(tenant).unwrap());
    let listed = Issuer::entra(Cloud::Public, listed).unwrap();
    let ruled = Issuer::entra_where(Cloud::Public, |tenant| tenant == TENANT || tenant == OTHER_TENANT);
    for issuer in [listed, ruled] {
        let verifier =
            Verifier::builder().issuer(issuer).audience(AUDIENCE).dangerous_any_caller().build().unwrap();
        assert_eq!(by(&verifier, &of(TENANT)), "accepted");
        assert_eq!(by(&verifier, &of(OTHER_TENANT)), "accepted");
        assert_eq!(by(&verifier, &of(third)), "tenant_not_allowed");
    }
    // If every tenant is accepted, the `tid` must still be a GUID in lower case.
    let any = Issuer::entra_where(Cloud::Public, |_| true);
    let verifier = Verifier::builder().issuer(any).audience(AUDIENCE).dangerous_any_caller().build().unwrap();
    assert_eq!(by(&verifier, &of(third)), "accepted");
    for bad in
        ["0", &third[1..], &third.replace('-', "0"), &third.replace('0', "g"), &third.replace('1', "A")]
    {
        assert_eq!(by(&verifier, &of(bad)), "issuer_not_trusted", "{bad}");
    }
}

#[test]
fn v41_the_version_fits_the_claims() {
    let v1 = |token: Token| {
        token.claim("ver", json!("1.0")).claim("iss", json!(format!("https://sts.windows.net/{TENANT}/")))
    };
    let right = v1(token()).without("azp").claim("appid", json!(CLIENT));
    assert_eq!(code(decide(&right.sign())), "accepted");
    for wrong in [
        v1(token()),
        right.clone().claim("azp", json!(CLIENT)),
        right.clone().claim("ver", json!("2.0")),
        token().claim("appid", json!(CLIENT)),
        token().without("azp"),
        token().claim("ver", json!("1.0")),
        token().claim("ver", json!("3.0")),
        token().without("ver"),
    ] {
        assert_eq!(code(decide(&wrong.sign())), "version_mismatch");
    }
}

#[test]
fn v42_who_calls() {
    let refused = |token: Token, expected: &str| {
        let refusal = decide(&token.sign()).unwrap_err();
        assert_eq!((refusal.status(), refusal.code()), (403, expected));
    };
    refused(token().claim("idtyp", json!("user")), "caller_kind_not_accepted");
    refused(token().without("idtyp"), "caller_kind_not_accepted");
    refused(token().without("roles"), "no_permission");
    refused(token().claim("roles", json!([])), "no_permission");
    refused(token().claim("roles", json!("Orders.Read")), "no_permission");
    refused(token().claim("roles", json!(["Orders.ReadWrite", "orders.read"])), "no_permission");
    refused(token().without("roles").claim("scp", json!("Orders.Read")), "no_permission");
}

#[test]
fn v42_users_scopes_and_clients_by_choice() {
    let base = || Verifier::builder().issuer(crate::support::issuer()).audience(AUDIENCE);
    let user = token().without("roles").without("idtyp").claim("scp", json!("Orders.Read Orders.Write"));
    let users = base().callers(Callers::Users).any_scope(["Orders.Write"]).build().unwrap();
    assert_eq!(by(&users, &user), "accepted");
    assert_eq!(by(&users, &user.clone().claim("scp", json!("Orders.Read"))), "no_permission");
    assert_eq!(by(&users, &token()), "caller_kind_not_accepted");
    assert_eq!(by(&users, &user.clone().without("scp")), "caller_kind_not_accepted");
    let any =
        base().callers(Callers::Any).any_scope(["Orders.Write"]).any_role(["Orders.Read"]).build().unwrap();
    assert_eq!((by(&any, &user), by(&any, &token())), ("accepted", "accepted"));
    let clients = base().only_clients([CLIENT.to_ascii_uppercase()]).build().unwrap();
    assert_eq!(by(&clients, &token().without("roles")), "accepted");
    assert_eq!(by(&clients, &token().claim("azp", json!(TENANT))), "client_not_allowed");
}

#[test]
fn v43_tokens_for_another_purpose() {
    // These are an id_token for the resource's own application, and an assertion of Leg 1.
    let id_token = token().without("azp").without("idtyp").claim("nonce", json!("n"));
    assert_eq!(code(decide(&id_token.sign())), "version_mismatch");
    assert_eq!(with("aud", json!("fb60f99c-7a34-4190-8149-302f77469936")), "audience_mismatch");
}

#[test]
fn claims_may_be_demanded_of_a_verified_token() {
    let verifier = builder()
        .demand(|claims| {
            let strong = claims.string("azpacr") == Some("2");
            (!strong).then(|| r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#.to_owned())
        })
        .build()
        .unwrap();
    assert_eq!(by(&verifier, &token()), "accepted");
    assert_eq!(by(&verifier, &token().claim("azpacr", json!("1"))), "insufficient_claims");
}

#[test]
fn issuers_of_every_cloud_and_of_no_other() {
    for cloud in Cloud::ALL {
        let issuer = Issuer::entra(*cloud, [TenantId::parse(TENANT).unwrap()]).unwrap();
        let keys = certbound_verifier::KeySet::new().with_key(
            &issuer,
            crate::support::KID,
            crate::support::public_key(),
        );
        let verifier =
            Verifier::builder().issuer(issuer).audience(AUDIENCE).any_role(["Orders.Read"]).build().unwrap();
        let token =
            token().claim("iss", json!(format!("https://{}/{TENANT}/v2.0", cloud.login_host()))).sign();
        let decide = |keys| {
            let authorization = certbound_verifier::Authorization::new(Scheme::MtlsPop, &token);
            code(verifier.check(keys, &authorization, &client(), NOW))
        };
        assert_eq!(decide(&keys), "accepted", "{cloud}");
        if *cloud != Cloud::Public {
            assert_eq!(decide(&crate::support::keys()), "unknown_key", "keys of another cloud");
        }
    }
}

/// Makes a token of version 1 whose issuer is at `host`.
fn of_version_one(host: &str) -> String {
    token()
        .claim("ver", json!("1.0"))
        .claim("iss", json!(format!("https://{host}/{TENANT}/")))
        .claim("appid", json!(crate::support::CLIENT))
        .claim("appidacr", json!("2"))
        .without("azp")
        .without("azpacr")
        .sign()
}

/// Tokens of version 1 have the same issuer in both clouds, so the tenant decides.
#[test]
fn a_token_of_version_one_belongs_to_the_cloud_that_accepts_its_tenant() {
    let other = TenantId::parse(crate::support::OTHER_TENANT).unwrap();
    let public = Issuer::entra(Cloud::Public, [other]).unwrap();
    let government = Issuer::entra(Cloud::UsGovernment, [TenantId::parse(TENANT).unwrap()]).unwrap();
    let keys = certbound_verifier::KeySet::new();
    let keys = keys.with_key(&government, crate::support::KID, crate::support::public_key());
    let builder = Verifier::builder().issuer(public).issuer(government).audience(AUDIENCE);
    let verifier = builder.any_role(["Orders.Read"]).build().unwrap();
    let of_version_one = of_version_one("sts.windows.net");
    let authorization = certbound_verifier::Authorization::new(Scheme::MtlsPop, &of_version_one);
    assert_eq!(code(verifier.check(&keys, &authorization, &client(), NOW)), "accepted");
}

#[test]
fn issuers_of_version_one_are_one_host_in_every_cloud_and_two_in_china() {
    for (cloud, host, expected) in [
        (Cloud::Public, "sts.windows.net", "accepted"),
        (Cloud::UsGovernment, "sts.windows.net", "accepted"),
        (Cloud::China, "sts.windows.net", "accepted"),
        (Cloud::China, "sts.chinacloudapi.cn", "accepted"),
        (Cloud::Public, "sts.chinacloudapi.cn", "issuer_not_trusted"),
    ] {
        let issuer = Issuer::entra(cloud, [TenantId::parse(TENANT).unwrap()]).unwrap();
        let (kid, key) = (crate::support::KID, crate::support::public_key());
        let keys = certbound_verifier::KeySet::new().with_key(&issuer, kid, key);
        let verifier =
            Verifier::builder().issuer(issuer).audience(AUDIENCE).any_role(["Orders.Read"]).build().unwrap();
        let of_version_one = of_version_one(host);
        let authorization = certbound_verifier::Authorization::new(Scheme::MtlsPop, &of_version_one);
        assert_eq!(code(verifier.check(&keys, &authorization, &client(), NOW)), expected, "{cloud} {host}");
    }
}

#[test]
fn a_verifier_that_says_too_little_is_not_built() {
    let issuer = crate::support::issuer;
    let build = |builder: certbound_verifier::VerifierBuilder| builder.build().map(|_| ()).unwrap_err();
    let empty = Verifier::builder;
    assert_eq!(build(empty().audience("a").any_role(["r"])), BuildError::NoIssuer);
    assert_eq!(build(empty().issuer(issuer()).any_role(["r"])), BuildError::NoAudience);
    assert_eq!(build(empty().issuer(issuer()).audience("").any_role(["r"])), BuildError::NoAudience);
    assert_eq!(build(builder().audience("")), BuildError::NoAudience);
    assert_eq!(build(builder().only_clients([""])), BuildError::EmptyClient);
    assert_eq!(build(empty().issuer(issuer()).audience("a")), BuildError::NoRule);
    let twice = build(builder().issuer(issuer()));
    assert!(matches!(twice, BuildError::IssuerTwice { .. }), "{twice}");
    let leeway = Duration::from_secs(601);
    assert_eq!(build(builder().leeway(leeway)), BuildError::Leeway { found: leeway });
    assert!(builder().leeway(Duration::from_secs(600)).build().is_ok());
    let errors = [BuildError::NoIssuer, twice, BuildError::NoAudience, BuildError::NoRule];
    for error in errors.into_iter().chain([BuildError::EmptyClient]) {
        assert!(error.code().contains('_') && error.fix().len() > 10, "{error}");
    }
    let by_name = Issuer::entra(Cloud::Public, [TenantId::parse("contoso.example").unwrap()]).unwrap_err();
    assert_eq!(by_name, IssuerError::TenantName { found: "contoso.example".to_owned() });
    assert_eq!(Issuer::entra(Cloud::Public, []).unwrap_err(), IssuerError::NoTenant);
    for url in [
        "http://idp.example",
        "idp.example",
        "https://u@idp.example",
        "https://idp.example/?x",
        "https://idp.example/#x",
        "",
    ] {
        let error = Issuer::oidc(url, [certbound_verifier::Algorithm::Es256]).unwrap_err();
        assert!(matches!(error, IssuerError::Malformed { .. }), "{url}");
    }
    assert_eq!(Issuer::oidc("https://idp.example", []).unwrap_err(), IssuerError::NoAlgorithm);
    let _ = keys();
}
