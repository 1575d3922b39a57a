//! The machine's metadata service. Numbers are those of the list of security tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair, PKCS_RSA_SHA256,
};
use serde_json::json;

use super::*;
use crate::world::builtin::{
    SYSTEM_IDENTITY, USER_IDENTITY, USER_IDENTITY_PRINCIPAL, USER_IDENTITY_RESOURCE,
};

const HOST: &str = "169.254.169.254";
const TOKEN: &str = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
const METADATA: &str = "/metadata/identity/getplatformmetadata?cred-api-version=2.0";
const ISSUE: &str = "/metadata/identity/issuecredential?cred-api-version=2.0";

fn get(path: &str) -> http::request::Builder {
    Request::get(path).header("host", HOST).header("metadata", "true")
}

fn send(emulator: &Emulator, request: http::request::Builder, body: impl Into<Bytes>) -> Response<Bytes> {
    emulator.handle_machine(NOW, "127.0.0.1:4444", request.body(body.into()).unwrap())
}

fn status(emulator: &Emulator, request: http::request::Builder) -> u16 {
    send(emulator, request, "").status().as_u16()
}

#[test]
fn s80_the_metadata_header_is_true_once() {
    let emulator = emulator();
    assert_eq!(status(&emulator, get(TOKEN)), 200);
    let bare = || Request::get(TOKEN).header("host", HOST);
    assert_eq!(status(&emulator, bare()), 400);
    for value in ["True", "1", "", " true", "true,true"] {
        assert_eq!(status(&emulator, bare().header("metadata", value)), 400, "{value:?}");
    }
    assert_eq!(status(&emulator, get(TOKEN).header("metadata", "true")), 400);
}

#[test]
fn s81_neither_proxies_nor_other_names_reach_it() {
    let emulator = emulator();
    for host in ["169.254.169.254:80", "127.0.0.1:4444"] {
        assert_eq!(
            status(&emulator, Request::get(TOKEN).header("host", host).header("metadata", "true")),
            200
        );
    }
    for host in ["evil.example", "127.0.0.1", "localhost:4444", "169.254.169.254.evil.example", ""] {
        let request = Request::get(TOKEN).header("host", host).header("metadata", "true");
        assert_eq!(status(&emulator, request), 400, "{host}");
    }
    assert_eq!(status(&emulator, Request::get(TOKEN).header("metadata", "true")), 400);
    assert_eq!(status(&emulator, get(TOKEN).header("host", HOST)), 400);
    assert_eq!(status(&emulator, get(TOKEN).header("x-forwarded-for", "10.0.0.1")), 400);
}

#[test]
fn s82_each_operation_has_its_method_version_and_selector() {
    let emulator = emulator();
    let post = |path: &str| Request::post(path).header("host", HOST).header("metadata", "true");
    assert_eq!(status(&emulator, post(TOKEN)), 405);
    assert_eq!(status(&emulator, get(ISSUE)), 405);
    assert_eq!(status(&emulator, post(METADATA)), 405);
    assert_eq!(status(&emulator, get("/metadata/other")), 404);
    for bad in [
        "/metadata/identity/oauth2/token?resource=https://vault.azure.net".to_owned(),
        TOKEN.replace("2018-02-01", "2017-01-01"),
        "/metadata/identity/oauth2/token?api-version=2018-02-01".to_owned(),
        format!("{TOKEN}&resource=https://graph.microsoft.com"),
        format!("{TOKEN}&client_id={USER_IDENTITY}&object_id={USER_IDENTITY_PRINCIPAL}"),
        format!("{TOKEN}&client_id=00000000-0000-4000-8000-000000000000"),
        TOKEN.replace("vault.azure.net", "nowhere.example"),
        METADATA.replace("2.0", "1.0"),
        // Each version has its own name for a resource id.
        format!("{METADATA}&msi_res_id={USER_IDENTITY_RESOURCE}"),
    ] {
        assert_eq!(status(&emulator, get(&bad)), 400, "{bad}");
    }
    for good in [
        format!("{TOKEN}&client_id={USER_IDENTITY}"),
        format!("{TOKEN}&object_id={USER_IDENTITY_PRINCIPAL}"),
        format!("{TOKEN}&msi_res_id={USER_IDENTITY_RESOURCE}"),
        format!("{METADATA}&mi_res_id={USER_IDENTITY_RESOURCE}"),
        "/metadata/instance/compute?api-version=2021-02-01".to_owned(),
    ] {
        assert_eq!(status(&emulator, get(&good)), 200, "{good}");
    }
    let older = emulator_with(|world| world.machine.issues_certificates = false);
    assert_eq!((status(&older, get(METADATA)), status(&older, get(TOKEN))), (404, 200));
}

