//! `DefaultAzureCredential` of the Azure SDKs for Python and Node finds the machine's own identity: in an isolated run, at
//! the real address of the metadata service in a network of its own, and by the variable of `emulator run`.

use std::process::{Command, Output};

use serde_json::json;

use super::{node, python};
use crate::support::{certbound, json as printed, stderr, stdout, text};

const SYSTEM: &str = "f27b94a3-0e5c-4d18-b6a9-3c81d50e7f42";

/// Runs an emulator with its metadata service at the real address, and then the arguments as a command. The first
/// argument is the program of the emulator. The variables say nothing about the metadata service.
const AT_THE_REAL_ADDRESS: &str = r#"
ip link set lo up
ip addr add 169.254.169.254/32 dev lo
program=$1
shift
mkfifo ready
"$program" emulator start --state "$PWD/state" --imds-listen 169.254.169.254:80 > ready &
emulator=$!
read -r line < ready
echo "$line" >&2
# The SDK for Node would send requests to http:// addresses to this proxy too.
export NO_PROXY=169.254.169.254
export HTTPS_PROXY=$(expr "$line" : '.*"proxy":"\([^"]*\)"')
for name in SSL_CERT_FILE REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS; do export "$name=$PWD/state/ca.pem"; done
code=0
"$@" || code=$?
kill "$emulator"
wait "$emulator"
exit "$code"
"#;

/// Runs a shell script as root of a network of its own, in an empty folder.
fn in_own_network(script: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.env_clear().envs(certbound().get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(["-Urn", "sh", "-ec", script, "sh", env!("CARGO_BIN_EXE_certbound")]).args(arguments);
    command.current_dir(folder.path()).output().unwrap()
}

fn owner(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", stderr(output));
    printed(output)
}

/// Runs a command in each of the three ways.
fn finds_the_machine(command: &[&str]) {
    let run = |flags: &[&str]| {
        certbound().args(["emulator", "run"]).args(flags).arg("--").args(command).output().unwrap()
    };
    let expected = json!({ "owner": SYSTEM });
    assert_eq!(owner(&run(&["--isolated"])), expected);
    assert_eq!(owner(&run(&[])), expected);
    assert_eq!(owner(&in_own_network(AT_THE_REAL_ADDRESS, command)), expected);
}

#[test]
fn python_finds_the_machine() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/strangers/default_credential.py");
    finds_the_machine(&[text(&python::interpreter()), script]);
}

#[test]
fn node_finds_the_machine() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/strangers/default_credential.mjs");
    finds_the_machine(&[text(&node::interpreter()), script, text(&node::packages())]);
}

#[test]
fn certbound_finds_it_at_the_real_address_too_and_the_ready_line_says_so() {
    let program = env!("CARGO_BIN_EXE_certbound");
    let command = [program, "capabilities", "-o", "table"];
    let output = in_own_network(AT_THE_REAL_ADDRESS, &command);
    assert!(
        stdout(&output).starts_with("identity  system\nsource    imds, version 2\n"),
        "{}",
        stderr(&output)
    );
    let told = stderr(&output);
    let ready: serde_json::Value =
        serde_json::from_str(told.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
    assert_eq!(
        (&ready["imds"], &ready["imds_at_real_address"]),
        (&json!("http://169.254.169.254:80"), &json!(true))
    );
    assert!(told.contains("DefaultAzureCredential of .NET"), "{told}");
}

/// Packets that another machine sends to the address arrive at another interface than loopback.
#[test]
fn the_real_address_accepts_connections_through_loopback_only() {
    // A label names the address, not another interface.
    let script = AT_THE_REAL_ADDRESS.replace("dev lo", "dev lo label lo:imds");
    let output = in_own_network(&script, &["ss", "-Hltn", "sport = :80"]);
    let sockets = stdout(&output);
    assert!(sockets.contains(" 169.254.169.254%lo:80 "), "{sockets}{}", stderr(&output));
}

#[test]
fn the_real_address_must_be_on_loopback() {
    let start = r#""$1" emulator start -o json --imds-listen 169.254.169.254:80"#;
    let output = in_own_network(&format!("ip link set lo up\n{start}"), &[]);
    assert_eq!(crate::support::refusal(&output), (2, "metadata_address_missing".to_owned()));
}
