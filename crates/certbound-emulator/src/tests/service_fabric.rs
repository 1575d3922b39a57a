//! The token service of a Service Fabric node, and its checks.

use super::*;
use crate::world::builtin::{
    SYSTEM_IDENTITY, SYSTEM_IDENTITY_PRINCIPAL, USER_IDENTITY, USER_IDENTITY_PRINCIPAL,
    USER_IDENTITY_RESOURCE,
};
use crate::{APP_SERVICE, PLATFORM_SECRET, SERVICE_FABRIC};

const ASKED: &str = "api-version=2020-05-01&resource=https%3A%2F%2Fvault.azure.net";
const HASH: &str = "cc0af97287543b65da2c7e1476426021826cab166f1e063ed012b855ff819656";
const SECRET: [(&str, &str); 1] = [("secret", PLATFORM_SECRET)];

fn send(emulator: &Emulator, method: &str, path_and_query: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path_and_query).header("host", "127.0.0.1:4444");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let tls = TlsFacts { protocol: Some("TLSv1_3".to_owned()), ..TlsFacts::default() };
    let request = request.body(Bytes::new()).unwrap();
    let response = emulator.handle_service_fabric(NOW, &tls, "127.0.0.1:4444", request);
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

fn get(emulator: &Emulator, query: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    send(emulator, "GET", &format!("{SERVICE_FABRIC}?{query}"), headers)
}

fn claims(answer: &Value) -> Claims {
    jws::unverified_claims(answer["access_token"].as_str().unwrap()).unwrap()
}

#[test]
fn it_gives_tokens_to_who_has_the_secret() {
    let emulator = emulator();
    let (status, answer) = get(&emulator, ASKED, &SECRET);
    assert_eq!((status, &answer["token_type"]), (200, &"Bearer".into()));
    assert_eq!(answer["expires_on"], NOW.as_secs() + 86_400, "a number here");
    assert_eq!(answer["resource"], "https://vault.azure.net");
    assert_eq!(answer.as_object().unwrap().len(), 4);
    assert_eq!(claims(&answer).string("appid"), Some(SYSTEM_IDENTITY));
    for (id, expected) in
        [(USER_IDENTITY_PRINCIPAL, USER_IDENTITY), (SYSTEM_IDENTITY_PRINCIPAL, SYSTEM_IDENTITY)]
    {
        let (_, answer) = get(&emulator, &format!("{ASKED}&principalId={id}"), &SECRET);
        assert_eq!(claims(&answer).string("appid"), Some(expected));
    }
    // Other libraries use this older version.
    let older = ASKED.replace("2020-05-01", "2019-07-01-preview");
    assert_eq!(get(&emulator, &older, &SECRET).0, 200);
}

#[test]
fn what_it_is_told_of_capabilities_and_of_a_rejected_token_is_in_the_journal() {
    let emulator = emulator();
    let query = format!("{ASKED}&xms_cc=cp1%2Ccp2&token_sha256_to_refresh={HASH}");
    let (status, answer) = get(&emulator, &query, &SECRET);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(claims(&answer).list("xms_cc").unwrap(), ["cp1", "cp2"]);
    let entry = emulator.journal().pop().unwrap();
    assert_eq!(entry.parameter("xms_cc"), Some("cp1,cp2"));
    assert_eq!(entry.parameter("token_sha256_to_refresh"), Some(HASH));
    assert_eq!((entry.path.as_str(), entry.protocol.as_deref()), (SERVICE_FABRIC, Some("TLSv1_3")));
    assert!(!serde_json::to_string(&entry).unwrap().contains(PLATFORM_SECRET));
}

#[test]
fn what_is_wrong_is_told_in_its_own_words() {
    let emulator = emulator();
    let and = |more: &str| format!("{ASKED}&{more}");
    let unknown = "00000000-0000-4000-8000-000000000000";
    for (query, headers, status, code) in [
        (ASKED.to_owned(), vec![], 400, "SecretHeaderNotFound"),
        (ASKED.to_owned(), vec![SECRET[0], SECRET[0]], 400, "SecretHeaderNotFound"),
        (ASKED.to_owned(), vec![("secret", "another")], 404, "ManagedIdentityNotFound"),
        (ASKED.to_owned(), vec![SECRET[0], ("x-forwarded-for", "10.0.0.1")], 400, "InvalidRequest"),
        (ASKED.replace("2020-05-01", "2019-08-01"), SECRET.to_vec(), 400, "InvalidApiVersion"),
        ("resource=x".to_owned(), SECRET.to_vec(), 400, "InvalidApiVersion"),
        ("api-version=2020-05-01".to_owned(), SECRET.to_vec(), 400, "ArgumentNullOrEmpty"),
        ("api-version=2020-05-01&resource=".to_owned(), SECRET.to_vec(), 400, "ArgumentNullOrEmpty"),
        ("api-version=2020-05-01&resource=x".to_owned(), SECRET.to_vec(), 500, "InternalServerError"),
        (and("resource=x"), SECRET.to_vec(), 400, "InvalidRequest"),
        (and(&format!("principalId={unknown}")), SECRET.to_vec(), 404, "ManagedIdentityNotFound"),
        // `principalId` is an object id, so a client id does not select an identity.
        (and(&format!("principalId={USER_IDENTITY}")), SECRET.to_vec(), 404, "ManagedIdentityNotFound"),
        (and(&format!("client_id={USER_IDENTITY}")), SECRET.to_vec(), 400, "InvalidParameter"),
        (and(&format!("object_id={USER_IDENTITY_PRINCIPAL}")), SECRET.to_vec(), 400, "InvalidParameter"),
        (and(&format!("mi_res_id={USER_IDENTITY_RESOURCE}")), SECRET.to_vec(), 400, "InvalidParameter"),
        (and("principalId="), SECRET.to_vec(), 404, "ManagedIdentityNotFound"),
        (and("token_sha256_to_refresh=abc"), SECRET.to_vec(), 400, "InvalidParameter"),
        (
            and(&format!("token_sha256_to_refresh={}", HASH.to_uppercase())),
            SECRET.to_vec(),
            400,
            "InvalidParameter",
        ),
    ] {
        let (found, answer) = get(&emulator, &query, &headers);
        assert_eq!(
            (found, &answer["error"]["code"]),
            (status, &code.into()),
            "{query} {headers:?}: {answer}"
        );
        assert!(answer["error"]["correlationId"].is_string());
    }
    assert_eq!(send(&emulator, "POST", &format!("{SERVICE_FABRIC}?{ASKED}"), &SECRET).0, 405);
}

/// The listener of Service Fabric has only this endpoint, and no other listener has this endpoint.
#[test]
fn it_is_apart_from_the_other_platforms() {
    let emulator = emulator();
    let query = "api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net";
    let of_app_service =
        send(&emulator, "GET", &format!("{APP_SERVICE}?{query}"), &[("x-identity-header", PLATFORM_SECRET)]);
    assert_eq!(of_app_service.0, 404);
    let request = Request::get(format!("{SERVICE_FABRIC}?{ASKED}")).header("host", "127.0.0.1:4444");
    let request = request.header("secret", PLATFORM_SECRET).body(Bytes::new()).unwrap();
    assert_eq!(emulator.handle_machine(NOW, "127.0.0.1:4444", request).status(), 404);
}

#[test]
fn each_emulator_has_a_certificate_of_its_own() {
    let emulators = [World::built_in(), World::built_in()].map(|world| Emulator::new(world).unwrap());
    assert_ne!(emulators[0].service_fabric_thumbprint(), emulators[1].service_fabric_thumbprint());
}