/// A request as the real clients make it, but signed by PKCS #1: nothing here signs by PSS but the client.
fn request(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let domain = DnValue::Ia5String(TENANT.try_into().unwrap());
    params.distinguished_name.push(DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]), domain);
    params.distinguished_name.push(DnType::CommonName, SYSTEM_IDENTITY);
    change(&mut params);
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

/// That a right request is taken, the client's own tests show.
#[test]
fn s83_a_certificate_request_is_exactly_what_it_must_be() {
    let emulator = emulator();
    let issue = |body: Value| {
        let request = Request::post(ISSUE).header("host", HOST).header("metadata", "true");
        let response = send(&emulator, request, body.to_string());
        (response.status().as_u16(), String::from_utf8_lossy(response.body()).into_owned())
    };
    let csr = |der: &[u8]| issue(json!({ "csr": STANDARD.encode(der) }));
    let plain = request(|_| {});
    for (der, expected) in [
        (plain.clone(), "one attribute"),
        ([&plain[..], &plain[..]].concat(), "bytes behind"),
        (plain[..plain.len() - 1].to_vec(), "cannot be read"),
        (b"-----BEGIN CERTIFICATE REQUEST-----".to_vec(), "cannot be read"),
        (request(|it| it.distinguished_name.push(DnType::CommonName, USER_IDENTITY)), "subject"),
        (request(|it| it.distinguished_name.push(DnType::OrganizationName, "x")), "subject"),
        (
            request(|it| {
                let is_ca = vec![0x30, 0x03, 0x01, 0x01, 0xff];
                it.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 19], is_ca));
            }),
            "attribute",
        ),
    ] {
        let (status, body) = csr(&der);
        assert!(status == 400 && body.contains(expected), "{expected}: {status} {body}");
    }
    for body in [json!({}), json!({ "csr": 7 }), json!({ "csr": "no base64" }), json!([])] {
        assert_eq!(issue(body.clone()).0, 400, "{body}");
    }
}

#[test]
fn s85_too_many_calls_in_a_second_are_refused_and_the_next_second_is_another() {
    let emulator = emulator_with(|world| world.machine.throttled = true);
    let at = |seconds| {
        let request = get(TOKEN).body(Bytes::new()).unwrap();
        emulator.handle_machine(later(seconds), HOST, request).status().as_u16()
    };
    let first: Vec<u16> = (0..25).map(|_| at(0)).collect();
    assert_eq!(
        (first.iter().filter(|status| **status == 200).count(), first[20..].to_vec()),
        (20, vec![429; 5])
    );
    assert_eq!(at(1), 200);
    // Whose token it is depends on who was asked for, however many ask.
    let whose = |selector: &str| {
        let request = get(&format!("{TOKEN}{selector}")).body(Bytes::new()).unwrap();
        let token = json_of(&emulator.handle_machine(later(2), HOST, request));
        claims(token["access_token"].as_str().unwrap()).string("oid").unwrap().to_owned()
    };
    assert_eq!(whose(&format!("&client_id={USER_IDENTITY}")), USER_IDENTITY_PRINCIPAL);
    assert_ne!(whose(""), USER_IDENTITY_PRINCIPAL);
}
