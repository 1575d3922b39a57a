//! The machine's metadata service. A name such as `s80` contains the number of a security test.

mod faults;
mod instance;
mod limits;
mod requests;
mod tokens;

use http::Method;
use serde_json::json;

use super::*;
use crate::world::builtin::{USER_IDENTITY, USER_IDENTITY_PRINCIPAL, USER_IDENTITY_RESOURCE};

const HOST: &str = "169.254.169.254";
const OWN_HOST: &str = "127.0.0.1:4444";
const TOKEN: &str = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
const METADATA: &str = "/metadata/identity/getplatformmetadata?cred-api-version=2.0";
const ISSUE: &str = "/metadata/identity/issuecredential?cred-api-version=2.0";
const COMPUTE: &str = "/metadata/instance/compute?api-version=2021-02-01";
const LOCATION: &str = "/metadata/instance/compute/location?api-version=2021-02-01&format=text";

/// Every operation with its method, and with the status of an answer to a request without a body.
const OPERATIONS: [(Method, &str, u16); 6] = [
    (Method::GET, TOKEN, 200),
    (Method::GET, METADATA, 200),
    (Method::POST, ISSUE, 400),
    (Method::GET, COMPUTE, 200),
    (Method::GET, LOCATION, 200),
    (Method::GET, "/metadata/versions", 200),
];

fn bare(method: &Method, path: &str) -> http::request::Builder {
    Request::builder().method(method.clone()).uri(path)
}

fn get(path: &str) -> http::request::Builder {
    bare(&Method::GET, path).header("host", HOST).header("metadata", "true")
}

fn send(emulator: &Emulator, request: http::request::Builder, body: impl Into<Bytes>) -> Response<Bytes> {
    emulator.handle_machine(NOW, OWN_HOST, request.body(body.into()).unwrap())
}

fn status(emulator: &Emulator, request: http::request::Builder) -> u16 {
    send(emulator, request, "").status().as_u16()
}

