//! What people see on a terminal: each line fits, and no word is broken.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use crate::hsm::Hsm;
use crate::support::{APP, Emulator, TENANT, VAULT, certbound, file, offline, stderr, stdout, text};

/// The columns of a terminal on which no line of these commands has to be broken.
const WIDE: usize = 1000;

/// The commands whose output is read by another program, so it has no width.
const FOR_PROGRAMS: [&str; 2] = ["completions", "man"];

/// A command line with its exit code.
struct Shown {
    line: String,
    exit: i32,
}

fn shown(line: impl Into<String>, exit: i32) -> Shown {
    Shown { line: line.into(), exit }
}

/// Runs a command line on a terminal with these columns and 20 rows, checks its exit code, and returns the screen without
/// colours.
#[track_caller]
fn screen(environment: &Command, columns: usize, Shown { line, exit }: &Shown) -> String {
    let line = format!("stty cols {columns} rows 20; {} {line}", env!("CARGO_BIN_EXE_certbound"));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).env_clear();
    script.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = script.env("TERM", "xterm").output().unwrap();
    let screen = without_controls(&stdout(&output));
    assert_eq!(output.status.code(), Some(*exit), "{line}\n{screen}");
    screen
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
    assert!(!screen.trim().is_empty(), "the screen is empty");
    for line in screen.lines() {
        // A word is never cut. clap does not break the line of the usage.
        let is_whole = !line.trim().contains(' ') || line.starts_with("Usage: certbound ");
        assert!(line.chars().count() <= columns || is_whole, "at {columns} columns: {line}\n{screen}");
    }
}

/// Returns the words of a screen. Numbers and random values differ in each run, so the words do not contain them.
fn words(screen: &str) -> BTreeSet<String> {
    let stable = |word: &str| {
        // A thumbprint in base64url can begin or end with a hyphen or an underscore.
        let is_thumbprint = word.trim_matches(|c: char| "()[]{},.;:'\"`".contains(c)).len() == 43;
        let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let is_uuid = word.len() == 36 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        // A hash, a thumbprint, or the start and the end of one.
        let is_hash = word.starts_with("sha256:") || is_thumbprint || word.contains('\u{2026}');
        (!word.is_empty() && !is_uuid && !is_hash).then(|| without_numbers(&word))
    };
    screen.split_whitespace().filter_map(stable).collect()
}

/// Writes one zero in the place of each number.
fn without_numbers(word: &str) -> String {
    let mut word: Vec<char> = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    word.dedup_by(|next, c| *next == '0' && *c == '0');
    word.into_iter().collect()
}

/// Asserts that no word is cut: each word is also a word of the screen whose lines are not broken.
#[track_caller]
fn assert_words_are_whole(screen: &str, columns: usize, wide: &BTreeSet<String>) {
    let words = words(screen);
    let cut: Vec<&String> = words.difference(wide).collect();
    assert!(cut.is_empty(), "at {columns} columns these are no words: {cut:?}\n{screen}");
}

