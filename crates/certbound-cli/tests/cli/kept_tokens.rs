//! Tokens that one command stores for the next, and events that can happen to them in between.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Emulator, VAULT, json, refusal, signal, stderr, stdout};

const GRAPH: &str = "https://mtlstb.graph.microsoft.com/v1.0/applications?$top=1";

fn command(emulator: &Emulator, cache: &Path, args: &[&str]) -> Command {
    let mut command = emulator.certbound();
    command.env_remove("CERTBOUND_NO_CACHE").env("CERTBOUND_CACHE_DIR", cache).args(args);
    command.args(["--leg1-certificate", emulator.certificate()]);
    command
}

fn exchange(emulator: &Emulator, cache: &Path) -> Command {
    command(emulator, cache, &["exchange", "--scope", VAULT, "-o", "json"])
}

/// Returns the number of requests to the token service since the last call.
fn asked(emulator: &Emulator) -> usize {
    let entries = emulator.journal();
    entries.iter().filter(|entry| entry["path"].as_str().unwrap().ends_with("/token")).count()
}

#[test]
fn two_calls_cost_one_pair_of_legs() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let cache = folder.path().join("made").join("anew");
    for expected in [2, 0, 0] {
        let output = command(&emulator, &cache, &["call", GRAPH]).output().unwrap();
        assert!(output.status.success() && stdout(&output).contains("value"), "{}", stderr(&output));
        assert_eq!(asked(&emulator), expected);
    }
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);

    // A token for another scope is another entry. The second call for the same scope gets the stored token with its
    // certificate.
    let first = json(&exchange(&emulator, &cache).output().unwrap());
    let again = exchange(&emulator, &cache).arg("-v").output().unwrap();
    assert!(stderr(&again).contains("stored by an earlier command"), "{}", stderr(&again));
    assert!(!stderr(&again).contains("Leg 2 done"));
    let again = json(&again);
    assert_eq!((&first["fromCache"], &again["fromCache"]), (&false.into(), &true.into()));
    for member in ["accessToken", "expiresOn", "bindingCertificate", "scopes", "endpoint", "correlationId"] {
        assert_eq!(first[member], again[member], "{member}");
    }
    assert_eq!((asked(&emulator), again["legs"].as_array().unwrap().len()), (2, 0));

    // These flags request a new token.
    for flag in ["--no-cache", "--report"] {
        let output = exchange(&emulator, &cache).arg(flag).output().unwrap();
        assert_eq!((&json(&output)["fromCache"], asked(&emulator)), (&false.into(), 2), "{flag}");
    }
    let files: Vec<_> =
        fs::read_dir(&cache).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(files.iter().all(|name| name.starts_with("tokens.")), "{files:?}");
}

/// Tokens of an emulator must not be sent to the real service, or to another emulator.
#[test]
fn behind_other_roots_there_are_other_tokens() {
    let (one, two) = (Emulator::start(), Emulator::start());
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("tokens");
    json(&exchange(&one, &cache).output().unwrap());
    let mut command = exchange(&one, &cache);
    command.env("SSL_CERT_FILE", two.text("ca")).env("HTTPS_PROXY", two.text("proxy"));
    let output = command.output().unwrap();
    // The second emulator does not trust this certificate, so its refusal shows that it received the request.
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert_eq!((asked(&one), asked(&two)), (2, 1));
}

#[test]
fn a_folder_that_cannot_be_used_is_an_error_if_it_was_named_and_a_warning_else() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let open = folder.path().join("certbound");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    let named = exchange(&emulator, &open).output().unwrap();
    assert_eq!(refusal(&named), (2, "state_directory_unusable".to_owned()));
    let mut usual = exchange(&emulator, &open);
    usual.env_remove("CERTBOUND_CACHE_DIR").env("XDG_CACHE_HOME", folder.path());
    let output = usual.output().unwrap();
    assert_eq!(json(&output)["fromCache"], false);
    assert!(stderr(&output).contains("warning: tokens are not stored"), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("fix: check who could read the key in the folder, then run `chmod 700`"),
        "{}",
        stderr(&output)
    );
    // With the right mode the folder is used. Without a home folder nothing is stored, and there is no warning.
    fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
    let output = usual.output().unwrap();
    assert_eq!((json(&output)["fromCache"].as_bool(), stderr(&output).as_str()), (Some(false), ""));
    assert_eq!(json(&usual.output().unwrap())["fromCache"], true);
    let output = usual.env_remove("XDG_CACHE_HOME").env_remove("HOME").output().unwrap();
    assert_eq!((json(&output)["fromCache"].as_bool(), stderr(&output).as_str()), (Some(false), ""));
}

