//! `inspect` and `verify` with real tokens, and their refusals.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{APP, Emulator, TENANT, certbound, file, json, offline, refusal, stderr, stdout, text};

const ORDERS: &str = "api://orders/.default";
/// The audience of the custom API's version 2 tokens.
const ORDERS_ID: &str = "d95b1e37-8c04-4f6a-b2e9-60a7c3f81d45";
const ROLE: &str = "Orders.Read.All";

fn token(emulator: &Emulator, extra: &[&str]) -> String {
    let args = [&["token", "-o", "json", "--scope", ORDERS, "--certificate", emulator.certificate()], extra]
        .concat();
    json(&emulator.run(&args))["accessToken"].as_str().unwrap().to_owned()
}

fn verify<'a>(token: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["-o", "json"], &decide(token)[..], more].concat()
}

fn decide(token: &str) -> Vec<&str> {
    vec!["verify", token, "--tenant", TENANT, "--audience", ORDERS_ID, "--require-role", ROLE]
}

fn steps(decision: &Value) -> Vec<(&str, &str)> {
    let steps = decision["steps"].as_array().unwrap().iter();
    steps.map(|step| (step["id"].as_str().unwrap(), step["outcome"].as_str().unwrap())).collect()
}

#[test]
fn a_decision_with_each_of_its_steps() {
    let emulator = Emulator::start();
    let token = token(&emulator, &[]);
    let output = emulator.run(&verify(&token, &["--certificate", emulator.certificate()]));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let decision = json(&output);
    assert_eq!((&decision["accepted"], &decision["clientId"]), (&json!(true), &json!(APP)));
    assert!(steps(&decision).iter().all(|(_, outcome)| *outcome == "passed"), "{decision}");
    assert_eq!(decision["steps"].as_array().unwrap().len(), 11);

    for (more, code, refused_at) in [
        (&[][..], "client_certificate_missing", "binding"),
        (
            &["--certificate", emulator.certificate(), "--scheme", "bearer"],
            "bound_token_under_bearer",
            "scheme",
        ),
        (&["--certificate", emulator.text("ca")], "client_certificate_mismatch", "binding"),
        (
            &["--certificate", emulator.certificate(), "--allow-client", TENANT],
            "client_not_allowed",
            "caller",
        ),
    ] {
        let output = emulator.run(&verify(&token, more));
        let decision = json(&output);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(decision["refusal"]["code"], code, "{more:?}");
        let at: Vec<_> = steps(&decision).into_iter().filter(|(_, outcome)| *outcome == "refused").collect();
        assert_eq!(at, [(refused_at, "refused")]);
        assert!(stderr(&output).contains(code) && !stderr(&output).contains(&token[..40]));
        let is_missing = code == "client_certificate_missing";
        assert_eq!(stderr(&output).contains("give the caller's certificate with --certificate"), is_missing);
    }
    let bearer = ["--certificate", emulator.certificate(), "--scheme", "bearer", "--binding", "rfc8705"];
    assert_eq!(emulator.run(&verify(&token, &bearer)).status.code(), Some(0));
    let plain = self::token(&emulator, &["--bearer"]);
    let when_bound = ["--scheme", "bearer", "--binding", "when-bound"];
    assert_eq!(emulator.run(&verify(&plain, &when_bound)).status.code(), Some(0));
}

#[test]
fn keys_from_a_server_that_is_not_trusted_name_its_host_and_issuer() {
    let emulator = Emulator::start();
    let token = token(&emulator, &[]);
    let mut command = certbound();
    command.env("HTTPS_PROXY", emulator.text("proxy")).args(verify(&token, &[]));
    // Another emulator has another root.
    let other = Emulator::start();
    let output = command.env("SSL_CERT_FILE", other.text("ca")).output().unwrap();
    assert_eq!(refusal(&output), (3, "keys_unavailable".to_owned()));
    let error: Value = serde_json::from_str(stderr(&output).lines().last().unwrap()).unwrap();
    let error = &error["error"];
    assert_eq!((&error["host"], &error["transient"]), (&"login.microsoftonline.com".into(), &false.into()));
    let message = error["message"].as_str().unwrap();
    // Both roots have one name, so the signature decides.
    assert!(message.contains("the server's certificate is not trusted: the key of its issuer"), "{message}");
    assert!(error["fix"].as_str().unwrap().contains("SSL_CERT_FILE"), "{error}");
}

