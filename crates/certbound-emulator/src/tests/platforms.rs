//! App Service, Machine Learning, Cloud Shell and Azure Arc: their Bearer tokens and their checks.

use super::*;
use crate::world::builtin::{
    SYSTEM_IDENTITY, USER_IDENTITY, USER_IDENTITY_PRINCIPAL, USER_IDENTITY_RESOURCE,
};
use crate::{APP_SERVICE, AZURE_ARC, ArcKey, CLOUD_SHELL, MACHINE_LEARNING, PLATFORM_SECRET};

const RESOURCE: &str = "resource=https%3A%2F%2Fvault.azure.net";
const KEY_FILE: &str = "/var/opt/azcmagent/tokens/some.key";

struct Asked<'a> {
    method: &'a str,
    path: String,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a str,
}

fn asked<'a>(path: &str, query: &str, headers: &[(&'a str, &'a str)]) -> Asked<'a> {
    Asked { method: "GET", path: format!("{path}?{query}"), headers: headers.to_vec(), body: "" }
}

fn send(emulator: &Emulator, asked: &Asked<'_>) -> Response<Bytes> {
    let mut request =
        Request::builder().method(asked.method).uri(&asked.path).header("host", "127.0.0.1:4444");
    for (name, value) in &asked.headers {
        request = request.header(*name, *value);
    }
    emulator.handle_machine(NOW, "127.0.0.1:4444", request.body(Bytes::from(asked.body.to_owned())).unwrap())
}

fn status(emulator: &Emulator, asked: &Asked<'_>) -> u16 {
    send(emulator, asked).status().as_u16()
}

/// Returns the owner of the token: the client id of the answer.
fn owner(emulator: &Emulator, asked: &Asked<'_>) -> String {
    let response = send(emulator, asked);
    assert_eq!(response.status(), 200, "{}: {:?}", asked.path, response.body());
    let answer: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        (&answer["token_type"], &answer["resource"]),
        (&"Bearer".into(), &"https://vault.azure.net".into())
    );
    answer["client_id"].as_str().unwrap().to_owned()
}

#[test]
fn app_service_wants_its_header_and_its_version() {
    let emulator = emulator();
    let query = format!("api-version=2019-08-01&{RESOURCE}");
    let header = [("x-identity-header", PLATFORM_SECRET)];
    assert_eq!(owner(&emulator, &asked(APP_SERVICE, &query, &header)), SYSTEM_IDENTITY);
    for id in [
        format!("client_id={USER_IDENTITY}"),
        format!("object_id={USER_IDENTITY_PRINCIPAL}"),
        format!("mi_res_id={USER_IDENTITY_RESOURCE}"),
    ] {
        assert_eq!(
            owner(&emulator, &asked(APP_SERVICE, &format!("{query}&{id}"), &header)),
            USER_IDENTITY,
            "{id}"
        );
    }
    for (query, headers, expected) in [
        (query.clone(), vec![], 401),
        (query.clone(), vec![("x-identity-header", "another")], 401),
        (query.clone(), vec![header[0], header[0]], 401),
        (format!("api-version=2017-09-01&{RESOURCE}"), header.to_vec(), 400),
        (RESOURCE.to_owned(), header.to_vec(), 400),
        ("api-version=2019-08-01".to_owned(), header.to_vec(), 400),
        ("api-version=2019-08-01&resource=".to_owned(), header.to_vec(), 400),
        (format!("{query}&client_id=00000000-0000-4000-8000-000000000000"), header.to_vec(), 400),
        (
            format!("{query}&client_id={USER_IDENTITY}&object_id={USER_IDENTITY_PRINCIPAL}"),
            header.to_vec(),
            400,
        ),
        // The next three queries have a name that other platforms use, or an empty value.
        (format!("{query}&msi_res_id={USER_IDENTITY_RESOURCE}"), header.to_vec(), 400),
        (format!("{query}&clientid={USER_IDENTITY}"), header.to_vec(), 400),
        (format!("{query}&client_id="), header.to_vec(), 400),
        (format!("{query}&{RESOURCE}"), header.to_vec(), 400),
        (query.clone(), vec![header[0], ("x-forwarded-for", "10.0.0.1")], 400),
    ] {
        assert_eq!(status(&emulator, &asked(APP_SERVICE, &query, &headers)), expected, "{query} {headers:?}");
    }
    let post = Asked { method: "POST", ..asked(APP_SERVICE, &query, &header) };
    assert_eq!(status(&emulator, &post), 405);
}

