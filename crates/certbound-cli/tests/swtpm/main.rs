//! The command with the feature `tpm`, with keys in a software TPM that swtpm serves.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

#[expect(dead_code, reason = "the other tests of the command use the rest")]
#[path = "../cli/support.rs"]
mod support;
#[expect(dead_code, reason = "the tests of the crate use the rest")]
#[path = "../../../certbound-tpm/tests/swtpm/swtpm.rs"]
mod swtpm;

use std::fs;
use std::process::{Command, Output};

use self::support::{APP, Emulator, TENANT, VAULT, certbound, has_token, json, refusal, stderr, stdout};
use self::swtpm::Swtpm;

const HANDLE: &str = "tpm:0x81300001";

fn run(swtpm: &Swtpm, args: &[&str]) -> Output {
    certbound().env("TPM2TOOLS_TCTI", swtpm.address()).args(args).output().unwrap()
}

fn run_at(swtpm: &Swtpm, emulator: &Emulator, args: &[&str]) -> Output {
    let mut command = emulator.certbound();
    command.env("TPM2TOOLS_TCTI", swtpm.address());
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.text("imds"));
    command.args(args).output().unwrap()
}

/// Generates a key, and lets openssl issue a certificate for its request, as the CA of an application does.
fn certificate(swtpm: &Swtpm) -> String {
    let made = run(swtpm, &["keys", "generate", HANDLE, "-o", "json"]);
    assert_eq!(json(&made)["handle"], "0x81300001", "{}", stderr(&made));
    assert_eq!(json(&made)["extractable"], false);
    let request = run(swtpm, &["keys", "csr", HANDLE, "--subject", "CN=certbound-demo-app", "-o", "raw"]);
    fs::write(swtpm.path("app.csr"), &request.stdout).unwrap();
    let openssl = |args: &[&str]| {
        let done = Command::new("openssl").current_dir(swtpm.path("")).args(args).output().unwrap();
        assert!(done.status.success(), "{}", stderr(&done));
    };
    openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key"]);
    openssl(&["req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=a CA", "-days", "2", "-out", "ca.pem"]);
    fs::write(swtpm.path("usage"), "extendedKeyUsage=clientAuth\n").unwrap();
    let issue = ["x509", "-req", "-in", "app.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "1"];
    openssl(&[&issue[..], &["-set_serial", "1", "-extfile", "usage", "-out", "app.pem"]].concat());
    swtpm.path("app.pem").to_str().unwrap().to_owned()
}

#[test]
fn a_certificate_whose_key_is_in_the_tpm_gets_tokens_in_both_flows() {
    let swtpm = Swtpm::start();
    let pem = certificate(&swtpm);
    // The emulator trusts the CA for the subject of its application.
    let ca = fs::read_to_string(swtpm.path("ca.pem")).unwrap();
    let world = stdout(&certbound().args(["emulator", "world"]).output().unwrap());
    let (none, with_ca) = ("trusted_authorities = []", format!("trusted_authorities = [\"\"\"\n{ca}\"\"\"]"));
    assert!(world.contains(none), "{world}");
    fs::write(swtpm.path("world.toml"), world.replace(none, &with_ca)).unwrap();
    let emulator = Emulator::start_with(&["--world", swtpm.path("world.toml").to_str().unwrap()]);
    let two_legs = ["exchange", "--scope", VAULT, "-o", "json", "--leg1-certificate", &pem];
    let output = run_at(&swtpm, &emulator, &[&two_legs[..], &["--leg1-certificate-key", HANDLE]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let direct =
        ["token", "--scope", VAULT, "-o", "json", "--certificate", &pem, "--certificate-key", HANDLE];
    let output = run_at(&swtpm, &emulator, &direct);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let url = "https://demo.vault.azure.net/secrets/demo?api-version=7.4";
    let call = ["call", url, "--certificate", &pem, "--certificate-key", HANDLE];
    let output = run_at(&swtpm, &emulator, &call);
    assert!(stdout(&output).contains("\"value\""), "{}", stderr(&output));
    assert!(!has_token(&stderr(&output)));
}

#[test]
fn the_key_of_a_machine_stays_in_the_tpm_from_command_to_command() {
    let (swtpm, emulator) = (Swtpm::start(), Emulator::start());
    let state = swtpm.path("state");
    let state = state.to_str().unwrap();
    let token = |args: &[&str]| {
        let always = ["token", "--scope", VAULT, "--managed-identity", "system", "--machine-keys", "tpm"];
        run_at(&swtpm, &emulator, &[&always[..], &["-o", "json", "--machine-state", state], args].concat())
    };
    let thumbprint = |output: &Output| {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
        assert!(!stderr(output).contains("warning"), "{}", stderr(output));
        json(output)["bindingCertificate"]["x5tS256"].as_str().unwrap().to_owned()
    };
    let first = thumbprint(&token(&[]));
    assert_eq!(thumbprint(&token(&[])), first, "the next command uses the same certificate");
    let listed = run(&swtpm, &["keys", "list", "tpm", "-o", "table"]);
    assert_eq!(stdout(&listed), "0x8130cb01  RSA 2048  never leaves the TPM\n");
    for file in walk(swtpm.path("state")) {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        assert!(!text.contains("PRIVATE KEY"), "{}", file.display());
    }
    let can = run_at(&swtpm, &emulator, &["capabilities", "--machine-keys", "tpm", "-o", "json"]);
    assert_eq!(json(&can)["keyStrength"], "software", "swtpm says that it is software");
    assert_eq!(json(&can)["keysPersist"], true);
}

fn walk(folder: std::path::PathBuf) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(path) } else { vec![path] }).collect()
}