#[test]
fn keys_may_come_from_a_file_and_the_token_from_stdin() {
    let emulator = Emulator::start();
    let token = token(&emulator, &[]);
    let curl = std::process::Command::new("curl")
        .args(["-sS", "--fail", "--proxy", emulator.text("proxy"), "--cacert", emulator.text("ca")])
        .arg(format!("https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys"))
        .output()
        .unwrap();
    assert!(curl.status.success(), "{}", stderr(&curl));
    let directory = tempfile::tempdir().unwrap();
    let keys = file(&directory, "keys.json", &curl.stdout);
    let args = verify("-", &["--certificate", emulator.certificate(), "--keys", text(&keys)]);
    // This run has no network.
    let mut child = certbound()
        .args(&args)
        .env("HTTPS_PROXY", crate::support::NOWHERE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{token}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(json(&output)["accepted"], true);
    // A key without an issuer would sign tokens of both issuers.
    let other = ["--issuer", "https://idp.example", "--algorithm", "RS256", "--keys", text(&keys)];
    assert_eq!(refusal(&offline(&verify(&token, &other))), (2, "usage".to_owned()));
}

#[test]
fn keys_are_not_fetched_past_a_proxy_that_cannot_be_used() {
    let output = certbound().args(verify("a.b.c", &[])).env("HTTPS_PROXY", "garbage://").output().unwrap();
    assert_eq!(refusal(&output), (2, "invalid_proxy".to_owned()));
}

#[test]
fn a_table_for_people() {
    let emulator = Emulator::start();
    let token = token(&emulator, &[]);
    let args = [&["-o", "table"], &decide(&token)[..], &["--certificate", emulator.certificate()]].concat();
    let output = emulator.run(&args);
    let shown = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}{}", stderr(&output));
    assert!(shown.starts_with("✓ form") && shown.ends_with("accepted\n"), "{shown}");
    assert!(shown.contains("✓ signature         valid, with RS256"), "{shown}");
}