/// Returns the status and the description of the error.
fn refused(emulator: &Emulator, request: http::request::Builder) -> (u16, String) {
    let response = send(emulator, request, "");
    let body = json_of(&response);
    (response.status().as_u16(), body["error_description"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn s80_the_metadata_header_is_true_once() {
    let emulator = emulator();
    for (method, path, right) in OPERATIONS {
        let asked = || bare(&method, path).header("host", HOST);
        assert_eq!(status(&emulator, asked().header("metadata", "true")), right, "{path}");
        let missing = (400, "Required metadata header not specified".to_owned());
        assert_eq!(refused(&emulator, asked()), missing, "{path}");
        for value in ["True", "1", "", " true", "true,true"] {
            assert_eq!(refused(&emulator, asked().header("metadata", value)), missing, "{path} {value:?}");
        }
        let twice = asked().header("metadata", "true").header("metadata", "true");
        assert_eq!(refused(&emulator, twice), missing, "{path}");
    }
}

#[test]
fn s81_neither_proxies_nor_other_names_reach_it() {
    let emulator = emulator();
    for (method, path, right) in OPERATIONS {
        let asked = || bare(&method, path).header("metadata", "true");
        for host in ["169.254.169.254:80", OWN_HOST] {
            assert_eq!(status(&emulator, asked().header("host", host)), right, "{path} {host}");
        }
        let foreign = (400, "The Host header does not name this service.".to_owned());
        for host in ["evil.example", "127.0.0.1", "localhost:4444", "169.254.169.254.evil.example", ""] {
            assert_eq!(refused(&emulator, asked().header("host", host)), foreign, "{path} {host}");
        }
        assert_eq!(refused(&emulator, asked()), foreign, "{path}");
        assert_eq!(refused(&emulator, asked().header("host", HOST).header("host", HOST)), foreign, "{path}");
        // The service also checks the host in the request line.
        let absolute = bare(&method, &format!("http://evil.example{path}"));
        assert_eq!(
            refused(&emulator, absolute.header("host", HOST).header("metadata", "true")),
            foreign,
            "{path}"
        );
        let forwarded = asked().header("host", HOST).header("x-forwarded-for", "10.0.0.1");
        let (status, text) = refused(&emulator, forwarded);
        assert!(status == 400 && text.contains("proxy"), "{path}: {text}");
    }
}

#[test]
fn s82_each_operation_has_its_method_version_and_selector() {
    let emulator = emulator();
    for (right, path, _) in OPERATIONS {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD] {
            let asked = bare(&method, path).header("host", HOST).header("metadata", "true");
            assert_eq!(status(&emulator, asked) == 405, method != right, "{method} {path}");
        }
    }
    for unknown in [
        "/metadata/other",
        "/metadata",
        "/metadata/identity/oauth2/tokens",
        "/metadata/identity/issuecredential/more",
        "/metadata/instance",
        "/metadata/instance/computer?api-version=2021-02-01",
        "/other",
    ] {
        for method in [Method::GET, Method::POST] {
            assert_eq!(status(&emulator, bare(&method, unknown).header("host", HOST)), 404, "{unknown}");
        }
    }
    let both = format!("client_id={USER_IDENTITY}&object_id={USER_IDENTITY_PRINCIPAL}");
    for (method, bad) in [
        (Method::GET, "/metadata/identity/oauth2/token?api-version=2018-02-01".to_owned()),
        (Method::GET, "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=".to_owned()),
        (Method::GET, format!("{TOKEN}&resource=https://graph.microsoft.com")),
        (Method::GET, format!("{TOKEN}&{both}")),
        (Method::GET, format!("{METADATA}&{both}")),
        (Method::POST, format!("{ISSUE}&{both}")),
        (Method::GET, format!("{METADATA}&cred-api-version=2.0")),
        (Method::POST, format!("{ISSUE}&cred-api-version=2.0")),
        (Method::GET, format!("{TOKEN}&api-version=2018-02-01")),
        (Method::GET, format!("{TOKEN}&%zz=1")),
        (Method::GET, TOKEN.replace("vault.azure.net", "nowhere.example")),
    ] {
        let asked = bare(&method, &bad).header("host", HOST).header("metadata", "true");
        assert_eq!(status(&emulator, asked), 400, "{bad}");
    }
}

#[test]
fn a_version_that_is_not_known_is_answered_by_those_that_are() {
    let emulator = emulator();
    let v1 = json!(["2021-12-13", "2021-01-01", "2019-08-01"]);
    let instance = json!(["2023-07-01", "2021-12-13", "2021-11-15"]);
    for (method, path, name, newest) in [
        (Method::GET, TOKEN.replace("2018-02-01", "2017-01-01"), "api-version", &v1),
        (Method::GET, TOKEN.replace("2018-02-01", ""), "api-version", &v1),
        (Method::GET, "/metadata/identity/oauth2/token?resource=a".to_owned(), "api-version", &v1),
        (Method::GET, METADATA.replace("2.0", "1.0"), "cred-api-version", &json!(["2.0"])),
        (Method::GET, METADATA.replace("cred-", ""), "cred-api-version", &json!(["2.0"])),
        (Method::POST, ISSUE.replace("2.0", "2.1"), "cred-api-version", &json!(["2.0"])),
        (Method::GET, COMPUTE.replace("2021-02-01", "2010-01-01"), "api-version", &instance),
        (Method::GET, LOCATION.replace("2021-02-01", "x"), "api-version", &instance),
    ] {
        let asked = bare(&method, &path).header("host", HOST).header("metadata", "true");
        let response = send(&emulator, asked, "");
        let text = format!("Bad request. {name} is invalid or was not specified in the request.");
        let expected = json!({ "error": text, "newest-versions": newest });
        assert_eq!((response.status().as_u16(), json_of(&response)), (400, expected), "{path}");
    }
}

#[test]
fn an_identity_is_selected_by_the_names_of_its_operation_and_version_alone() {
    let emulator = emulator();
    let newer = TOKEN.replace("2018-02-01", "2019-08-01");
    let (client, object) =
        (format!("client_id={USER_IDENTITY}"), format!("object_id={USER_IDENTITY_PRINCIPAL}"));
    let (resource, older) =
        (format!("mi_res_id={USER_IDENTITY_RESOURCE}"), format!("msi_res_id={USER_IDENTITY_RESOURCE}"));
    for (path, selector) in [
        (TOKEN, &client),
        (TOKEN, &object),
        (TOKEN, &older),
        (&newer, &older),
        (&newer, &resource),
        (METADATA, &client),
        (METADATA, &object),
        (METADATA, &resource),
    ] {
        let body = json_of(&send(&emulator, get(&format!("{path}&{selector}")), ""));
        let found = body.get("client_id").or(body.get("clientId")).and_then(Value::as_str);
        assert_eq!(found, Some(USER_IDENTITY), "{path}&{selector}: {body}");
    }
    let not_here = |name: &str| format!("The query parameter '{name}' is not supported here.");
    let unknown = || "Identity not found".to_owned();
    let with = |path: &str, name: &str, value: &str| format!("{path}&{name}={value}");
    for (path, expected) in [
        (with(TOKEN, "mi_res_id", USER_IDENTITY_RESOURCE), not_here("mi_res_id")),
        (with(METADATA, "msi_res_id", USER_IDENTITY_RESOURCE), not_here("msi_res_id")),
        (with(TOKEN, "clientid", USER_IDENTITY), not_here("clientid")),
        (with(TOKEN, "principalId", USER_IDENTITY_PRINCIPAL), not_here("principalId")),
        (with(METADATA, "clientid", USER_IDENTITY), not_here("clientid")),
        // If the service ignored these parameters, a client of a different identity would get the machine's own token.
        (with(TOKEN, "client_id", ""), unknown()),
        (with(METADATA, "object_id", ""), unknown()),
        (with(TOKEN, "client_id", "00000000-0000-4000-8000-000000000000"), unknown()),
        (with(TOKEN, "client_id", USER_IDENTITY_PRINCIPAL), unknown()),
    ] {
        assert_eq!(refused(&emulator, get(&path)), (400, expected), "{path}");
    }
}

/// Clients send both probes without the header `Metadata`.
#[test]
fn probes_tell_a_host_with_version_2_from_one_without() {
    let (newer, older) = (emulator(), emulator_with(|world| world.machine.issues_certificates = false));
    let probe = |path: &str| bare(&Method::GET, path).header("host", HOST);
    let v1 = "/metadata/identity/oauth2/token?api-version=2018-02-01";
    assert_eq!((status(&newer, probe(METADATA)), status(&newer, probe(v1))), (400, 400));
    assert_eq!((status(&older, probe(METADATA)), status(&older, probe(v1))), (404, 400));
    let post = bare(&Method::POST, ISSUE).header("host", HOST).header("metadata", "true");
    assert_eq!(
        (status(&older, get(METADATA)), status(&older, post), status(&older, get(TOKEN))),
        (404, 404, 200)
    );
}

#[test]
fn it_says_who_it_is_in_every_answer_and_nobody_else_says_so() {
    let emulator = emulator();
    let server = |request: http::request::Builder| {
        let response = send(&emulator, request, "");
        response.headers().get("server").map(|server| server.to_str().unwrap().to_owned())
    };
    for (method, path, _) in OPERATIONS {
        for asked in [
            bare(&method, path).header("host", HOST).header("metadata", "true"),
            bare(&method, path).header("host", HOST),
            bare(&method, path).header("host", "evil.example"),
            bare(&Method::DELETE, path).header("host", HOST),
        ] {
            assert!(server(asked).is_some_and(|server| server.starts_with("IMDS/")), "{path}");
        }
    }
    assert!(server(get("/metadata/other")).is_some());
    let secret = crate::PLATFORM_SECRET;
    emulator.install_arc_agent(crate::ArcKey::new("/var/opt/azcmagent/tokens/a.key"));
    for asked in [
        get("/app-service/token?api-version=2019-08-01&resource=https://vault.azure.net")
            .header("x-identity-header", secret),
        get("/app-service/token"),
        get("/ml/token"),
        get("/cloud-shell/token"),
        get("/arc/token?api-version=2020-06-01"),
        get("/other"),
    ] {
        assert_eq!(server(asked), None);
    }
}

#[test]
fn the_journal_shows_what_was_asked_for_and_nothing_that_is_secret() {
    let emulator = emulator();
    let path = format!("{METADATA}&mi_res_id={USER_IDENTITY_RESOURCE}");
    send(&emulator, get(&path).header("x-ms-client-request-id", "the-request"), "");
    let ask = bare(&Method::POST, &format!("{ISSUE}&bypass_cache=true")).header("host", HOST);
    send(
        &emulator,
        ask.header("metadata", "true"),
        r#"{"csr":"MIICsecret","attestation_token":"eyJsecret"}"#,
    );
    send(&emulator, get(TOKEN), "");
    let journal = emulator.journal();
    assert_eq!(journal[0].client_request_id.as_deref(), Some("the-request"));
    assert_eq!(journal[0].parameter("mi_res_id"), Some(USER_IDENTITY_RESOURCE));
    assert_eq!(journal[0].parameter("cred-api-version"), Some("2.0"));
    assert_eq!(journal[1].parameter("bypass_cache"), Some("true"));
    assert_eq!(journal[2].parameter("resource"), Some("https://vault.azure.net"));
    assert!(!serde_json::to_string(&journal).unwrap().contains("secret"));
}
