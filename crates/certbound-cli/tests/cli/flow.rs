//! Tokens, exchanges and calls against an emulator in another process.

use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::support::{
    APP, Emulator, NOWHERE, TENANT, VAULT, certbound, has_token, json, refusal, stderr, stdout,
};

fn exchange<'a>(emulator: &'a Emulator, more: &[&'a str]) -> Vec<&'a str> {
    [&["exchange", "--scope", VAULT, "--leg1-certificate", emulator.certificate()], more].concat()
}

#[test]
fn both_legs_in_one_command() {
    let emulator = Emulator::start();
    let output = emulator.run(&exchange(&emulator, &["--report", "-v", "--trace"]));
    let result = json(&output);
    let token = result["accessToken"].as_str().unwrap();
    assert_eq!(
        (result["tokenType"].as_str(), result["scheme"].as_str()),
        (Some("mtls_pop"), Some("mtls_pop"))
    );
    assert_eq!(result["tenant"], TENANT);
    assert_eq!(result["scopes"], serde_json::json!([VAULT]));
    assert_eq!((result["region"].as_str(), &result["fromCache"]), (Some("westus3"), &false.into()));
    assert!(result["expiresOn"].as_str().unwrap().ends_with('Z') && result["expires_on"].is_u64());
    assert_eq!(result["correlationId"].as_str().unwrap().len(), 36);
    assert_eq!(result["bindingCertificate"]["x5tS256"].as_str().unwrap().len(), 43);
    assert_eq!(result["bindingCertificate"]["source"], format!("file:{}", emulator.certificate()));
    let legs = result["legs"].as_array().unwrap();
    assert_eq!((legs.len(), &legs[0]["clientAssertionType"]), (2, &serde_json::Value::Null));
    assert_eq!(legs[1]["clientAssertionType"], "urn:ietf:params:oauth:client-assertion-type:jwt-pop");
    assert!(legs.iter().all(|leg| leg["endpoint"] == result["endpoint"] && leg["milliseconds"].is_u64()));
    assert!(result["report"]["checks"].as_array().unwrap().iter().all(|check| check["ok"] == true));

    let told = stderr(&output);
    for station in [
        "Leg 1 done: token type mtls_pop",
        "Assertion provided for: https://westus3.mtlsauth",
        "Leg 2 done: ",
    ] {
        assert!(told.contains(station), "{station} in {told}");
    }
    assert!(told.contains("client_assertion=<redacted, ") && told.contains("< Leg 2: status 200"), "{told}");
    assert!(!has_token(&told) && !told.contains(token), "a token was printed");
}

#[test]
fn the_logs_at_their_loudest_hold_no_secret() {
    let emulator = Emulator::start();
    let mut command = emulator.certbound();
    command.env("RUST_LOG", "trace").args(exchange(&emulator, &[]));
    let output = command.output().unwrap();
    let (token, logs) = (json(&output)["accessToken"].as_str().unwrap().to_owned(), stderr(&output));
    assert!(logs.contains("token request"), "nothing was logged, so nothing is shown: {logs}");
    let signature = token.rsplit('.').next().unwrap();
    assert!(!has_token(&logs) && !logs.contains(signature) && !logs.contains("PRIVATE KEY"), "{logs}");
}

#[test]
fn leg_2_alone_with_an_assertion_made_elsewhere() {
    let emulator = Emulator::start();
    let made = json(&emulator.run(&["assertion", "--certificate", emulator.certificate()]));
    let assertion = made["assertion"].as_str().unwrap();
    assert_eq!(
        (made["tokenType"].as_str(), made["bindingCertificate"]["x5tS256"].as_str().unwrap().len()),
        (Some("mtls_pop"), 43)
    );

    let exchange = [
        "exchange",
        "-v",
        "--scope",
        VAULT,
        "--assertion-file",
        "-",
        "--certificate",
        emulator.certificate(),
    ];
    let mut child = emulator
        .certbound()
        .args(exchange)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{assertion}").unwrap();
    let output = child.wait_with_output().unwrap();
    let (result, told) = (json(&output), stderr(&output));
    assert_eq!(
        (result["tokenType"].as_str(), result["legs"].as_array().unwrap().len()),
        (Some("mtls_pop"), 1)
    );
    assert!(
        told.contains("Leg 1 not run, the assertion exists: token type mtls_pop, certificate "),
        "{told}"
    );
    assert!(!told.contains("Leg 1 done") && told.contains("Leg 2 done"), "{told}");

    // Leg 1 does not run here, so the environment's certificate is that of Leg 2.
    let directory = tempfile::tempdir().unwrap();
    let file = crate::support::file(&directory, "assertion.jwt", assertion);
    let mut command = emulator.certbound();
    command.env("AZURE_CLIENT_CERTIFICATE_PATH", emulator.certificate());
    command.args(["exchange", "--scope", VAULT, "--bearer", "--assertion-file", crate::support::text(&file)]);
    let bearer = json(&command.output().unwrap());
    assert_eq!((bearer["tokenType"].as_str(), bearer.get("bindingCertificate")), (Some("Bearer"), None));
}

#[test]
fn the_direct_flow_in_every_format() {
    let emulator = Emulator::start();
    let token = |more: &[&str]| {
        emulator.run(&[&["token", "--scope", VAULT, "--certificate", emulator.certificate()], more].concat())
    };
    let result = json(&token(&[]));
    assert_eq!((result["tokenType"].as_str(), result.get("legs")), (Some("mtls_pop"), None));
    assert!(stdout(&token(&["-o", "header"])).starts_with("Authorization: mtls_pop eyJ"));
    assert!(stdout(&token(&["-o", "header", "--bearer"])).starts_with("Authorization: Bearer eyJ"));
    assert!(stdout(&token(&["-o", "env"])).contains("\nCERTBOUND_ACCESS_TOKEN=eyJ"));
    let raw = stdout(&token(&["-o", "raw"]));
    assert!(
        raw.starts_with("eyJ") && raw.matches('.').count() == 2 && raw.ends_with('\n'),
        "not a token alone"
    );
    assert!(stdout(&token(&["-o", "shell"])).contains("\nexport CERTBOUND_ACCESS_TOKEN='eyJ"));
    let table = stdout(&token(&["-o", "table"]));
    assert!(table.contains("shown with --reveal") && !has_token(&table), "{table}");
    assert!(has_token(&stdout(&token(&["-o", "table", "--reveal"]))));
}

/// `certbound token -o raw | certbound inspect -`: the pipe contains the token and the newline at its end.
#[test]
fn inspect_reads_the_raw_token_of_a_pipe() {
    let emulator = Emulator::start();
    let certificate = emulator.certificate();
    for format in ["json", "table"] {
        let mut token = emulator.certbound();
        token.args(["token", "--scope", VAULT, "--certificate", certificate, "-o", "raw"]);
        let mut token = token.stdout(Stdio::piped()).spawn().unwrap();
        let pipe = Stdio::from(token.stdout.take().unwrap());
        let inspected = certbound().args(["inspect", "-", "-o", format]).stdin(pipe).output().unwrap();
        assert!(token.wait().unwrap().success());
        assert_eq!(inspected.status.code(), Some(0), "{}", stderr(&inspected));
        let shown = stdout(&inspected);
        let result = emulator.run(&["token", "--scope", VAULT, "--certificate", certificate]);
        let thumbprint = json(&result)["bindingCertificate"]["x5tS256"].as_str().unwrap().to_owned();
        assert!(shown.contains("cnf") && shown.contains(&thumbprint), "{shown}");
        if format == "json" {
            assert_eq!(json(&inspected)["claims"]["cnf"]["x5t#S256"], thumbprint);
        }
    }
}

#[test]
fn what_is_typed_beats_the_environment() {
    let emulator = Emulator::start();
    let kind = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = emulator.certbound();
        command.args(exchange(&emulator, flags)).envs(variables.iter().copied());
        let output = command.output().unwrap();
        json(&output)["tokenType"].as_str().unwrap().to_owned()
    };
    assert_eq!(kind(&[("CERTBOUND_BEARER", "1")], &[]), "Bearer");
    assert_eq!(kind(&[("CERTBOUND_BEARER", "0")], &[]), "mtls_pop");
    assert_eq!(kind(&[("CERTBOUND_BEARER", "1")], &["--bound"]), "mtls_pop");
    assert_eq!(
        kind(&[("AZURE_CLIENT_CERTIFICATE_PATH", "/no/such"), ("CERTBOUND_ASSERTION_FILE", "/no/such")], &[]),
        "mtls_pop"
    );
    // The Azure SDKs' certificate variable names the application's certificate, which Leg 1 uses.
    let mut command = emulator.certbound();
    command
        .env("AZURE_CLIENT_CERTIFICATE_PATH", emulator.certificate())
        .env("CERTBOUND_SCOPE", VAULT)
        .arg("exchange");
    assert_eq!(json(&command.output().unwrap())["legs"].as_array().unwrap().len(), 2);
}

