//! The completion scripts and the manual pages.

use std::process::{Command, Stdio};

use crate::support::{offline, stderr, stdout};

const COMMANDS: [&str; 14] = [
    "demo",
    "token",
    "assertion",
    "exchange",
    "call",
    "endpoint",
    "capabilities",
    "inspect",
    "verify",
    "health",
    "emulator",
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
