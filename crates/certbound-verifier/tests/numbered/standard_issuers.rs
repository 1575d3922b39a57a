//! The caller in tokens of issuers other than Entra: Keycloak, Auth0, Okta, Duende and OpenIddict.

use std::path::PathBuf;

use certbound_verifier::{
    Algorithm, Authorization, BindingPolicy, Callers, Issuer, IssuerError, KeySet, Refusal, Scheme, Verified,
    Verifier, VerifierBuilder,
};
use serde_json::{Value, json};

use crate::support::{AUDIENCE, CLIENT, KID, NOW, Token, client, code, decide_as, public_key, token};

const ISSUER: &str = "https://idp.example";

fn oidc(url: &str) -> Issuer {
    Issuer::oidc(url, [Algorithm::Rs256]).unwrap()
}

/// Makes a good token of the issuer for an application. Tests then change it.
fn standard() -> Token {
    let mut token = token();
    for name in ["azp", "azpacr", "idtyp", "oid", "roles", "tid", "ver"] {
        token = token.without(name);
    }
    token
        .claim("iss", json!(ISSUER))
        .claim("client_id", json!("orders-job"))
        .claim("sub", json!("orders-job"))
        .claim("scope", json!("orders.read"))
}

fn builder() -> VerifierBuilder {
    Verifier::builder().issuer(oidc(ISSUER)).audience(AUDIENCE).binding(BindingPolicy::Rfc8705)
}

fn by(verifier: &Verifier, issuer: &Issuer, token: &Token) -> Result<Verified, Refusal> {
    let keys = KeySet::new().with_key(issuer, KID, public_key());
    let token = token.sign();
    verifier.check(&keys, &Authorization::new(Scheme::Bearer, &token), &client(), NOW)
}

fn decide(builder: VerifierBuilder, token: &Token) -> &'static str {
    code(by(&builder.build().unwrap(), &oidc(ISSUER), token))
}

/// Returns the kind of caller for which the verifier accepts `token`.
fn kind(token: &Token) -> &'static str {
    let accepted = |callers| decide(builder().dangerous_any_caller().callers(callers), token);
    match (accepted(Callers::Applications), accepted(Callers::Users)) {
        ("accepted", "caller_kind_not_accepted") => "application",
        ("caller_kind_not_accepted", "accepted") => "user",
        ("caller_kind_not_accepted", "caller_kind_not_accepted") => {
            assert_eq!(accepted(Callers::Any), "accepted");
            "neither"
        }
        other => panic!("{other:?}"),
    }
}

/// Reads a golden file, and makes its token bound and valid now.
fn golden(name: &str) -> Token {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tokens");
    let text = std::fs::read(path.join(format!("{name}.json"))).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    let part = |name: &str| file[name].as_object().unwrap().clone();
    let mut token = Token { header: part("header"), claims: part("claims") };
    for (name, seconds) in
        [("iat", NOW.as_secs() - 10), ("nbf", NOW.as_secs() - 10), ("exp", NOW.as_secs() + 290)]
    {
        if token.claims.contains_key(name) {
            token = token.claim(name, json!(seconds));
        }
    }
    token.claim("cnf", json!({ "x5t#S256": client().thumbprint().unwrap().x5t_s256() }))
}

