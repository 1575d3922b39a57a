//! The machine's key and certificates in a folder that several processes share, and in which processes are killed.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Emulator, VAULT, certbound, json, refusal, signal};

fn token(emulator: &Emulator, state: &Path) -> Command {
    let mut command = certbound();
    command.env("HTTPS_PROXY", emulator.text("proxy")).env("SSL_CERT_FILE", emulator.text("ca"));
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.text("imds"));
    command.env("CERTBOUND_MACHINE_STATE", state);
    command.args(["token", "--managed-identity", "system", "--scope", VAULT, "-o", "json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Returns the number of certificates that the machine has issued since the last call.
fn issued(emulator: &Emulator) -> usize {
    emulator
        .journal()
        .iter()
        .filter(|entry| entry["path"].as_str().unwrap().ends_with("/issuecredential"))
        .count()
}

#[test]
fn four_processes_make_one_certificate() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let state = folder.path().join("state");
    let children: Vec<Child> = (0..4).map(|_| token(&emulator, &state).spawn().unwrap()).collect();
    let certificates: Vec<_> = children
        .into_iter()
        .map(|child| json(&child.wait_with_output().unwrap())["bindingCertificate"].clone())
        .collect();
    assert!(certificates.windows(2).all(|pair| pair[0] == pair[1]), "{certificates:?}");
    assert_eq!(issued(&emulator), 1);
    // The flag has the same effect as the variable, and a folder that other users can read is refused.
    let by_flag = |path: &str| {
        let mut command = token(&emulator, &state);
        command.env_remove("CERTBOUND_MACHINE_STATE").args(["--machine-state", path]).output().unwrap()
    };
    json(&by_flag(state.to_str().unwrap()));
    assert_eq!(issued(&emulator), 0);
    assert_eq!(refusal(&by_flag("/proc")), (2, "state_directory_unusable".to_owned()));
}

/// Kills the process after this time. Returns `None` if it was killed, and otherwise the type of its token.
fn kill_at(mut child: Child, moment: Duration) -> Option<String> {
    // The test is about the time of the kill, so this wait is only a timer.
    let (_never, at) = mpsc::channel::<()>();
    let _ = at.recv_timeout(moment);
    if child.try_wait().unwrap().is_none() {
        signal(&child, Signal::KILL);
    }
    let output = child.wait_with_output().unwrap();
    match output.status.code() {
        None => None,
        Some(0) => Some(json(&output)["tokenType"].as_str().unwrap().to_owned()),
        Some(code) => panic!("exit {code}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Kills 200 processes, each at a random time between its start and well after its usual end. Each process starts with
/// the files of the killed process. Some processes run to their end. In some rounds the test removes the certificate
/// or the key, so that the process must create and store it again.
#[test]
#[expect(clippy::disallowed_methods, reason = "the moments are chosen from how long a process takes here")]
fn killed_at_any_moment_the_state_is_used_or_replaced() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let state = folder.path().join("state");
    let began = Instant::now();
    json(&token(&emulator, &state).output().unwrap());
    // The duration is measured again every ten rounds, because the first process may have run while the machine was
    // busy.
    let mut takes = began.elapsed();
    let (mut killed, mut ended) = (0, 0);
    for round in 0..200_u32 {
        let taken_away = match round % 4 {
            0 => "",
            1 => "software-key",
            _ => "certificate",
        };
        if !taken_away.is_empty() {
            let files = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap());
            for file in files.filter(|file| file.file_name().to_str().unwrap().starts_with(taken_away)) {
                let _ = fs::remove_file(file.path());
            }
        }
        let moment = takes.mul_f64(random());
        match kill_at(token(&emulator, &state).spawn().unwrap(), moment) {
            None => killed += 1,
            Some(kind) => {
                assert_eq!(kind, "mtls_pop");
                ended += 1;
            }
        }
        if round % 10 == 9 {
            let began = Instant::now();
            let output = token(&emulator, &state).output().unwrap();
            takes = began.elapsed();
            assert_eq!(json(&output)["tokenType"], "mtls_pop", "round {round}");
            issued(&emulator);
            json(&token(&emulator, &state).output().unwrap());
            assert_eq!(issued(&emulator), 0, "round {round}: its files are used");
        }
    }
    assert_eq!(killed + ended, 200);
    assert!(killed > 50, "{killed} were killed in time, {ended} ended");
}

/// Returns a random number from 0 to 1.
fn random() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};

    f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX)
}