#[test]
fn resources_are_called_with_the_certificate() {
    let emulator = Emulator::start();
    let call = |flags: &[&str]| {
        emulator.run(&[&["call", "--leg1-certificate", emulator.certificate()], flags].concat())
    };
    let graph = call(&["https://mtlstb.graph.microsoft.com/v1.0/applications?$top=1"]);
    assert_eq!(json(&graph)["value"][0]["appId"], APP);
    let vault = call(&["-i", "https://demo.vault.azure.net/secrets/demo?api-version=7.4"]);
    assert!(stdout(&vault).starts_with("HTTP/2.0 200 OK\r\n"), "{}", stdout(&vault));
    let orders = call(&["--scope", "api://orders/.default", "https://orders.contoso.example/orders"]);
    assert_eq!(json(&orders)["certificate"].as_str().unwrap().len(), 43);
    let direct = emulator.run(&[
        "call",
        "--certificate",
        emulator.certificate(),
        "https://mtlstb.graph.microsoft.com/v1.0/applications",
    ]);
    assert_eq!(direct.status.code(), Some(0), "{}", stderr(&direct));
    let bearer = call(&["--bearer", "https://graph.microsoft.com/v1.0/applications"]);
    assert_eq!(bearer.status.code(), Some(0), "{}", stderr(&bearer));
}