#[test]
fn tokens_of_known_issuers_are_told_apart() {
    for (name, application, id) in [
        ("keycloak-application", true, "Orders-Job"),
        ("keycloak-application-older", true, "orders-job"),
        ("keycloak-user", false, "shop-web"),
        ("auth0-application", true, "Wq3ZtB7nXy1LkR9sVd5HcF2mJg8PaT0u"),
        ("auth0-application-rfc9068", true, "Wq3ZtB7nXy1LkR9sVd5HcF2mJg8PaT0u"),
        ("auth0-user", false, "Hs8DkP2vQe6YbN4xTr0LmC9gUj3WfZ7o"),
        ("okta-application", true, "0oa4k7w2nzQmB9XcE5d7"),
        ("okta-user", false, "0oa9r3t6vyLpD1HsK5d7"),
        ("duende-application", true, "orders-job"),
        ("duende-user", false, "shop-web"),
        ("openiddict-application", true, "orders-job"),
        ("openiddict-application-abp", true, "orders-job"),
        ("openiddict-user", false, "shop-web"),
    ] {
        let token = golden(name);
        let issuer = oidc(token.claims["iss"].as_str().unwrap());
        let mut builder = Verifier::builder().issuer(issuer.clone()).binding(BindingPolicy::Rfc8705);
        for audience in match &token.claims["aud"] {
            Value::Array(several) => several.clone(),
            one => vec![one.clone()],
        } {
            builder = builder.audience(audience.as_str().unwrap());
        }
        let builder = builder.any_scope(["orders.read"]);
        let decide = |callers, id: &str| {
            let verifier = builder.clone().callers(callers).only_clients([id]).build().unwrap();
            by(&verifier, &issuer, &token)
        };
        let (own, other) = match application {
            true => (Callers::Applications, Callers::Users),
            false => (Callers::Users, Callers::Applications),
        };
        let verified = decide(own, id).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!(verified.client_id(), Some(id), "{name}");
        assert!(verified.scopes().any(|scope| scope == "orders.read"), "{name}");
        assert_eq!((verified.tenant_id(), verified.object_id()), (None, None), "{name}");
        assert_eq!(code(decide(other, id)), "caller_kind_not_accepted", "{name}");
        assert_eq!(code(decide(Callers::Any, id)), "accepted", "{name}");
        assert_eq!(code(decide(own, &id.to_ascii_uppercase())), "client_not_allowed", "{name}");
        // Without the claims of the user's session, a user's token is still not a token of an application.
        if !application {
            let bare = ["sid", "session_state", "uid", "amr", "auth_time", "idp"]
                .into_iter()
                .fold(token.clone(), |token, name| token.without(name));
            let verifier = builder.clone().only_clients([id]).build().unwrap();
            assert_eq!(code(by(&verifier, &issuer, &bare)), "caller_kind_not_accepted", "{name}");
        }
    }
}

/// Without the scope `profile` no claim names the account, and `sub` is the id of the user that represents the client
/// in Keycloak.
#[test]
fn v17_a_keycloak_application_without_its_name_is_no_user() {
    let token = golden("keycloak-application-without-profile");
    let issuer = oidc("https://keycloak.example/realms/shop");
    let by_callers = |token: &Token, callers| {
        let builder = Verifier::builder().issuer(issuer.clone()).binding(BindingPolicy::Rfc8705);
        let verifier = builder.audience("orders").callers(callers).only_clients(["orders-job"]);
        code(by(&verifier.build().unwrap(), &issuer, token))
    };
    for callers in [Callers::Users, Callers::Applications] {
        assert_eq!(by_callers(&token, callers), "caller_kind_not_accepted", "{callers:?}");
    }
    assert_eq!(by_callers(&token, Callers::Any), "accepted");
    // Each of the three claims alone shows that the token is not a token of a user.
    let bare = token.without("clientHost").without("clientAddress").without("client_id");
    assert_eq!(by_callers(&bare, Callers::Users), "accepted");
    for name in ["clientHost", "clientAddress", "clientId"] {
        let one = bare.clone().claim(name, json!("192.0.2.7"));
        assert_eq!(by_callers(&one, Callers::Users), "caller_kind_not_accepted", "{name}");
    }
}

#[test]
fn v17_client_ids_that_differ_in_case_are_two_clients() {
    let of = |id: &str| standard().claim("client_id", json!(id)).claim("sub", json!(id));
    let allow = |id: &str| builder().only_clients([id]);
    assert_eq!(decide(allow("ss-rsa"), &of("ss-rsa")), "accepted");
    assert_eq!(decide(allow("ss-rsa"), &of("SS-RSA")), "client_not_allowed");
    assert_eq!(decide(allow("SS-RSA"), &of("ss-rsa")), "client_not_allowed");
    // GUIDs that differ in case are different ids too.
    assert_eq!(decide(allow(&CLIENT.to_ascii_uppercase()), &of(CLIENT)), "client_not_allowed");
}

/// The verifier compares ids by the rule of the token's issuer.
#[test]
fn v17_one_verifier_compares_by_each_tokens_issuer() {
    let verifier = Verifier::builder()
        .issuer(crate::support::issuer())
        .issuer(oidc(ISSUER))
        .audience(AUDIENCE)
        .binding(BindingPolicy::Rfc8705)
        .only_clients([CLIENT.to_ascii_uppercase(), "Orders-Job".to_owned()])
        .build()
        .unwrap();
    let of_entra = token().without("roles").sign();
    assert_eq!(code(decide_as(&verifier, Scheme::MtlsPop, &of_entra, &client())), "accepted");
    let of = |id: &str| standard().claim("client_id", json!(id)).claim("sub", json!(id));
    for (id, expected) in
        [("Orders-Job", "accepted"), ("orders-job", "client_not_allowed"), (CLIENT, "client_not_allowed")]
    {
        assert_eq!(code(by(&verifier, &oidc(ISSUER), &of(id))), expected, "{id}");
    }
}

