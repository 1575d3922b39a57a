use super::*;
use crate::world::builtin::{APP, CLIENT_SUBJECT, OTHER_TENANT, SECRET_APP, TENANT};
use crate::world::{
    BoundTokens, FederatedCredential, TokenBindingMode, TokenBindingParameters, VaultCertificate,
    VaultKeyKind,
};

/// Returns the mistakes of the built-in world after a change, each as `path: text`.
fn mistakes(change: impl FnOnce(&mut World)) -> Vec<String> {
    let mut world = World::built_in();
    change(&mut world);
    let found = world.check().map_or_else(|error| error.mistakes().to_vec(), |()| Vec::new());
    found.into_iter().map(|WorldMistake { at, what }| format!("{at}: {what}")).collect()
}

fn served(issuer: &str) -> crate::world::ExternalIssuer {
    let issuer = issuer.to_owned();
    crate::world::ExternalIssuer { issuer, served: true, ..crate::world::ExternalIssuer::default() }
}

type Change = Box<dyn FnOnce(&mut World)>;

fn case(expected: &str, change: impl FnOnce(&mut World) + 'static) -> (String, Change) {
    (expected.to_owned(), Box::new(change))
}

#[test]
fn each_mistake_is_named_by_its_place() {
    let long = || "x".repeat(601);
    let credential = |n: usize| FederatedCredential {
        issuer: "https://issuer.example".to_owned(),
        subject: n.to_string(),
        audience: "api://AzureADTokenExchange".to_owned(),
        ..FederatedCredential::default()
    };
    let key = |text: &str| {
        vec![crate::world::ExternalIssuer {
            issuer: "https://issuer.example".to_owned(),
            keys: vec![serde_json::from_str(text).unwrap()],
            ..crate::world::ExternalIssuer::default()
        }]
    };
    let certificate = |common_name: &str| VaultCertificate {
        common_name: common_name.to_owned(),
        ..VaultCertificate::default()
    };
    let no_key = key("{\"kty\":\"RSA\"}");
    let unnamed = no_key.clone();
    for (expected, change) in [
        case("token_lifetime_seconds: must be at least 2", |it| it.token_lifetime_seconds = Some(1)),
        case("token_lifetime_seconds: must be at least 2", |it| it.token_lifetime_seconds = Some(86_401)),
        case("tenants[0].id: 'x' is not a GUID", |it| it.tenants[0].id = "x".to_owned()),
        case("tenants[1].id: 'BEA", |it| it.tenants[1].id = TENANT.to_uppercase()),
        case("tenants[1].id: is the same as tenants[0].id", |it| it.tenants[1].id = TENANT.to_owned()),
        case("tenants[1].domains[0]: is the same as tenants[0].domains[0]", |it| {
            it.tenants[1].domains = vec!["contoso.example".to_owned()]
        }),
        case("tenants[0].domains[0]: 'Contoso.example' is not a domain", |it| {
            it.tenants[0].domains = vec!["Contoso.example".to_owned()]
        }),
        case("tenants[0].domains[0]: '127.0.0.1' is not", |it| {
            it.tenants[0].domains = vec!["127.0.0.1".to_owned()]
        }),
        case("applications[0].id: 'nobody' is not a GUID", |it| it.applications[0].id = "nobody".to_owned()),
        case("applications[3].id: is the same as applications[0].id", |it| {
            it.applications[3].id = APP.to_owned()
        }),
        case("applications[0].home_tenant: there is no tenant with the id 'x'", |it| {
            it.applications[0].home_tenant = "x".to_owned()
        }),
        case("applications[0].principals.x: there is no tenant", |it| {
            it.applications[0].principals.insert("x".to_owned(), SECRET_APP.to_owned());
        }),
        case("applications[0].principals.5f1c2a7e-3d94-4b58-9c06-8e2b7a14d3f0: 'y' is not a GUID", |it| {
            it.applications[0].principals.insert(OTHER_TENANT.to_owned(), "y".to_owned());
        }),
        case("applications[1].principals.bea21ebe-8b64-4d06-9f6d-6a889b120a7c: is the same as", |it| {
            it.applications[1].principals = it.applications[0].principals.clone()
        }),
        case("applications[3].expired_secrets[0]: is the same as applications[3].secrets[0]", |it| {
            it.applications[3].expired_secrets = it.applications[3].secrets.clone();
        }),
        case("external_issuers[0].issuer: must be https:// and a host name", |it| {
            it.external_issuers = vec![served("https://Tokens.example")];
        }),
        case("external_issuers[0].issuer: must be https:// and a host name", |it| {
            it.external_issuers = vec![served("https://tokens.example:8443")];
        }),
        case("external_issuers[0].issuer: must be https:// and a host name", |it| {
            it.external_issuers = vec![served("https://tokens.example/?a")];
        }),
        case(
            "external_issuers[0].issuer: 'login.microsoftonline.com' is a host of the token service",
            |it| {
                it.external_issuers = vec![served("https://login.microsoftonline.com/x")];
            },
        ),
        case(
            "external_issuers[0].issuer: 'orders.contoso.example' is a host of the token service or",
            |it| {
                it.external_issuers = vec![served("https://orders.contoso.example")];
            },
        ),
        case("external_issuers[1].issuer: is the same as external_issuers[0].issuer", |it| {
            it.external_issuers = vec![served("https://tokens.example"), served("https://tokens.example/")];
        }),
        case("applications[3].secrets[1]: is empty", |it| it.applications[3].secrets.push(String::new())),
        case("applications[0].trusted_subjects[1]: 'my-app' is not a subject name", |it| {
            it.applications[0].trusted_subjects.push("my-app".to_owned())
        }),
        case("applications[0].registered_certificates[0]: is not PEM", |it| {
            it.applications[0].registered_certificates = vec![CLIENT_SUBJECT.to_owned()]
        }),
        case(
            "applications[0].registered_certificates[0]: contains a certificate that cannot be read",
            |it| {
                let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
                it.applications[0].registered_certificates = vec![pem.to_owned()]
            },
        ),
        case("trusted_authorities[0]: is not PEM", |it| it.trusted_authorities = vec![String::new()]),
        case("applications[3].federated_credentials: there are 21", move |it| {
            it.applications[3].federated_credentials = (0..21).map(credential).collect()
        }),
        case("applications[3].federated_credentials[1]: is the same as", move |it| {
            it.applications[3].federated_credentials = vec![credential(1), credential(1)]
        }),
        case("applications[0].federated_credentials[0].audience: is longer than 600", move |it| {
            it.applications[0].federated_credentials[0].audience = long()
        }),
        case("applications[0].federated_credentials[0].issuer: is empty", |it| {
            it.applications[0].federated_credentials[0].issuer.clear()
        }),
        case("applications[0].roles.none: there is no resource with the app_id 'none'", |it| {
            it.applications[0].roles.insert("none".to_owned(), Vec::new());
        }),
        case("resources[4].uris: at least one", |it| it.resources[4].uris.clear()),
        case("resources[4].uris[0]: is the same as resources[3].uris[0]", |it| {
            it.resources[4].uris = it.resources[3].uris.clone()
        }),
        case("resources[3].uris[0]: 'api://a b' contains white space", |it| {
            it.resources[3].uris = vec!["api://a b".to_owned()]
        }),
        case("resources[3].hosts[0].name: 'mtlsauth.microsoft.com' is a host of the token service", |it| {
            it.resources[3].hosts[0].name = "mtlsauth.microsoft.com".to_owned()
        }),
        case("resources[3].hosts[0].name: '*.login.microsoft.com' is a host of the token service", |it| {
            it.resources[3].hosts[0].name = "*.login.microsoft.com".to_owned()
        }),
        case("resources[3].hosts[0].name: 'https://a.example' is not a host name", |it| {
            it.resources[3].hosts[0].name = "https://a.example".to_owned()
        }),
        case("resources[3].hosts[0].name: is the same as resources[2].hosts[1].name", |it| {
            it.resources[3].hosts[0].name = "graph.microsoft.com".to_owned()
        }),
        case("resources[2].keys.a: only a resource with the style 'vault' has keys", |it| {
            it.resources[2].keys.insert("a".to_owned(), VaultKeyKind::P256);
        }),
        case("resources[1].keys.a_b: 'a_b' is not a name in a vault", |it| {
            it.resources[1].keys.insert("a_b".to_owned(), VaultKeyKind::P256);
        }),
        case("resources[1].items.a_b: 'a_b' is not a name in a vault", |it| {
            it.resources[1].items.insert("a_b".to_owned(), "1".to_owned());
        }),
        case("resources[1].items.demo: is the same as resources[1].items.Demo", |it| {
            it.resources[1].items.insert("Demo".to_owned(), "1".to_owned());
        }),
        case("resources[1].certificates.Demo-RSA: is the same as resources[1].keys.demo-rsa", move |it| {
            it.resources[1].certificates.insert("Demo-RSA".to_owned(), certificate("a"));
        }),
        case("resources[1].certificates.DEMO: a certificate also has a secret of its name", move |it| {
            it.resources[1].certificates.insert("DEMO".to_owned(), certificate("a"));
        }),
        case("resources[1].certificates.a.common_name: is empty", move |it| {
            it.resources[1].certificates.insert("a".to_owned(), certificate(""));
        }),
        case("external_issuers[0].keys[0]: has no `kid`", |it| it.external_issuers = unnamed),
    ] {
        let found = mistakes(change);
        assert!(found.iter().any(|mistake| mistake.starts_with(&expected)), "{expected}\n{found:?}");
    }
    let found = mistakes(|it| it.external_issuers = no_key);
    assert!(found.iter().any(|mistake| mistake.contains("is not a public key")), "{found:?}");
}

