//! The admin listener of the servers, and `health`, which requests the readiness from it.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::Output;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::decider::{Decider, request};
use crate::support::{Emulator, VAULT, certbound, offline, refusal, stderr, stdout, text};
use crate::verify_callers::Idp;

const ADMIN: [&str; 2] = ["--admin-listen", "127.0.0.1:0"];

fn address(ready: &Value, member: &str) -> String {
    ready[member].as_str().unwrap().strip_prefix("http://").unwrap().to_owned()
}

/// Returns the status, the head and the body of an answer.
fn ask(address: &str, method: &str, path: &str) -> (String, String, String) {
    let answer = request(address, method, path, "");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), head.to_ascii_lowercase(), body.to_owned())
}

fn health(address: &str) -> Output {
    offline(&["health", address, "-o", "json"])
}

#[test]
fn the_admin_listener_has_three_paths_and_two_methods() {
    let decider = Decider::start(&Idp::new().flags(), &ADMIN);
    let admin = address(&decider.ready, "admin");
    for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let (status, head, found) = ask(&admin, "GET", path);
        assert_eq!((status.as_str(), found.as_str()), ("200", body), "{path}");
        assert!(head.contains("content-type: text/plain; charset=utf-8"), "{head}");
        let (status, _, found) = ask(&admin, "HEAD", path);
        assert_eq!((status.as_str(), found.as_str()), ("200", ""), "{path}");
    }
    let (status, head, _) = ask(&admin, "GET", "/metrics?x=1");
    assert_eq!(status, "200");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (status, head, _) = ask(&admin, method, "/healthz");
        assert_eq!(status, "405", "{method}");
        assert!(head.contains("allow: get, head"), "{head}");
    }
    // The admin listener has no other path, so it never decides about a token.
    for path in ["/", "/healthz/", "/readyz/x", "//healthz", "/METRICS"] {
        assert_eq!(ask(&admin, "GET", path).0, "404", "{path}");
    }
}

/// A proxy may pass the client's path. A path that is answered without a token would be open to every client.
#[test]
fn the_deciding_port_has_none_of_these_paths() {
    let decider = Decider::start(&Idp::new().flags(), &ADMIN);
    for path in ["/healthz", "/readyz", "/metrics", "/healthz?x", "//metrics"] {
        assert_eq!(ask(decider.address(), "GET", path).0, "401", "{path}");
        assert_eq!(ask(decider.address(), "HEAD", path).0, "401", "{path}");
    }
    let (code, report) = refusal(&health(decider.address()));
    assert_eq!((code, report.as_str()), (1, "not_an_admin_listener"));
}

#[test]
fn a_server_without_keys_is_alive_but_not_ready() {
    // The proxy of the fetch closes each connection.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = ["--issuer", "https://idp.example", "--algorithm", "EdDSA", "--audience", "orders"];
    let mut command = Decider::command("127.0.0.1:0", &issuer.map(str::to_owned), &ADMIN);
    command.env("HTTPS_PROXY", format!("http://{}", proxy.local_addr().unwrap()));
    let decider = Decider::spawn(command);
    let admin = address(&decider.ready, "admin");
    // The server fetches the keys before a request needs them.
    let fetch = proxy.accept().unwrap().0;
    assert_eq!(ask(&admin, "GET", "/healthz").0, "200");
    let (status, _, reason) = ask(&admin, "GET", "/readyz");
    assert_eq!(status, "503");
    let expected = "the keys of https://idp.example are not available: the keys have not been fetched yet\n";
    assert_eq!(reason, expected);
    let output = health(&admin);
    assert_eq!(refusal(&output), (1, "not_ready".to_owned()));
    assert!(stderr(&output).contains(expected.trim()), "{}", stderr(&output));
    drop(fetch);
    let (mut reason, mut rounds) = (reason, 0);
    while reason.contains("have not been fetched yet") && rounds < 10_000 {
        (reason, rounds) = (ask(&admin, "GET", "/readyz").2, rounds + 1);
    }
    assert!(reason.contains("/.well-known/openid-configuration: "), "{reason}");
    assert_eq!(reason.lines().count(), 1, "{reason}");
    let metrics = ask(&admin, "GET", "/metrics").2;
    let issuer = r#"certbound_issuer="https://idp.example""#;
    assert!(metrics.contains(&format!("certbound_verifier_keys_usable{{{issuer}}} 0")), "{metrics}");
    let failed = format!(r#"certbound_verifier_key_fetches_total{{{issuer},certbound_outcome="failed"}} 1"#);
    assert!(metrics.contains(&failed), "{metrics}");
}

#[test]
fn health_says_whether_a_server_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", text(&folder.path().join("admin.sock")));
    let decider = Decider::start(&Idp::new().flags(), &["--admin-listen", &socket]);
    assert_eq!(decider.ready["admin"], json!(socket));
    let output = health(&socket);
    assert_eq!((crate::support::json(&output), output.status.code()), (json!({ "ready": true }), Some(0)));
    // In a container, server and health check have the same environment.
    let output = certbound().args(["health", "-o", "table"]).env("CERTBOUND_ADMIN_LISTEN", &socket).output();
    assert_eq!(stdout(&output.unwrap()), "ready\n");
    assert_eq!(decider.stop().0, Some(0));
    assert_eq!(refusal(&health(&socket)), (3, "admin_listener_unreachable".to_owned()));
    // A server that accepts connections and sends nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    let output = offline(&["health", &silent_address, "--timeout", "1", "-o", "json"]);
    assert_eq!(refusal(&output), (3, "admin_listener_unreachable".to_owned()));
    let never = offline(&["health", &silent_address, "--timeout", "0", "-o", "json"]);
    assert_eq!(refusal(&never), (2, "usage".to_owned()));
    for wrong in ["", "9090", "unix:", "https://a.example"] {
        assert_eq!(refusal(&health(wrong)), (2, "usage".to_owned()), "{wrong}");
    }
}