/// Returns the names of the commands, as the help lists them.
fn commands() -> BTreeSet<String> {
    let help = stdout(&offline(&["--help"]));
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    // A line that continues a description has a deeper indentation.
    let names = list.lines().filter(|line| !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn every_screen_fits_at_60_80_and_120_columns_and_no_word_is_cut() {
    let (emulator, folder, hsm) = (Emulator::start(), tempfile::tempdir().unwrap(), Hsm::new());
    hsm.import(&emulator);
    let mut environment = hsm.with(emulator.certbound());
    environment.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.text("imds"));
    let certificate = emulator.certificate();
    let flow =
        format!("--leg1-certificate {certificate} --client-id {APP} --tenant {TENANT} --region westus3");
    let made = ["exchange", "--leg1-certificate", certificate, "--scope", VAULT, "-o", "raw"];
    let token = file(&folder, "token.jwt", stdout(&emulator.run(&made)));
    let token = text(&token);
    let keys = hsm.uri("token=app");
    let verify =
        format!("verify --tenant {TENANT} --require-role Secrets.Read --certificate {certificate} -");
    let secret = "https://demo.vault.azure.net/secrets";
    let mut lines = vec![
        shown(format!("exchange {flow} --scope {VAULT} --report"), 0),
        shown(format!("exchange {flow} --scope {VAULT} --dry-run"), 0),
        shown(format!("exchange {flow} --scope {VAULT} --trace -v"), 0),
        shown(format!("exchange {flow} --scope https://nothing.example/.default"), 1),
        shown("exchange --leg1-certificate /no/such/file --scope a/.default", 2),
        shown(format!("exchange {flow}"), 2),
        shown(format!("assertion --certificate {certificate} --client-id {APP} --tenant {TENANT}"), 0),
        shown(format!("token --managed-identity system --scope {VAULT}"), 0),
        shown(format!("token --managed-identity nobody --scope {VAULT}"), 2),
        // The body of an answer is printed as the resource sent it, so only these two have a width.
        shown(format!("call {flow} {secret}/demo --dry-run"), 0),
        shown(format!("call {flow} https://nothing.example/"), 2),
        shown(format!("doctor {flow} --scope {VAULT} --resource-url {secret}/demo"), 0),
        shown(format!("doctor {flow} --scope https://nothing.example/.default"), 1),
        shown(format!("inspect --certificate {certificate} - < {token}"), 0),
        shown(format!("{verify} --audience https://vault.azure.net < {token}"), 0),
        shown(format!("{verify} --audience https://elsewhere.example < {token}"), 1),
        shown(format!("config show --origin -- exchange {flow} --scope {VAULT}"), 0),
        // `config check` prints each problem on one line, as compilers do, so only its own errors have a width.
        shown("config check /no/such/file", 2),
        shown("capabilities", 0),
        shown(
            format!(
                "endpoint --mtls --region westus3 --authority https://login.microsoftonline.com/{TENANT}"
            ),
            0,
        ),
        shown("explain AADSTS700027", 0),
        shown("explain --list", 0),
        shown("demo", 0),
        shown("demo --all", 0),
        shown("health 127.0.0.1:9", 3),
        shown("emulator start --world /no/such/file", 2),
        shown(format!("keys list '{keys}'"), 0),
        shown("keys list 'pkcs11:?module-path=/no/such/file'", 2),
        shown("--help", 0),
    ];
    let commands = commands();
    let first = |line: &Shown| line.line.split(' ').next().unwrap_or_default().to_owned();
    let with_screen: BTreeSet<String> = lines.iter().map(first).collect();
    let is_left = |name: &&String| !with_screen.contains(*name) && !FOR_PROGRAMS.contains(&name.as_str());
    let left: Vec<&String> = commands.iter().filter(is_left).collect();
    assert_eq!(left, ["help"], "each command has a screen in this test");
    for command in &commands {
        let help = if command == "help" { "help" } else { "--help" };
        let command = command.trim_start_matches("help");
        lines.push(shown(format!("{command} {help}"), 0));
    }
    for line in &lines {
        let wide = words(&screen(&environment, WIDE, line));
        for columns in [60, 80, 120] {
            let screen = screen(&environment, columns, line);
            assert_fits(&screen, columns);
            assert_words_are_whole(&screen, columns, &wide);
        }
    }
}

#[test]
#[should_panic(expected = "these are no words: [\"wo\"]")]
fn a_word_that_is_cut_is_seen() {
    assert_words_are_whole("two wo\nrds", 6, &words("two words rds"));
}

/// A long word is not cut, so that it can be copied from the screen.
#[test]
fn a_url_that_is_longer_than_the_line_is_whole_and_alone() {
    let emulator = Emulator::start();
    let line = format!("exchange --leg1-certificate {} --scope {VAULT}", emulator.certificate());
    let screen = screen(&emulator.certbound(), 80, &shown(line, 0));
    let url = format!("https://westus3.mtlsauth.microsoft.com/{TENANT}/oauth2/v2.0/token");
    assert!(screen.contains(&format!("\nendpoint\n  {url}\nregion ")), "{screen}");
}

#[test]
fn a_pipe_has_80_columns_and_no_colours() {
    let emulator = Emulator::start();
    let line = ["exchange", "--leg1-certificate", emulator.certificate(), "--scope", VAULT, "-o", "table"];
    let output = emulator.run(&[&line[..], &["--report"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_fits(&stdout(&output), 80);
    let output = certbound().args(["demo", "--all", "-o", "table"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let all = stdout(&output);
    assert_fits(&all, 80);
    assert!(!all.contains('\u{1b}'));
}
