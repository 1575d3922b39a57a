//! What people see on a terminal: each line fits, and no word is broken.

use std::process::{Command, Stdio};

use crate::support::{APP, Emulator, TENANT, VAULT, certbound, file, stdout, text};

/// Runs a command line on a terminal with these columns and 20 rows, and returns the screen without colours.
fn screen(emulator: &Emulator, columns: usize, line: &str) -> String {
    let line = format!("stty cols {columns} rows 20; {} {line}", env!("CARGO_BIN_EXE_certbound"));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).env_clear();
    let command = emulator.certbound();
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = script.env("TERM", "xterm").output().unwrap();
    without_controls(&stdout(&output))
}

/// Removes the sequences that colour a text or erase a line. A line that was redrawn is the last one that was drawn.
fn without_controls(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    let drawn = |line: &str| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
    plain.lines().map(drawn).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn assert_fits(screen: &str, columns: usize) {
    assert!(screen.lines().count() > 1, "{screen}");
    for line in screen.lines() {
        let is_word = !line.trim().contains(' ');
        assert!(line.chars().count() <= columns || is_word, "at {columns} columns: {line}\n{screen}");
    }
}

#[test]
fn every_screen_fits_at_60_80_and_120_columns() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let certificate = emulator.certificate();
    let flow =
        format!("--leg1-certificate {certificate} --client-id {APP} --tenant {TENANT} --region westus3");
    let made = ["exchange", "--leg1-certificate", certificate, "--scope", VAULT, "-o", "raw"];
    let token = file(&folder, "token.jwt", stdout(&emulator.run(&made)));
    let token = text(&token);
    let verify =
        format!("verify --tenant {TENANT} --require-role Secrets.Read --certificate {certificate} -");
    let lines = [
        format!("exchange {flow} --scope {VAULT} --report"),
        format!("exchange {flow} --scope {VAULT} --dry-run"),
        format!("exchange {flow} --scope {VAULT} --trace -v"),
        format!("exchange {flow} --scope https://nothing.example/.default"),
        "exchange --leg1-certificate /no/such/file --scope a/.default".to_owned(),
        format!("exchange {flow}"),
        format!("assertion --certificate {certificate} --client-id {APP} --tenant {TENANT}"),
        format!("token --managed-identity system --scope {VAULT}"),
        format!("doctor {flow} --scope {VAULT} --resource-url https://demo.vault.azure.net/secrets/demo"),
        format!("doctor {flow} --scope https://nothing.example/.default"),
        format!("inspect --certificate {certificate} - < {token}"),
        format!("{verify} --audience https://vault.azure.net < {token}"),
        format!("{verify} --audience https://elsewhere.example < {token}"),
        format!("config show --origin -- exchange {flow} --scope {VAULT}"),
        "capabilities".to_owned(),
        format!("endpoint --mtls --region westus3 --authority https://login.microsoftonline.com/{TENANT}"),
        "explain AADSTS700027".to_owned(),
        "explain --list".to_owned(),
        "demo".to_owned(),
        "demo --all".to_owned(),
    ];
    for columns in [60, 80, 120] {
        for line in &lines {
            assert_fits(&screen(&emulator, columns, line), columns);
        }
    }
}

/// A long word is not cut, so that it can be copied from the screen.
#[test]
fn a_url_that_is_longer_than_the_line_is_whole_and_alone() {
    let emulator = Emulator::start();
    let line = format!("exchange --leg1-certificate {} --scope {VAULT}", emulator.certificate());
    let screen = screen(&emulator, 80, &line);
    let url = format!("https://westus3.mtlsauth.microsoft.com/{TENANT}/oauth2/v2.0/token");
    assert!(screen.contains(&format!("\nendpoint\n  {url}\nregion ")), "{screen}");
}

#[test]
fn a_pipe_has_80_columns_and_no_colours() {
    let emulator = Emulator::start();
    let line = ["exchange", "--leg1-certificate", emulator.certificate(), "--scope", VAULT, "-o", "table"];
    let output = emulator.run(&[&line[..], &["--report"]].concat());
    assert_fits(&stdout(&output), 80);
    let all = stdout(&certbound().args(["demo", "--all", "-o", "table"]).output().unwrap());
    assert_fits(&all, 80);
    assert!(!all.contains('\u{1b}'));
}