#[test]
fn machine_learning_wants_its_secret_and_names_identities_by_client_id() {
    let emulator = emulator();
    let query = format!("api-version=2017-09-01&{RESOURCE}");
    let secret = [("secret", PLATFORM_SECRET)];
    let of = |id: &str| owner(&emulator, &asked(MACHINE_LEARNING, &format!("{query}{id}"), &secret));
    assert_eq!(of(""), SYSTEM_IDENTITY);
    assert_eq!(of(&format!("&clientid={SYSTEM_IDENTITY}")), SYSTEM_IDENTITY);
    assert_eq!(of(&format!("&clientid={USER_IDENTITY}")), USER_IDENTITY);
    for (query, headers, expected) in [
        (query.clone(), vec![], 401),
        (query.clone(), vec![("secret", "another")], 401),
        (query.clone(), vec![secret[0], secret[0]], 401),
        (query.clone(), vec![secret[0], ("x-forwarded-for", "10.0.0.1")], 400),
        (format!("{query}&clientid=x"), secret.to_vec(), 400),
        // If the endpoint ignored these parameters, a client of a different identity would get the workspace's own
        // token.
        (format!("{query}&clientid="), secret.to_vec(), 400),
        (format!("{query}&client_id={USER_IDENTITY}"), secret.to_vec(), 400),
        (format!("{query}&object_id={USER_IDENTITY_PRINCIPAL}"), secret.to_vec(), 400),
        (format!("{query}&mi_res_id={USER_IDENTITY_RESOURCE}"), secret.to_vec(), 400),
        (format!("{query}&{RESOURCE}"), secret.to_vec(), 400),
        (format!("api-version=2019-08-01&{RESOURCE}"), secret.to_vec(), 400),
        (RESOURCE.to_owned(), secret.to_vec(), 400),
        ("api-version=2017-09-01".to_owned(), secret.to_vec(), 400),
    ] {
        let found = status(&emulator, &asked(MACHINE_LEARNING, &query, &headers));
        assert_eq!(found, expected, "{query} {headers:?}");
    }
    let post = Asked { method: "POST", ..asked(MACHINE_LEARNING, &query, &secret) };
    assert_eq!(status(&emulator, &post), 405);
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[test]
fn cloud_shell_wants_a_form_and_words_its_refusals_within_one_another() {
    let emulator = emulator();
    let metadata = ("metadata", "true");
    let form = |body, headers: &[(&'static str, &'static str)]| Asked {
        method: "POST",
        body,
        ..asked(CLOUD_SHELL, "", headers)
    };
    let right = [metadata, FORM];
    assert_eq!(owner(&emulator, &form(RESOURCE, &right)), SYSTEM_IDENTITY);
    let answer = json_of(&send(&emulator, &form(RESOURCE, &right)));
    assert_eq!(answer["expires_in"], "86399");
    let with_charset = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(owner(&emulator, &form(RESOURCE, &[metadata, with_charset])), SYSTEM_IDENTITY);

    let unknown = "resource=https%3A%2F%2Fnowhere.example";
    let client_id = format!("{RESOURCE}&client_id={USER_IDENTITY}");
    for (asked, expected, code) in [
        (form("", &right), 400, "invalid_request"),
        (form("resource=", &right), 400, "invalid_request"),
        (form("%", &right), 400, "invalid_request"),
        (form("resource=a&resource=b", &right), 400, "invalid_request"),
        (form(&client_id, &right), 400, "invalid_request"),
        (form("resource=a&client_id=", &right), 400, "invalid_request"),
        (form(unknown, &right), 400, "AudienceNotSupported"),
        (form(RESOURCE, &[FORM]), 401, "unauthorized"),
        (form(RESOURCE, &[("metadata", "True"), FORM]), 401, "unauthorized"),
        (form(RESOURCE, &[metadata, metadata, FORM]), 401, "unauthorized"),
        (form(RESOURCE, &[metadata]), 415, "unsupported_media_type"),
        (form(RESOURCE, &[metadata, ("content-type", "application/json")]), 415, "unsupported_media_type"),
        (form(RESOURCE, &[metadata, FORM, ("x-forwarded-for", "10.0.0.1")]), 400, "invalid_request"),
        (asked(CLOUD_SHELL, RESOURCE, &right), 405, "method_not_allowed"),
    ] {
        let response = send(&emulator, &asked);
        let body = json_of(&response);
        assert_eq!(
            (response.status().as_u16(), &body["error"]["code"]),
            (expected, &code.into()),
            "{} {:?}",
            asked.body,
            asked.headers
        );
        assert!(body["error"]["message"].is_string());
    }
    let refused = json_of(&send(&emulator, &form(unknown, &right)));
    assert_eq!(
        refused["error"]["message"],
        "Audience https://nowhere.example is not a supported MSI token audience."
    );
    let in_the_query =
        Asked { path: format!("{CLOUD_SHELL}?client_id={USER_IDENTITY}"), ..form(RESOURCE, &right) };
    assert_eq!(status(&emulator, &in_the_query), 400);
}

/// Some clients use only the real address of Cloud Shell.
#[test]
fn cloud_shell_is_also_where_the_real_one_is() {
    let emulator = emulator();
    let at = |host: &str, path: &str| {
        let request =
            Request::post(path).header("host", host).header("metadata", "true").header(FORM.0, FORM.1);
        let request = request.body(Bytes::from(RESOURCE)).unwrap();
        emulator.handle_machine(NOW, "127.0.0.1:4444", request)
    };
    let answer = json_of(&at("localhost:50342", "/oauth2/token"));
    assert_eq!(answer["client_id"], SYSTEM_IDENTITY, "{answer}");
    for (host, path) in [
        ("127.0.0.1:4444", "/oauth2/token"),
        ("localhost:50343", "/oauth2/token"),
        ("localhost", "/oauth2/token"),
        ("evil.example:50342", "/oauth2/token"),
        ("localhost:50342", CLOUD_SHELL),
        ("localhost:50342", "/metadata/identity/oauth2/token"),
    ] {
        assert_eq!(at(host, path).status(), 400, "{host} {path}");
    }
}

#[test]
fn the_agent_of_arc_wants_its_file_read() {
    let emulator = emulator();
    let query = format!("api-version=2020-06-01&{RESOURCE}");
    let metadata = ("metadata", "true");
    // The machine has no agent yet.
    assert_eq!(status(&emulator, &asked(AZURE_ARC, &query, &[metadata])), 404);

    let key = ArcKey::new(KEY_FILE);
    let proof = format!("Basic {}", key.content().expose());
    emulator.install_arc_agent(key);
    let response = send(&emulator, &asked(AZURE_ARC, &query, &[metadata]));
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], format!("Basic realm={KEY_FILE}").as_str());

    let with_proof = [metadata, ("authorization", proof.as_str())];
    assert_eq!(owner(&emulator, &asked(AZURE_ARC, &query, &with_proof)), SYSTEM_IDENTITY);
    // The answer repeats the parameter that selected the identity.
    for (name, value) in [
        ("client_id", USER_IDENTITY),
        ("object_id", USER_IDENTITY_PRINCIPAL),
        ("msi_res_id", USER_IDENTITY_RESOURCE),
    ] {
        let asked = asked(AZURE_ARC, &format!("{query}&{name}={value}"), &with_proof);
        assert_eq!(owner(&emulator, &asked), USER_IDENTITY);
        let answer: Value = serde_json::from_slice(send(&emulator, &asked).body()).unwrap();
        assert_eq!(answer[name], value);
    }
    for (query, headers, expected) in [
        (query.as_str(), vec![metadata, ("authorization", "Basic wrong")], 401),
        (query.as_str(), vec![metadata, with_proof[1], with_proof[1]], 401),
        (query.as_str(), vec![with_proof[1]], 400),
        (query.as_str(), vec![metadata, with_proof[1], ("x-forwarded-for", "10.0.0.1")], 400),
        (RESOURCE, with_proof.to_vec(), 400),
        ("api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net", with_proof.to_vec(), 400),
        ("api-version=zzz&resource=https%3A%2F%2Fvault.azure.net", with_proof.to_vec(), 400),
        ("api-version=9999-01-01&resource=https%3A%2F%2Fvault.azure.net", with_proof.to_vec(), 400),
        (&format!("{query}&client_id="), with_proof.to_vec(), 400),
        (&format!("{query}&clientid={USER_IDENTITY}"), with_proof.to_vec(), 400),
        (&format!("{query}&mi_res_id={USER_IDENTITY_RESOURCE}"), with_proof.to_vec(), 400),
        ("api-version=2020-06-01", with_proof.to_vec(), 400),
    ] {
        assert_eq!(status(&emulator, &asked(AZURE_ARC, query, &headers)), expected, "{query} {headers:?}");
    }
    let post = Asked { method: "POST", ..asked(AZURE_ARC, &query, &with_proof) };
    assert_eq!(status(&emulator, &post), 405);
}