#[test]
fn a_server_that_stops_is_not_ready() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let idp = Idp::new();
    let mut command = Decider::command("127.0.0.1:0", &idp.flags()[..4], &ADMIN);
    command.args(["--audience", "orders", "--binding", "rfc8705-when-bound"]);
    command.env("HTTPS_PROXY", format!("http://{}", proxy.local_addr().unwrap()));
    let decider = Decider::spawn(command);
    let admin = address(&decider.ready, "admin");
    let fetch = proxy.accept().unwrap().0;
    // This request keeps the server from ending.
    let mut waiting = decider.connect();
    let token = idp.token(json!({}));
    let head = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer";
    std::io::Write::write_all(&mut waiting, format!("{head} {token}\r\n\r\n").as_bytes()).unwrap();
    while !ask(&admin, "GET", "/metrics").2.contains("certbound_server_requests_active 1") {}
    decider.signal(Signal::TERM);
    while ask(&admin, "GET", "/readyz").2 != "the server is stopping\n" {}
    assert_eq!(ask(&admin, "GET", "/healthz").0, "200");
    drop(fetch);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(decider.end().0, Some(0));
}

/// Returns the names of the metrics of a page. A histogram has one name.
fn names(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Returns the names in the table of `docs/servers.md` whose second column is `server` or `both`.
fn documented(server: &str) -> BTreeSet<String> {
    let page = include_str!("../../../../docs/servers.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let of_server = rows.filter(|(_, rest)| {
        let column = rest.split(" |").next().unwrap_or_default();
        column == server || column == "both"
    });
    of_server.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn each_metric_of_the_verifier_is_scraped_and_documented() {
    let idp = Idp::new();
    let more = [&ADMIN[..], &["--binding", "rfc8705-when-bound"]].concat();
    let decider = Decider::start(&idp.flags(), &more);
    let admin = address(&decider.ready, "admin");
    assert_eq!(decider.ask(&idp.token(json!({}))), "200");
    assert_eq!(decider.ask(&idp.token(json!({ "aud": "other" }))), "401");
    assert_eq!(decider.get("/", ""), "401");
    assert_eq!(decider.get("/?access_token=x", ""), "401");
    decider.signal(Signal::HUP);
    let reloaded = r#"certbound_server_reloads_total{certbound_outcome="succeeded"} 1"#;
    let mut page = String::new();
    while !(page.contains(reloaded) && page.contains("certbound_server_connections 0\n")) {
        page = ask(&admin, "GET", "/metrics").2;
    }
    for line in [
        r#"certbound_verifier_decisions_total{certbound_outcome="accepted"} 1"#,
        r#"certbound_verifier_decisions_total{certbound_outcome="refused",certbound_refusal_code="audience_mismatch"} 1"#,
        r#"certbound_verifier_decisions_total{certbound_outcome="refused",certbound_refusal_code="no_credentials"} 1"#,
        r#"certbound_verifier_decisions_total{certbound_outcome="refused",certbound_refusal_code="token_in_url"} 1"#,
        r#"certbound_verifier_decision_duration_seconds_count{certbound_outcome="refused"} 3"#,
        r#"certbound_verifier_keys_usable{certbound_issuer="https://idp.example"} 1"#,
        concat!(r#"certbound_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        "certbound_server_requests_active 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
    // This issuer has a file of keys, so nothing is fetched.
    let fetches = ["key_fetches_total", "key_fetch_duration_seconds", "keys_fetch_time_seconds"];
    let fetches = fetches.map(|name| format!("certbound_verifier_{name}"));
    let found: BTreeSet<String> = names(&page).into_iter().chain(fetches).collect();
    assert_eq!(found, documented("verifier"));
}

#[test]
fn each_metric_of_the_emulator_is_scraped_and_documented() {
    let emulator = Emulator::start_with(&ADMIN);
    let admin = address(&emulator.ready, "health");
    emulator
        .plant(&json!({ "condition": { "leg": "direct" }, "result": { "delay": { "milliseconds": 0 } } }));
    let certificate = emulator.certificate();
    let output = emulator.run(&["token", "--scope", VAULT, "--certificate", certificate, "-o", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let page = ask(&admin, "GET", "/metrics").2;
    for line in [
        r#"certbound_emulator_requests_total{certbound_emulator_endpoint="token",http_response_status_code="200"} 1"#,
        r#"certbound_emulator_faults_total{certbound_emulator_fault="delay"} 1"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
    let expiry = page.lines().find_map(|line| {
        line.strip_prefix(
            r#"certbound_certificate_expiry_seconds{certbound_certificate_name="emulator_ca"} "#,
        )
    });
    let seconds: u64 = expiry.unwrap_or_else(|| panic!("{page}")).parse().unwrap();
    assert!(seconds > 24 * 3600 && seconds <= 8 * 24 * 3600, "{seconds}");
    // This emulator has no world file, so it never reads one again.
    let reloads = ["certbound_server_reloads_total".to_owned()];
    let found: BTreeSet<String> = names(&page).into_iter().chain(reloads).collect();
    assert_eq!(found, documented("emulator"));
    assert_eq!(ask(&admin, "GET", "/readyz").2, "ready\n");
}
