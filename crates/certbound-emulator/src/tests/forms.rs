//! The request itself: parameters, paths, sizes. A name such as `s66` contains the number of a security test.

use certbound_core::credential::JWT_BEARER;
use serde_json::json;

use super::*;
use crate::world::builtin::{OTHER_TENANT, SECRET, SECRET_APP};

const GOOD: &str = "client_id=163ffef9-a313-45b4-ab2f-c7e2f5e0e23e&grant_type=client_credentials\
                    &scope=https://vault.azure.net/.default&token_type=mtls_pop";

/// Sends a form to the mutual-TLS host, with the right certificate.
fn send(emulator: &Emulator, tenant: &str, body: &str) -> Response<Bytes> {
    let tls = with(MTLS, emulator.client_identity());
    emulator.handle(NOW, &tls, post(tenant, Bytes::from(body.to_owned())))
}

#[test]
fn s66_a_form_that_can_be_read_two_ways_is_refused() {
    let emulator = emulator();
    let types = format!("client_assertion_type={JWT_BEARER}");
    for (more, expected) in [
        ("", 0),
        ("&client_assertion=a", 900_144),
        (&*format!("&{types}"), 900_144),
        (&format!("&{types}&client_assertion=a&client_assertion=a"), 9_002_313),
        (&format!("&{types}&client_assertion=a&client%5Fassertion=b"), 9_002_313),
        ("&client_id=163ffef9-a313-45b4-ab2f-c7e2f5e0e23e", 9_002_313),
        ("&scope=https://vault.azure.net/.default", 9_002_313),
        (&format!("&{types}&client_assertion=a&client_secret=b"), 9_002_313),
        (&format!("&{types}&client_secret=b"), 9_002_313),
    ] {
        let response = send(&emulator, TENANT, &format!("{GOOD}{more}"));
        assert_eq!(code(&response), expected, "{more}");
        assert_eq!(response.status().as_u16(), if expected == 0 { 200 } else { 400 }, "{more}");
    }
    let secret = form(&[
        ("client_id", SECRET_APP),
        ("client_secret", SECRET),
        ("scope", VAULT_SCOPE),
        ("grant_type", "client_credentials"),
        ("client_assertion", "a"),
        ("client_assertion_type", JWT_BEARER),
    ]);
    let tls = TlsFacts::without_certificate(LOGIN);
    assert_eq!(code(&emulator.handle(NOW, &tls, post(TENANT, secret))), 9_002_313);
}

#[test]
fn s67_another_token_type_is_refused_and_never_read_as_plain() {
    let emulator = emulator();
    for value in [
        "MTLS_POP",
        "Mtls_Pop",
        "bearer ",
        "bearer%00",
        "bearer&token_type=bearer",
        "bearer&token_type=mtls_pop",
        "pop",
        "",
        "mtls_pop ",
        "mtls_pop%00",
        "mtls_pop&token_type=mtls_pop",
    ] {
        let body = format!("{}={value}", GOOD.trim_end_matches("=mtls_pop"));
        assert_eq!(code(&send(&emulator, TENANT, &body)), 9_002_313, "{value:?}");
    }
    // The certificate of an application alone does not authenticate a request for a Bearer token, with or without
    // `token_type`.
    let body = GOOD.trim_end_matches("&token_type=mtls_pop");
    assert_eq!(code(&send(&emulator, TENANT, body)), 7_000_218);
    for value in ["bearer", "Bearer", "BEARER"] {
        assert_eq!(
            code(&send(&emulator, TENANT, &format!("{body}&token_type={value}"))),
            7_000_218,
            "{value}"
        );
    }
}

#[test]
fn s75_a_scope_is_one_resource_that_takes_bound_tokens() {
    let emulator = emulator();
    for (scope, expected) in [
        (VAULT_SCOPE, 0),
        ("https://management.azure.com/.default", 392_196),
        ("https://vault.azure.net/.default https://graph.microsoft.com/.default", 70_011),
        // The scopes of MSAL for Go and for Java, with and without a resource.
        ("https://vault.azure.net/.default openid offline_access profile", 0),
        ("openid https://vault.azure.net/.default", 0),
        ("openid offline_access profile", 1_002_012),
        ("https://vault.azure.net/.default OpenID", 70_011),
        ("https://vault.azure.net/.default email", 70_011),
        (" ", 70_011),
        ("/.default", 70_011),
        ("https://vault.azure.net", 1_002_012),
        ("https://vault.azure.net/.Default", 1_002_012),
        ("https://vault.azure.net/.default/x", 1_002_012),
        ("openid", 1_002_012),
        ("", 900_144),
        ("https://nowhere.example/.default", 500_011),
    ] {
        assert_eq!(Ask { scope, ..Ask::leg1(&emulator) }.code(&emulator), expected, "{scope:?}");
    }
}

