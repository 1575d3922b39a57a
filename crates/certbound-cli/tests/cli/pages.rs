//! The completion scripts and the manual pages.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{offline, stderr, stdout};

const COMMANDS: [&str; 17] = [
    "demo",
    "token",
    "assertion",
    "exchange",
    "call",
    "doctor",
    "endpoint",
    "capabilities",
    "inspect",
    "verify",
    "health",
    "explain",
    "emulator",
    "keys",
    "config",
    "completions",
    "man",
];

#[test]
fn each_shell_has_a_script_that_names_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = offline(&["completions", shell]);
        assert!(output.status.success(), "{}", stderr(&output));
        let script = stdout(&output);
        for command in COMMANDS {
            let mut words = script.split(|c: char| !c.is_ascii_alphanumeric());
            assert!(words.any(|word| word == command), "{shell}: {command}");
        }
        if shell == "bash" {
            let mut bash = Command::new("bash");
            let check = bash.args(["-n", "-c", &script]).stdout(Stdio::null()).status();
            assert!(check.unwrap().success());
        }
    }
    assert_eq!(offline(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn the_manual_has_one_page_for_each_command() {
    let page = stdout(&offline(&["man"]));
    assert!(page.contains(".SH SUBCOMMANDS") && page.contains("Exit codes: 0 done"), "{page}");
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("share/man/man1");
    let output = offline(&["man", pages.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    for command in COMMANDS {
        let page = std::fs::read_to_string(pages.join(format!("certbound-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{command}: {page}");
    }
    // A file is in the place of the directory.
    let output = offline(&["man", "-o", "json", pages.join("certbound.1").to_str().unwrap()]);
    assert_eq!(crate::support::refusal(&output), (2, "system_error".to_owned()));
}

/// The files of `packaging/` start a command with flags and variables. A renamed flag must not leave them behind.
#[test]
fn the_help_has_each_flag_and_variable_of_the_packaged_files() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    for (file, command, names) in [
        ("systemd/certbound-verify.service", ["verify", "--help"].as_slice(), 2),
        ("systemd/verify.env", &["verify", "--help"], 7),
        ("systemd/certbound-emulator.service", &["emulator", "start", "--help"], 4),
        ("kubernetes/verifier-sidecar.yaml", &["verify", "--help"], 8),
        ("kubernetes/emulator.yaml", &["emulator", "start", "--help"], 4),
    ] {
        let help = stdout(&offline(command));
        let known: BTreeSet<&str> = names_in(&help).collect();
        let text = std::fs::read_to_string(packaging.join(file)).unwrap();
        let used: BTreeSet<&str> = names_in(&text).collect();
        assert!(used.len() >= names, "{file}: {used:?}");
        let unknown: Vec<&&str> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: {command:?} has no {unknown:?}");
    }
}

/// Returns the flags (`--serve`) and the variables (`CERTBOUND_AUDIENCE`) in a text.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).filter(|word| {
        word.strip_prefix("--").is_some_and(|flag| flag.starts_with(|c: char| c.is_ascii_lowercase()))
            || word.starts_with("CERTBOUND_")
            || word.starts_with("AZURE_")
    })
}
