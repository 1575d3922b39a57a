//! A stored token is found only by the same proof of identity.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use certbound_emulator::world::builtin::{SECRET, SECRET_APP};
use serde_json::Value;

use crate::support::{Emulator, TENANT, VAULT, file, json, refusal, stderr, text};

const TARGET: &str = "c2e9a640-7b15-4d8f-a3c1-5f60e8d2b794";

fn command(emulator: &Emulator, cache: &Path, args: &[&str]) -> Command {
    let mut command = emulator.certbound();
    command.env_remove("CERTBOUND_NO_CACHE").env("CERTBOUND_CACHE_DIR", cache);
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.text("imds"));
    command.args(args).args(["--scope", VAULT, "-o", "json"]);
    command
}

fn from_cache(output: &Output) -> bool {
    json(output)["fromCache"].as_bool().unwrap()
}

#[test]
fn a_wrong_secret_or_assertion_finds_nothing() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let cache = folder.path().join("tokens");
    let by_secret = |secret: &str| {
        let args = ["token", "--bearer", "--client-id", SECRET_APP, "--client-secret-env", "THE_SECRET"];
        command(&emulator, &cache, &args).env("THE_SECRET", secret).output().unwrap()
    };
    assert!(!from_cache(&by_secret(SECRET)));
    assert!(from_cache(&by_secret(SECRET)));
    assert_eq!(refusal(&by_secret("another")).0, 1);
    assert!(from_cache(&by_secret(SECRET)), "a refusal removes no stored token");

    let by_assertion = |assertion: &str| {
        let path = file(&folder, "assertion.jwt", assertion);
        let args = ["token", "--bearer", "--client-id", TARGET, "--assertion-file", text(&path)];
        command(&emulator, &cache, &args).output().unwrap()
    };
    let assertion = plain_assertion(&emulator);
    assert!(!from_cache(&by_assertion(&assertion)));
    assert!(from_cache(&by_assertion(&assertion)));
    assert_eq!(refusal(&by_assertion("J.J.J")).0, 1);

    let by_bound_assertion = |assertion: &str| {
        let path = file(&folder, "bound.jwt", assertion);
        let args = ["exchange", "--certificate", emulator.certificate(), "--assertion-file", text(&path)];
        command(&emulator, &cache, &args).output().unwrap()
    };
    let made = json(&emulator.run(&["assertion", "--certificate", emulator.certificate()]));
    let assertion = made["assertion"].as_str().unwrap();
    assert!(!from_cache(&by_bound_assertion(assertion)));
    assert!(from_cache(&by_bound_assertion(assertion)));
    let (rest, signature) = assertion.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{rest}.{first}{}", &signature[1..]);
    assert_eq!(refusal(&by_bound_assertion(&forged)).0, 1, "nobody signed this assertion");
}

/// The command needs the text for the stored tokens and for the request, and a pipe can be read only once.
#[test]
fn an_assertion_can_come_from_a_pipe() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let args = ["token", "--bearer", "--client-id", TARGET, "--assertion-file", "/dev/stdin"];
    let mut command = command(&emulator, &folder.path().join("tokens"), &args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(plain_assertion(&emulator).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// Returns a Bearer token of the machine for the token-exchange audience. The application trusts it.
fn plain_assertion(emulator: &Emulator) -> String {
    let address = emulator.text("imds").strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=api://AzureADTokenExchange";
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nMetadata: true\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// A token that is bound to a key of one command is not stored, because no later command has the key.
#[test]
fn a_machines_bound_token_is_kept_with_its_key_or_not_at_all() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let (cache, state) = (folder.path().join("tokens"), folder.path().join("state"));
    let token = ["token", "--managed-identity", "system"];
    let exchange =
        ["exchange", "--leg1-managed-identity", "system", "--client-id", TARGET, "--tenant", TENANT];
    let with_key = ["--machine-state", state.to_str().unwrap()];
    let bearer = [&exchange[..], &["--bearer"]].concat();
    for args in [&token[..], &exchange, &bearer] {
        for _ in 0..2 {
            assert!(!from_cache(&command(&emulator, &cache, args).output().unwrap()), "{args:?}");
        }
        assert!(!cache.join("tokens.sealed").exists(), "{args:?}");
    }
    for args in [&token[..], &exchange, &bearer] {
        let args = [args, &with_key].concat();
        for expected in [false, true] {
            let output = command(&emulator, &cache, &args).output().unwrap();
            assert_eq!(from_cache(&output), expected, "{args:?} {}", stderr(&output));
        }
    }
}

/// A Bearer token needs no key. The name of its entry contains the machine and the platform, so that no other machine
/// finds it.
#[test]
fn a_machines_plain_token_is_kept_for_its_platform() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let cache = folder.path().join("tokens");
    let token = |variables: &[(&str, &str)]| {
        let args = ["token", "--bearer", "--managed-identity", "system"];
        command(&emulator, &cache, &args).envs(variables.iter().copied()).output().unwrap()
    };
    assert!(!from_cache(&token(&[])));
    assert!(from_cache(&token(&[])));
    let endpoint = format!("{}/app-service/token", emulator.text("imds"));
    let at = |header| [("IDENTITY_ENDPOINT", endpoint.as_str()), ("IDENTITY_HEADER", header)];
    let secret = "certbound-emulator-platform";
    assert!(!from_cache(&token(&at(secret))));
    assert!(from_cache(&token(&at(secret))));
    assert_eq!(refusal(&token(&at("another"))).0, 1, "another application's platform secret");
    let files = fs::read_dir(&cache).unwrap().count();
    assert!(files >= 2, "{files}");
}