#[test]
fn s76_the_tenant_is_one_that_knows_the_application() {
    let emulator = emulator();
    for (tenant, expected) in [
        ("common", 9_001_023),
        ("Organizations", 9_001_023),
        ("consumers", 9_001_023),
        ("nonsense", 900_023),
        ("..", 900_023),
        ("%2e%2e%2f", 900_023),
        ("contoso.example%2f..", 900_023),
        (&*format!("{TENANT}/../{OTHER_TENANT}"), 900_023),
        (&format!("{TENANT}%00"), 900_023),
        ("00000000-0000-4000-8000-000000000000", 90_002),
        ("nobody.example", 90_002),
        (OTHER_TENANT, 700_016),
        ("fabrikam.example", 700_016),
        ("contoso.example", 0),
    ] {
        assert_eq!(code(&send(&emulator, tenant, GOOD)), expected, "{tenant}");
    }
}

#[test]
fn s77_what_is_too_large_malformed_or_of_another_kind_is_not_looked_at() {
    let emulator = emulator();
    assert_eq!(send(&emulator, TENANT, &"a".repeat(1024 * 1024 + 1)).status(), 413);
    let many: Vec<String> = (0..10_000).map(|n| format!("p{n}=")).collect();
    for body in [&*many.join("&"), "client_id=%zz", "client_id=%", "client_id=%ff", "&&=&"] {
        let response = send(&emulator, TENANT, body);
        assert_eq!((response.status().as_u16(), code(&response) == 0), (400, false), "{:.20}", body);
    }
    let tls = with(MTLS, emulator.client_identity());
    for (method, kind, expected) in [
        ("GET", "application/x-www-form-urlencoded", 900_561),
        ("PUT", "application/x-www-form-urlencoded", 900_561),
        ("POST", "application/json", 900_144),
        ("POST", "text/plain", 900_144),
        ("POST", "Application/X-WWW-Form-Urlencoded; charset=utf-8", 0),
    ] {
        let mut request = post(TENANT, Bytes::from_static(GOOD.as_bytes()));
        *request.method_mut() = method.parse().unwrap();
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        assert_eq!(code(&emulator.handle(NOW, &tls, request)), expected, "{method} {kind}");
    }
}

#[test]
fn s78_only_a_guid_is_echoed_as_correlation_id() {
    let emulator = emulator();
    let guid = "6b1f2a63-94cf-4f0e-8f6b-0a2f4d5f3c11";
    let echoed = |id: &[u8]| {
        let mut request = post(TENANT, Bytes::new());
        request.headers_mut().insert("return-client-request-id", "true".parse().unwrap());
        let id = http::HeaderValue::from_bytes(id).unwrap();
        request.headers_mut().insert("client-request-id", id);
        let response = emulator.handle(NOW, &TlsFacts::without_certificate(LOGIN), request);
        let text = String::from_utf8_lossy(response.body()).into_owned();
        assert!(!text.contains("injected") && !text.contains("\\r") && !text.contains("\\n"), "{text}");
        (response.headers().contains_key("client-request-id"), json_of(&response)["correlation_id"] == guid)
    };
    assert_eq!(echoed(guid.as_bytes()), (true, true));
    // A header cannot contain CR or LF: hyper refuses the request, and `HeaderValue` refuses the value.
    assert!(http::HeaderValue::from_bytes(b"a\r\nset-cookie: injected").is_err());
    for bad in [
        &b"%0d%0aset-cookie: injected"[..],
        b"{6b1f2a63-94cf-4f0e-8f6b-0a2f4d5f3c11}",
        b"6b1f2a6394cf4f0e8f6b0a2f4d5f3c11",
        b"6b1f2a63-94cf-4f0e-8f6b-0a2f4d5f3c11\tinjected",
        b"\"injected",
        b"\xff",
        b"",
    ] {
        assert_eq!(echoed(bad), (false, false), "{bad:?}");
    }
    assert_eq!(json_of(&send(&emulator, TENANT, ""))["error_codes"], json!([900_144]));
}

#[test]
fn two_answers_of_the_real_service_come_without_error_uri() {
    let emulator = emulator();
    let other = p256(&emulator, "certbound-demo-app");
    let mismatch = Ask { tls: with(MTLS, &other), ..Ask::leg2(&emulator) }.send(&emulator);
    let misused = Ask {
        tls: TlsFacts::without_certificate(LOGIN),
        bound: false,
        assertion: bearer(Ask::leg1(&emulator).token(&emulator)),
        ..Ask::leg2(&emulator)
    };
    for (response, expected, present) in [
        (mismatch, 500_181, false),
        (misused.send(&emulator), 50_171, false),
        (send(&emulator, TENANT, ""), 900_144, true),
    ] {
        let body = json_of(&response);
        assert_eq!((code(&response), body.get("error_uri").is_some()), (expected, present), "{body}");
    }
}