#[test]
fn names_that_need_no_proxy_are_reached_without_one() {
    let emulator = Emulator::start();
    // No host with this name exists (RFC 6761, section 6.4). A client that resolves the name itself fails.
    let code = |no_proxy: &str| {
        let mut command = emulator.certbound();
        command.args(["call", "-o", "json", "--leg1-certificate", emulator.certificate()]);
        command.args(["--scope", "api://orders/.default", "https://orders.invalid/orders"]);
        refusal(&command.env("NO_PROXY", no_proxy).output().unwrap())
    };
    for no_proxy in ["", "elsewhere.invalid", "rders.invalid"] {
        assert_eq!(code(no_proxy), (3, "proxy_failed".to_owned()), "{no_proxy}");
    }
    for no_proxy in ["orders.invalid", "elsewhere.invalid, .invalid"] {
        assert_eq!(code(no_proxy), (3, "connect_failed".to_owned()), "{no_proxy}");
    }
}

#[test]
fn who_says_no_decides_the_exit_code() {
    let emulator = Emulator::start();
    let certificate = emulator.certificate();
    let call = ["call", "-o", "json", "--leg1-certificate", certificate];
    let missing =
        emulator.run(&[&call[..], &["https://demo.vault.azure.net/secrets/none?api-version=7.4"]].concat());
    assert_eq!(missing.status.code(), Some(1));
    assert!(stdout(&missing).contains("\"error\"") && stderr(&missing).contains("resource_refused"));

    let never_asks = emulator.run(&[&call[..], &["https://graph.microsoft.com/v1.0/applications"]].concat());
    assert_eq!(refusal(&never_asks), (1, "certificate_not_requested".to_owned()));
    let no_scope = emulator.run(&[&call[..], &["https://orders.contoso.example/orders"]].concat());
    assert_eq!(refusal(&no_scope), (2, "scopes_required_client_credentials".to_owned()));

    let refused = |scope: &str, more: &[&str]| {
        let flags = ["exchange", "-o", "json", "--scope", scope, "--leg1-certificate", certificate];
        emulator.run(&[&flags[..], more].concat())
    };
    let not_enabled = refused("https://management.azure.com/.default", &[]);
    assert_eq!(refusal(&not_enabled).0, 1);
    assert_eq!(error(&not_enabled), (Some(2), Some(392_196)));
    let unknown = refused(VAULT, &["--leg1-client-id", "00000000-0000-4000-8000-000000000001"]);
    assert_eq!(
        (refusal(&unknown), error(&unknown)),
        ((1, "unauthorized_client".to_owned()), (Some(1), Some(700_016)))
    );
    let other_tenant = refused(VAULT, &["--tenant", "5f1c2a7e-3d94-4b58-9c06-8e2b7a14d3f0"]);
    assert_eq!(refusal(&other_tenant).0, 1);

    let mut unreachable = emulator.certbound();
    unreachable.env("HTTPS_PROXY", NOWHERE).args(exchange(&emulator, &["-o", "json"]));
    assert_eq!(refusal(&unreachable.output().unwrap()), (3, "proxy_failed".to_owned()));
    let mut distrusted = emulator.certbound();
    let other = Emulator::start();
    distrusted.env("SSL_CERT_FILE", other.text("ca")).args(exchange(&emulator, &["-o", "json"]));
    assert_eq!(refusal(&distrusted.output().unwrap()), (3, "tls_failed".to_owned()));
}

#[test]
fn an_unavailable_service_is_told_with_host_region_tenant_and_wait() {
    let emulator = Emulator::start();
    let body = r#"{"error":"temporarily_unavailable","error_description":"AADSTS90033: busy"}"#;
    let result = serde_json::json!({ "status": { "status": 503, "body": body, "retry_after": 7 } });
    emulator.plant(&serde_json::json!({ "condition": { "leg": "leg2" }, "result": result }));
    let output = emulator.run(&exchange(&emulator, &["-o", "json"]));
    assert_eq!(refusal(&output).0, 1);
    let error: serde_json::Value = serde_json::from_str(stderr(&output).lines().last().unwrap()).unwrap();
    let host = "westus3.mtlsauth.microsoft.com";
    for (member, expected) in [
        ("transient", serde_json::json!(true)),
        ("retry_after", serde_json::json!(7)),
        ("host", host.into()),
        ("endpoint", format!("https://{host}/{TENANT}/oauth2/v2.0/token").into()),
        ("region", "westus3".into()),
        ("tenant", TENANT.into()),
    ] {
        assert_eq!(error["error"][member], expected, "{member}: {error}");
    }
}

/// Returns the leg and the AADSTS number of the JSON error.
fn error(output: &Output) -> (Option<u64>, Option<u64>) {
    let error: serde_json::Value = serde_json::from_str(stderr(output).lines().last().unwrap()).unwrap();
    assert!(error["error"]["correlation_id"].is_string());
    (error["error"]["leg"].as_u64(), error["error"]["aadsts"].as_u64())
}