#[test]
fn a_fault_by_a_platforms_name_befalls_that_platform_alone() {
    use crate::fault::RequestFacts;
    use crate::{Condition, Fault, FaultResult, PlatformKind};

    let paths = [
        (PlatformKind::AppService, APP_SERVICE),
        (PlatformKind::MachineLearning, MACHINE_LEARNING),
        (PlatformKind::CloudShell, CLOUD_SHELL),
        (PlatformKind::CloudShell, "/oauth2/token"),
        (PlatformKind::ServiceFabric, crate::SERVICE_FABRIC),
        (PlatformKind::Arc, AZURE_ARC),
        (PlatformKind::Imds, "/metadata/identity/oauth2/token"),
        (PlatformKind::Imds, "/metadata/identity/issuecredential"),
    ];
    for (kind, path) in paths {
        let emulator = emulator();
        let result =
            FaultResult::Status { status: 418, body: String::new(), retry_after: None, headers: [].into() };
        emulator.add_fault(Fault { count: None, ..Fault::once(Condition::platform(kind), result) });
        let query = format!("api-version=1&{RESOURCE}");
        for (other, elsewhere) in paths {
            let found = status(&emulator, &asked(elsewhere, &query, &[]));
            assert_eq!(found == 418, other == kind, "{kind:?} is meant, {elsewhere} asked: {found}");
        }
        assert_eq!(RequestFacts::of_platform("h", path).platform, Some(kind));
    }
}