/// Only Entra uses `appid`. At a different issuer, a client may be able to add this claim to its tokens.
#[test]
fn v17_the_clients_claim_is_not_one_that_a_client_may_add() {
    let token = standard().claim("client_id", json!("app1")).claim("sub", json!("app1"));
    let spoofed = token.clone().claim("appid", json!("evil"));
    assert_eq!(decide(builder().only_clients(["evil"]), &spoofed), "client_not_allowed");
    assert_eq!(decide(builder().only_clients(["app1"]), &spoofed), "accepted");
    // If two claims disagree, the verifier refuses the token, even if both clients are allowed.
    for name in ["azp", "cid"] {
        for claim in [json!("evil"), json!("APP1"), json!(""), json!(7), json!(null), json!(["app1"])] {
            let both = token.clone().claim(name, claim.clone());
            for builder in [
                builder().only_clients(["evil", "app1"]),
                builder().callers(Callers::Any).dangerous_any_caller(),
            ] {
                assert_eq!(decide(builder, &both), "client_claims_conflict", "{name} {claim}");
            }
        }
        let same = token.clone().claim(name, json!("app1"));
        assert_eq!(decide(builder().only_clients(["app1"]), &same), "accepted");
    }
    // A token without a claim that names the client matches no list of clients.
    let nobody = token.without("client_id");
    assert_eq!(decide(builder().callers(Callers::Any).only_clients(["app1"]), &nobody), "client_not_allowed");
    assert_eq!(decide(builder().only_clients(["app1"]), &nobody), "caller_kind_not_accepted");
}

#[test]
fn v17_the_clients_claim_by_choice() {
    let by_appid = || {
        let issuer = oidc(ISSUER).with_client_claim("appid").unwrap();
        Verifier::builder().issuer(issuer).audience(AUDIENCE).binding(BindingPolicy::Rfc8705)
    };
    let token = standard().claim("appid", json!("app1")).claim("sub", json!("app1"));
    assert_eq!(decide(by_appid().only_clients(["app1"]), &token), "accepted");
    assert_eq!(decide(by_appid().only_clients(["orders-job"]), &token), "client_not_allowed");
    let verifier = by_appid().only_clients(["app1"]).build().unwrap();
    assert_eq!(by(&verifier, &oidc(ISSUER), &token).unwrap().client_id(), Some("app1"));
    let without = token.without("appid");
    assert_eq!(
        decide(by_appid().callers(Callers::Any).only_clients(["orders-job"]), &without),
        "client_not_allowed"
    );
    // For Entra, the verifier still uses Entra's own claims.
    let issuer = crate::support::issuer().with_client_claim("oid").unwrap();
    let verifier =
        Verifier::builder().issuer(issuer).audience(AUDIENCE).only_clients([CLIENT]).build().unwrap();
    let of_entra = crate::support::token().sign();
    assert_eq!(code(decide_as(&verifier, Scheme::MtlsPop, &of_entra, &client())), "accepted");
}

/// `sub` is the client in a token of an application, and the user in a token of a user.
#[test]
fn v17_the_subject_is_not_the_clients_claim() {
    for name in ["sub", ""] {
        let error = oidc(ISSUER).with_client_claim(name).unwrap_err();
        assert_eq!(
            (error.code(), error),
            ("invalid_client_claim", IssuerError::ClientClaim { found: name.into() })
        );
    }
}

/// Users can choose `preferred_username` (OpenID Connect Core, section 5.1).
#[test]
fn v17_a_user_is_no_application_whatever_the_user_is_called() {
    let user = || standard().claim("sub", json!("88421113"));
    assert_eq!((kind(&standard()), kind(&user())), ("application", "user"));
    let named = || user().claim("preferred_username", json!("service-account-orders-job"));
    assert_eq!(kind(&named()), "neither");
    // This is a user's token of OpenIddict. It has no claim about a session.
    let of_openiddict = golden("openiddict-user")
        .without("name")
        .claim("aud", json!(AUDIENCE))
        .claim("iss", json!(ISSUER))
        .claim("preferred_username", json!("service-account-shop-web"));
    assert_eq!(kind(&of_openiddict), "neither");
    // Keycloak adds the client's address only to tokens of the client credentials grant.
    for address in ["clientHost", "clientAddress"] {
        let account = named().claim(address, json!("192.0.2.7"));
        assert_eq!(kind(&account), "application", "{address}");
        for name in ["auth_time", "idp", "username", "name", "email"] {
            assert_eq!(kind(&account.clone().claim(name, json!("x"))), "neither", "{name}");
        }
    }
    assert_eq!(kind(&named().claim("clientId", json!("orders-job"))), "neither");
    // The account of a different client is neither a user nor an application.
    let other = user().claim("preferred_username", json!("service-account-other"));
    assert_eq!(kind(&other), "neither");
    assert_eq!(kind(&other.claim("clientHost", json!("192.0.2.7"))), "neither");
}