/// A keychain is local: it answers at once or is absent. No command waits for a keychain or asks a person to unlock it.
#[test]
fn without_a_keychain_that_answers_the_key_is_a_file() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    // This bus never answers.
    let silent = folder.path().join("bus");
    let _listener = std::os::unix::net::UnixListener::bind(&silent).unwrap();
    let silent = format!("unix:path={}", silent.display());
    for (at, bus) in [("a", "unix:path=/no/such/bus"), ("b", &silent)] {
        let cache = folder.path().join(at);
        let run = |key: &str| {
            let mut command = exchange(&emulator, &cache);
            command.env("DBUS_SESSION_BUS_ADDRESS", bus).env("CERTBOUND_CACHE_KEY", key);
            command.output().unwrap()
        };
        assert_eq!(json(&run("auto"))["fromCache"], false, "{bus}");
        assert_eq!(json(&run(""))["fromCache"], true, "auto is the default: {bus}");
        assert_eq!(json(&run("file"))["fromCache"], true, "{bus}");
        assert!(cache.join("tokens.key").exists() && !cache.join("tokens-by-other-key.sealed").exists());
    }
    let mut asked_for = exchange(&emulator, &folder.path().join("c"));
    asked_for.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/no/such/bus").args(["--cache-key", "keychain"]);
    let output = asked_for.output().unwrap();
    assert_eq!(refusal(&output), (2, "cache_unusable".to_owned()));
    assert!(stderr(&output).contains("keychain") && stderr(&output).contains("--cache-key file"));
}

#[test]
fn four_processes_share_a_file() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let cache = folder.path().join("tokens");
    let scopes =
        [VAULT, "https://graph.microsoft.com/.default", VAULT, "https://graph.microsoft.com/.default"];
    let spawn = |scope: &&str| {
        let mut command = command(&emulator, &cache, &["exchange", "--scope", scope, "-o", "json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for round in 0..5 {
        let children: Vec<Child> = scopes.iter().map(spawn).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert_eq!(json(&output)["tokenType"], "mtls_pop", "{round}");
        }
        let asked = asked(&emulator);
        assert!(if round == 0 { (4..=8).contains(&asked) } else { asked == 0 }, "{round}: {asked}");
    }
}

/// A process is killed at a random time of its run. The next process uses or replaces the file.
#[test]
fn killed_at_any_moment_the_file_is_used_or_replaced() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let cache = folder.path().join("tokens");
    let mut killed = 0;
    for round in 0..60_u64 {
        if round % 2 == 0 {
            let _ = fs::remove_file(cache.join("tokens.sealed"));
        }
        if round % 6 == 0 {
            let _ = fs::remove_file(cache.join("tokens.key"));
        }
        let mut child =
            exchange(&emulator, &cache).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The test is about the time of the kill, so this wait is only a timer.
        let (_never, at) = mpsc::channel::<()>();
        let _ = at.recv_timeout(Duration::from_millis(round));
        if child.try_wait().unwrap().is_none() {
            signal(&child, Signal::KILL);
        }
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            None => killed += 1,
            code => assert_eq!(code, Some(0), "{round}: {}", stderr(&output)),
        }
        if round % 5 == 4 {
            json(&exchange(&emulator, &cache).output().unwrap());
            asked(&emulator);
            assert_eq!(json(&exchange(&emulator, &cache).output().unwrap())["fromCache"], true, "{round}");
            assert_eq!(asked(&emulator), 0);
        }
    }
    assert!(killed > 10, "{killed} were killed in time");
}
