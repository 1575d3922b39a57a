//! `emulator run --isolated`: a network namespace in which the real names lead to the emulator.

use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};

use rustix::process::Signal;

use crate::support::{certbound, signal, stderr, stdout};

fn isolated(script: &str) -> Output {
    certbound().args(["emulator", "run", "--isolated", "--", "sh", "-c", script]).output().unwrap()
}

fn said(script: &str) -> String {
    let output = isolated(script);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn the_real_names_lead_to_the_emulator_and_no_other_name_leads_anywhere() {
    let curl = |url: &str| format!("curl -sS -o /dev/null -w '%{{http_code}} ' {url};");
    let all = [
        "https://login.microsoftonline.com/common/discovery/instance",
        "https://westus3.mtlsauth.microsoft.com/x",
        "https://graph.microsoft.com/v1.0/applications",
        "https://any-vault-at-all.vault.azure.net/secrets/x",
    ];
    assert_eq!(said(&all.map(curl).concat()), "400 404 401 401 ");
    let elsewhere = said("curl -sS https://www.example.com 2>&1; curl -sS https://192.0.2.1 2>&1; true");
    assert!(elsewhere.contains("Could not resolve host") && !elsewhere.contains("HTTP/"), "{elsewhere}");
}

#[test]
fn it_binds_tokens_there_as_elsewhere() {
    let program = env!("CARGO_BIN_EXE_certbound");
    let call = format!(
        "{program} call https://demo.vault.azure.net/secrets/demo --tenant bea21ebe-8b64-4d06-9f6d-6a889b120a7c \
         --client-id 163ffef9-a313-45b4-ab2f-c7e2f5e0e23e --leg1-certificate $CERTBOUND_EMULATOR_CERTIFICATE -i | head -1"
    );
    assert!(said(&call).contains("200"), "{}", said(&call));
}

#[test]
fn the_command_is_its_callers_and_its_code_comes_back() {
    let own = std::process::Command::new("id").arg("-u").output().unwrap();
    assert_eq!(said("id -u"), stdout(&own));
    assert_eq!(said("env | cut -d= -f1 | grep -i -E 'https_proxy|INSIDE|ISOLATED' || echo none"), "none\n");
    let mut given = certbound();
    for name in ["HTTPS_PROXY", "ALL_PROXY", "NODE_USE_ENV_PROXY", "AZURE_POD_IDENTITY_AUTHORITY_HOST"] {
        given.env(name, "http://elsewhere.example");
    }
    let output = given.args(["emulator", "run", "--isolated", "--", "env"]).output().unwrap();
    assert!(!stdout(&output).contains("elsewhere"), "{}", stdout(&output));
    assert_eq!(isolated("exit 7").status.code(), Some(7));
    assert_eq!(isolated("kill -TERM $$").status.code(), Some(128 + 15));
    let missing =
        certbound().args(["emulator", "run", "--isolated", "--", "no-such-program"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
    // The files that were replaced inside are unchanged outside.
    assert!(!std::fs::read_to_string("/etc/hosts").unwrap().contains("mtlsauth"));
}

/// Runs as a user who is not root, even if root runs the tests.
#[test]
fn a_user_without_rights_stays_one() {
    let mut command = std::process::Command::new("unshare");
    command.args(["-U", "--map-user=4321", "--map-group=4322", env!("CARGO_BIN_EXE_certbound")]);
    let script = "id -u; id -g; grep CapEff /proc/self/status; head -1 $CERTBOUND_EMULATOR_CERTIFICATE";
    let output = command.args(["emulator", "run", "--isolated", "--", "sh", "-c", script]).output().unwrap();
    let expected = "4321\n4322\nCapEff:\t0000000000000000\n-----BEGIN CERTIFICATE-----\n";
    assert_eq!(stdout(&output), expected, "{}", stderr(&output));
}

#[test]
fn signals_reach_the_command() {
    for (with, code) in [(Signal::TERM, 7), (Signal::INT, 9), (Signal::USR1, 11)] {
        let script = "trap 'exit 7' TERM; trap 'exit 9' INT; trap 'exit 11' USR1; echo ready; while :; do sleep 0.05; done";
        let mut command = certbound();
        command.args(["emulator", "run", "--isolated", "--", "sh", "-c", script]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        signal(&child, with);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{with:?}");
    }
}

#[test]
fn the_metadata_service_has_its_real_address() {
    let url = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01";
    let curl = format!("curl -sS -H Metadata:true '{url}&resource=https://vault.azure.net'");
    let answer: serde_json::Value = serde_json::from_str(&said(&curl)).unwrap();
    assert_eq!(answer["token_type"], "Bearer", "{answer}");
}

/// Returns the output of a script that runs as root in namespaces which end with the test.
fn on_a_throwaway_machine(script: &str) -> String {
    let mut command = std::process::Command::new("unshare");
    let output = command.args(["-Urnm", "sh", "-c", script]).output().unwrap();
    stdout(&output) + &stderr(&output)
}

#[test]
fn names_are_found_on_machines_that_look_them_up_in_other_ways() {
    let program = env!("CARGO_BIN_EXE_certbound");
    let curl = "curl -sS -o /dev/null -w '%{http_code}' https://westus3.mtlsauth.microsoft.com/x";
    // Three machines: without `resolv.conf`, with a broken link in its place, and with a local service that programs
    // query first.
    for machine in [
        "true",
        "ln -s /run/no/such/file /etc/resolv.conf",
        "echo 'hosts: files resolve [!UNAVAIL=return] dns' > /etc/nsswitch.conf",
    ] {
        let run = format!(
            "{program} emulator run --isolated -- sh -c \"grep -s hosts: /etc/nsswitch.conf; {curl}\""
        );
        let script =
            format!("mount -t tmpfs none /etc; echo 127.0.0.1 localhost > /etc/hosts; {machine}; {run}");
        let said = on_a_throwaway_machine(&script);
        assert!(said.contains("404") && !said.contains("resolve ["), "{machine}: {said}");
    }
}

/// If the command believed the variable and ran as root, it would hide the machine's own files. The test therefore runs
/// in namespaces of its own.
#[test]
fn a_variable_alone_makes_nobody_believe_to_be_inside() {
    let program = env!("CARGO_BIN_EXE_certbound");
    let here = "$(readlink /proc/self/ns/mnt),$(readlink /proc/self/ns/net)";
    // The values include names of other namespaces, which an earlier version accepted.
    for value in ["true", "0:0", &format!("0:0:{here}"), "'0:0:mnt:[1],net:[2]'"] {
        let run =
            format!("CERTBOUND_EMULATOR_INSIDE={value} {program} emulator run --isolated -o json -- true");
        let script = format!("{run} 2>&1 | grep -o not_isolated; grep -c mtlsauth /etc/hosts");
        assert_eq!(on_a_throwaway_machine(&script), "not_isolated\n0\n", "{value}");
    }
    // New mounts are not sufficient: the network is still that of the machine.
    let inside = "CERTBOUND_EMULATOR_INSIDE=true";
    let run = format!("exec {program} emulator run --isolated -o json -- true");
    let mut command = std::process::Command::new("unshare");
    let output = command.args(["-Urm", "sh", "-c", &format!("{inside} {run}")]).output().unwrap();
    assert_eq!(crate::support::refusal(&output), (125, "not_isolated".to_owned()));
    // The kernel's facts are sufficient. It does not matter which program created the namespaces.
    let mut command = std::process::Command::new("unshare");
    let output = command.args(["-Urnm", "sh", "-c", &format!("{inside} {run}")]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn where_it_cannot_be_had_the_reason_and_the_way_out_are_told() {
    // First PATH has no `unshare`. Then PATH has an `unshare` that fails.
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = certbound();
        command
            .args(["emulator", "run", "-o", "json", "--isolated", "--", "true"])
            .env("PATH", folder.path());
        crate::support::refusal(&command.output().unwrap())
    };
    assert_eq!(run(), (125, "unshare_missing".to_owned()));
    let unshare = folder.path().join("unshare");
    std::fs::write(&unshare, "#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
        .unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&unshare, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(run(), (125, "namespaces_forbidden".to_owned()));
    // The machine's own refusal, after its limit of namespaces is used up.
    let limit = "echo 0 > /proc/sys/user/max_user_namespaces";
    let run = format!("{} emulator run --isolated -- true; echo $?", env!("CARGO_BIN_EXE_certbound"));
    let said = on_a_throwaway_machine(&format!("{limit}; {run}"));
    assert!(said.starts_with("125\n") && said.contains("user.max_user_namespaces"), "{said}");
}