#[test]
fn v17_what_a_sign_in_leaves_makes_no_application() {
    let user = || standard().claim("sub", json!("88421113"));
    let account = user()
        .claim("preferred_username", json!("service-account-orders-job"))
        .claim("clientHost", json!("192.0.2.7"));
    // The tokens have the account of a client, the subject of an Auth0 application, or the client's own id. Then each
    // token also gets a claim about a session.
    for token in
        [account, user().claim("sub", json!("orders-job@clients")), user().claim("sub", json!("orders-job"))]
    {
        assert_eq!(kind(&token), "application", "{:?}", token.claims);
        for (trace, found) in
            [("sid", json!("s")), ("session_state", json!("s")), ("uid", json!("u")), ("amr", json!(["pwd"]))]
        {
            assert_eq!(kind(&token.clone().claim(trace, found)), "neither", "{trace} {:?}", token.claims);
        }
    }
    // The subject of a different client is neither a user nor an application.
    assert_eq!(kind(&user().claim("sub", json!("other@clients"))), "neither");
    assert_eq!(kind(&user().claim("gty", json!("client-credentials"))), "neither");
    assert_eq!(
        kind(&user().claim("sub", json!("orders-job@clients")).claim("gty", json!("password"))),
        "neither"
    );
    // A token without scopes is not a user's token, because the user consented to nothing.
    assert_eq!(kind(&user().without("scope")), "neither");
}

#[test]
fn v17_a_token_without_a_subject_is_an_applications_only_where_nothing_says_person() {
    let without = || standard().without("sub");
    assert_eq!(kind(&without()), "application");
    for name in ["auth_time", "idp", "preferred_username", "username", "name", "email", "sid", "amr", "uid"] {
        assert_eq!(kind(&without().claim(name, json!("x"))), "neither", "{name}");
    }
    for subject in [json!(null), json!(7), json!(""), json!(["orders-job"])] {
        assert_eq!(kind(&without().claim("sub", subject.clone())), "neither", "{subject}");
    }
    // A token with only `azp` may be about a different subject: Keycloak's lightweight tokens have neither `sub` nor a
    // name.
    let light = without().without("client_id").claim("azp", json!("orders-job"));
    assert_eq!(kind(&light), "neither");
    let issuer = oidc(ISSUER).with_client_claim("azp").unwrap();
    let named = Verifier::builder().issuer(issuer).audience(AUDIENCE).binding(BindingPolicy::Rfc8705);
    assert_eq!(decide(named.only_clients(["orders-job"]), &light), "accepted");
}

#[test]
fn v17_scopes_are_a_text_or_a_list() {
    let needs = || builder().any_scope(["orders.read"]);
    for (name, value, expected) in [
        ("scope", json!("openid orders.read"), "accepted"),
        ("scope", json!(["openid", "orders.read"]), "accepted"),
        ("scp", json!("openid orders.read"), "accepted"),
        ("scp", json!(["openid", "orders.read"]), "accepted"),
        ("scp", json!(["openid orders.read"]), "no_permission"),
        ("scope", json!("ORDERS.READ"), "no_permission"),
        ("scope", json!("orders.read.all"), "no_permission"),
        ("scope", json!({ "orders.read": true }), "no_permission"),
        ("scope", json!([["orders.read"], 7]), "no_permission"),
    ] {
        let token = standard().without("scope").claim(name, value.clone());
        assert_eq!(decide(needs(), &token), expected, "{name} {value}");
    }
    // `scope` is the claim of RFC 9068. If the token has `scope`, the verifier ignores `scp`.
    let both = standard().claim("scope", json!("openid")).claim("scp", json!("orders.read"));
    assert_eq!(decide(needs(), &both), "no_permission");
}

/// `tid` and `oid` are claims of Entra, so the verifier does not read them in tokens of other issuers.
#[test]
fn v17_claims_that_are_entras_are_not_read_at_other_issuers() {
    let verifier = builder().only_clients(["orders-job"]).build().unwrap();
    let token = standard().claim("tid", json!(crate::support::TENANT)).claim("oid", json!("x"));
    let verified = by(&verifier, &oidc(ISSUER), &token).unwrap();
    assert_eq!((verified.tenant_id(), verified.object_id()), (None, None));
    assert_eq!(verified.subject(), Some("orders-job"));
}
