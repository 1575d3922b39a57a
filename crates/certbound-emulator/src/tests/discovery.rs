use certbound_core::jws::{Algorithm, PublicKey};
use serde_json::json;

use super::*;

fn get(emulator: &Emulator, host: &str, path: &str) -> Response<Bytes> {
    let request = Request::get(path).body(Bytes::new()).unwrap();
    emulator.handle(NOW, &TlsFacts::without_certificate(host), request)
}

#[test]
fn the_metadata_leads_to_the_keys_that_verify_the_tokens() {
    let emulator = emulator();
    let metadata =
        json_of(&get(&emulator, LOGIN, &format!("/{TENANT}/v2.0/.well-known/openid-configuration")));
    assert_eq!(metadata["issuer"], format!("https://{LOGIN}/{TENANT}/v2.0"));
    assert_eq!(metadata["token_endpoint"], format!("https://{LOGIN}/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(
        metadata["mtls_endpoint_aliases"]["token_endpoint"],
        format!("https://{MTLS}/{TENANT}/oauth2/v2.0/token")
    );
    let keys =
        metadata["jwks_uri"].as_str().unwrap().strip_prefix("https://login.microsoftonline.com").unwrap();
    let verifies = |token: &str| {
        let jws = UnverifiedJws::parse(token).unwrap();
        let published = json_of(&get(&emulator, LOGIN, keys));
        let jwk = published["keys"]
            .as_array()
            .unwrap()
            .iter()
            .find(|key| key["kid"] == jws.header().kid().unwrap());
        let key = PublicKey::from_jwk(jwk.unwrap().as_object().unwrap()).unwrap();
        jws.verify(&key, &[Algorithm::Rs256]).is_ok()
    };
    let old = Ask::leg1(&emulator).token(&emulator);
    emulator.rotate_keys().unwrap();
    let new = Ask::leg1(&emulator).token(&emulator);
    assert!(verifies(&old) && verifies(&new));
    assert_eq!(json_of(&get(&emulator, LOGIN, keys))["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn the_common_document_names_no_tenant_and_other_hosts_have_none() {
    let emulator = emulator();
    let path = "/common/v2.0/.well-known/openid-configuration";
    let common = json_of(&get(&emulator, "login.microsoftonline.us", path));
    assert_eq!(common["issuer"], "https://login.microsoftonline.us/{tenantid}/v2.0");
    assert_eq!(get(&emulator, MTLS, path).status(), 404);
    let unknown = get(&emulator, LOGIN, "/nowhere.example/v2.0/.well-known/openid-configuration");
    assert_eq!(code(&unknown), 90_002);
}

#[test]
fn instance_discovery_knows_login_hosts_and_nothing_else() {
    let emulator = emulator();
    let ask = |authority: &str| {
        let path = format!("/common/discovery/instance?api-version=1.1&authorization_endpoint={authority}");
        get(&emulator, LOGIN, &path)
    };
    let known = json_of(&ask("https://login.windows.net/contoso.example/oauth2/v2.0/authorize"));
    assert_eq!(
        known["tenant_discovery_endpoint"],
        "https://login.windows.net/contoso.example/v2.0/.well-known/openid-configuration"
    );
    assert!(known["metadata"][0]["aliases"].as_array().unwrap().contains(&json!("sts.windows.net")));
    for unknown in ["https://login.example.com/common/oauth2/v2.0/authorize", "nonsense", ""] {
        assert_eq!(code(&ask(unknown)), 50_049, "{unknown}");
    }
}

/// Microsoft's libraries compare the issuer of a key with the issuer of the token, if the key has one.
#[test]
fn only_the_keys_of_version_2_name_an_issuer() {
    let emulator = emulator();
    for (path, has_issuer) in [("/discovery/keys", false), ("/discovery/v2.0/keys", true)] {
        let keys = json_of(&get(&emulator, LOGIN, &format!("/{TENANT}{path}")));
        assert_eq!(keys["keys"][0].get("issuer").is_some(), has_issuer, "{path}");
    }
}

#[test]
fn instance_discovery_lists_every_known_environment() {
    let path = "/common/discovery/instance?api-version=1.1&authorization_endpoint=https://login-us.microsoftonline.com/t/";
    let listed = json_of(&get(&emulator(), LOGIN, path))["metadata"].to_string();
    for environment in certbound_core::environment::known_environments() {
        assert!(listed.contains(environment.preferred_network), "{environment:?}");
    }
}