#[test]
fn all_mistakes_are_told_at_once_and_the_built_in_world_has_none() {
    assert_eq!(mistakes(|_| {}), Vec::<String>::new());
    let found = mistakes(|it| {
        it.tenants[1].id = "x".to_owned();
        it.applications[3].id = "y".to_owned();
        it.resources[0].app_id = "z".to_owned();
    });
    // There are four mistakes, because the application of both tenants now also refers to a missing tenant.
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn the_mode_of_a_vault_must_not_contradict_its_bound_tokens() {
    use BoundTokens::{Allowed, Refused, Required};
    use TokenBindingMode::{Enforced, NotEnforced};

    for (bound_tokens, mode, expected) in [
        (Refused, Enforced, "so the vault accepts only bound tokens"),
        (Required, NotEnforced, "so the vault rejects bound tokens"),
        (Refused, NotEnforced, ""),
        (Allowed, NotEnforced, ""),
        (Allowed, Enforced, ""),
        (Required, Enforced, ""),
    ] {
        let found = mistakes(|it| {
            it.resources[1].bound_tokens = bound_tokens;
            let rules = TokenBindingParameters { mode, ..TokenBindingParameters::default() };
            it.resources[1].token_binding_parameters = Some(rules);
        });
        assert_eq!(found.len(), usize::from(!expected.is_empty()), "{bound_tokens:?} {mode:?}: {found:?}");
        let place = "resources[1].token_binding_parameters.mode: is '";
        assert!(found.iter().all(|it| it.starts_with(place) && it.contains(expected)), "{found:?}");
    }
}