#[test]
fn mistakes_are_told_with_their_codes() {
    let swtpm = Swtpm::start();
    let pem = certificate(&swtpm);
    let key = |key: &str| {
        let known = ["--tenant", TENANT, "--client-id", APP, "--certificate", &pem, "--certificate-key", key];
        refusal(&run(&swtpm, &[&["token", "--scope", VAULT, "-o", "json"][..], &known].concat()))
    };
    assert_eq!(key("tpm:0x81300009"), (2, "tpm_key_not_found".to_owned()));
    assert_eq!(key("tpm:81300001"), (2, "tpm_handle_invalid".to_owned()));
    assert_eq!(key("tpm:"), (2, "tpm_handle_invalid".to_owned()));
    let other = run(&swtpm, &["keys", "generate", "tpm:0x81300002", "-o", "json"]);
    assert_eq!(other.status.code(), Some(0), "{}", stderr(&other));
    assert_eq!(key("tpm:0x81300002"), (2, "certificate_key_mismatch".to_owned()));
    for (args, code) in [
        (vec!["keys", "generate", HANDLE], "tpm_key_unusable"),
        (vec!["keys", "generate", "tpm"], "tpm_handle_invalid"),
        (vec!["keys", "csr", HANDLE, "--subject", "nothing"], "tpm_subject_invalid"),
        (vec!["keys", "list", "tpm:key"], "tpm_handle_invalid"),
    ] {
        let output = run(&swtpm, &[&args[..], &["-o", "json"]].concat());
        assert_eq!(refusal(&output), (2, code.to_owned()), "{args:?}");
    }
    let nowhere =
        certbound().env("TPM2TOOLS_TCTI", "device:/dev/no-such-tpm").args(["keys", "list", "tpm"]).output();
    let said = stderr(&nowhere.unwrap());
    assert!(said.contains("tpm_unavailable") && said.contains("/dev/no-such-tpm"), "{said}");
    let config = swtpm.path("certbound.toml");
    fs::write(&config, "certificate = \"tpm:0x81300001\"\nmachine-keys = \"tpm:1\"\n").unwrap();
    let checked = stdout(&run(&swtpm, &["config", "check", config.to_str().unwrap(), "-o", "table"]));
    assert!(checked.contains("stores keys and no certificates"), "{checked}");
    assert!(checked.contains("`1` is not a persistent handle"), "{checked}");
}