#[test]
fn inspecting_trusts_nothing_and_never_shows_the_signature() {
    let emulator = Emulator::start();
    let token = token(&emulator, &[]);
    let signature = token.rsplit('.').next().unwrap();
    for format in ["json", "table"] {
        let output = offline(&["inspect", &token, "-o", format, "--certificate", emulator.certificate()]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(!stdout(&output).contains(signature) && !stderr(&output).contains(signature));
    }
    let shown = json(&offline(&["inspect", &token, "-o", "json", "--certificate", emulator.certificate()]));
    assert_eq!(shown["verified"], false);
    assert_eq!((&shown["bound"], &shown["certificate"]["matches"]), (&json!(true), &json!(true)));
    assert_eq!(shown["claims"]["azp"], APP);
    assert_eq!(shown["header"]["alg"], "RS256");
    // The text before the first section of a PEM file can begin as DER does.
    let folder = tempfile::tempdir().unwrap();
    let pem = format!("0 s:CN=app\n{}", std::fs::read_to_string(emulator.certificate()).unwrap());
    let pem = file(&folder, "s_client.txt", &pem);
    let shown = json(&offline(&["inspect", &token, "-o", "json", "--certificate", text(&pem)]));
    assert_eq!(shown["certificate"]["matches"], true);
    // Another certificate, and an unbound token.
    let other = offline(&["inspect", &token, "-o", "json", "--certificate", emulator.text("ca")]);
    assert_eq!(other.status.code(), Some(1));
    assert_eq!(json(&other)["certificate"]["matches"], false);
    let plain = self::token(&emulator, &["--bearer"]);
    let output = offline(&["inspect", &plain, "-o", "table"]);
    assert!(stdout(&output).contains("everybody who has the token can use it"), "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn input_that_cannot_be_used() {
    let emulator = Emulator::start();
    let certificate = emulator.certificate();
    let directory = tempfile::tempdir().unwrap();
    let empty = file(&directory, "empty", "");
    let garbage = file(&directory, "garbage.json", "{\"keys\":7}");
    let der = file(&directory, "cut.der", b"\x30\x82\x01");
    let (empty, garbage, der) = (text(&empty), text(&garbage), text(&der));
    let base = ["verify", "-o", "json", "--audience", "a"];
    let rule = ["--dangerous-any-caller"];
    for (flags, code) in [
        (&["--tenant", TENANT][..], "rule_required"),
        (&["x.y.z"], "issuer_required"),
        (&["--tenant", "contoso.example"], "tenant_id_required"),
        (&["--tenant", "common"], "missing_tenanted_authority"),
        (&["--tenant", "x y"], "invalid_tenant"),
        (&["--issuer", "http://idp.example", "--algorithm", "ES256"], "invalid_issuer"),
        (&["--issuer", "https://idp.example", "--algorithm", "HS256"], "invalid_algorithm"),
        (&["--issuer", "https://idp.example", "--algorithm", "none"], "invalid_algorithm"),
        (&["--issuer", "https://idp.example", "--algorithm", "es384"], "invalid_algorithm"),
        (&["--issuer", "https://idp.example"], "usage"),
        (
            &[
                "--issuer",
                "https://idp.example",
                "--algorithm",
                "ES256",
                "--keys-host",
                "https://idp.example",
            ],
            "invalid_keys_host",
        ),
        (&["--tenant", TENANT, "--client-claim", "appid"], "usage"),
        (&["--tenant", TENANT, "--callers", "nobody"], "usage"),
        (&["--tenant", TENANT, "--require-scope", "s"], "callers_required"),
        (&["x", "--tenant", TENANT, "--allow-client", ""], "client_id_required"),
        (&["--tenant", TENANT], "token_required"),
        (&["-", "--tenant", TENANT], "token_required"),
        (&["x", "--tenant", TENANT, "--certificate", "/no/such"], "file_unreadable"),
        (&["x", "--tenant", TENANT, "--certificate", empty], "certificate_missing"),
        (&["x", "--tenant", TENANT, "--certificate", der], "certificate_missing"),
        (&["x", "--tenant", TENANT, "--keys", garbage], "invalid_key_set"),
        (&["x", "--tenant", TENANT, "--keys", certificate], "invalid_key_set"),
        (&["x", "--tenant", TENANT, "--leeway", "601"], "leeway_too_large"),
        (&["x", "--tenant", TENANT, "--authority", "https://login.example"], "authority_host_unknown"),
        (&["--tenant", TENANT, "--serve", "127.0.0.1:0"], "trusted_proxy_required"),
        (&["--tenant", TENANT, "--serve", "nowhere"], "usage"),
        (&["--tenant", TENANT, "--trust-proxy", "10.0.0.0/99"], "usage"),
        (&["x", "--tenant", TENANT, "--trust-proxy", "127.0.0.1/32"], "usage"),
        (&["x", "--tenant", TENANT, "--certificate-header", "nginx"], "usage"),
    ] {
        let rule = if code == "rule_required" { &[][..] } else { &rule };
        let output = offline(&[&base, flags, rule].concat());
        let (exit, found) = refusal(&output);
        assert_eq!((exit, found.as_str()), (2, code), "{flags:?} {}", stderr(&output));
    }
    // An authority can be only a host.
    let host = ["x", "--tenant", TENANT, "--authority", "login.microsoftonline.us"];
    let decision = json(&offline(&[&base[..], &host, &rule].concat()));
    assert_eq!(decision["refusal"]["code"], "malformed_token");
    for (form, name, code) in [
        ("nginx", "a b", "invalid_header"),
        ("rfc9440", "bad name", "invalid_header"),
        ("app-service", "x\r\ny: z", "invalid_header"),
        ("app-service", "", "invalid_header"),
        ("nginx", "Authorization", "certificate_header_name_taken"),
        ("app-service", "host", "certificate_header_name_taken"),
        ("rfc9440", "X-Certbound-Certificate", "certificate_header_name_taken"),
        ("envoy", "x-client-cert", "certificate_header_name_fixed"),
    ] {
        let served = ["--tenant", TENANT, "--serve", "127.0.0.1:0", "--trust-proxy", "127.0.0.1/32"];
        let header = ["--certificate-header", form, "--certificate-header-name", name];
        let output = offline(&[&base[..], &rule, &served, &header].concat());
        assert_eq!(refusal(&output), (2, code.to_owned()), "{form} {name}");
    }
    for (token, code) in [
        ("", "token_required"),
        (" \n", "token_required"),
        ("a.b", "malformed_token"),
        ("a.b.c", "malformed_token"),
    ] {
        assert_eq!(refusal(&offline(&["inspect", "-o", "json", token])), (2, code.to_owned()), "{token:?}");
    }
    assert_eq!(offline(&["inspect", "-o", "env", "a.b.c"]).status.code(), Some(2));
    // `verify` uses the network only for a token that it could accept. A network failure is exit code 3.
    let token = self::token(&emulator, &[]);
    let output = offline(&verify(&token, &["--certificate", certificate]));
    assert_eq!(refusal(&output), (3, "keys_unavailable".to_owned()));
    let output = offline(&[
        "verify",
        "-o",
        "json",
        "a.b.c",
        "--tenant",
        TENANT,
        "--audience",
        "a",
        "--dangerous-any-caller",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}
