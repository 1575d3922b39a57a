//! The help of each command: its length, its groups, and its examples.

use std::ffi::OsString;

use clap::error::ErrorKind;

use super::super::*;

/// The largest number of lines of `-h`.
const SCREEN: usize = 40;

/// Returns the path of each command, such as `emulator start`. The path of `certbound` itself is empty.
fn paths() -> Vec<String> {
    fn walk(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        for next in command.get_subcommands() {
            let path = format!("{path} {}", next.get_name()).trim().to_owned();
            found.push(path.clone());
            walk(next, &path, found);
        }
    }
    let mut found = vec![String::new()];
    walk(&Cli::command(), "", &mut found);
    found
}

/// Returns the help of a command on a terminal with this number of columns.
fn help(path: &str, flag: &str, columns: usize) -> String {
    let args = ["certbound"].into_iter().chain(path.split_whitespace()).chain([flag]).map(OsString::from);
    let args: Vec<OsString> = args.collect();
    let command = flags::settle(Cli::command().term_width(columns), &args);
    command.try_get_matches_from(args).unwrap_err().to_string()
}

/// `-h` prints the usual flags in their groups. The text fits on one screen of 80 columns.
#[test]
fn each_short_help_is_one_screen() {
    assert!(paths().len() > 20, "{:?}", paths());
    for path in paths() {
        let short = help(&path, "-h", 80);
        let lines = short.lines().count();
        assert!(lines <= SCREEN, "{path}: {lines} lines: {short}");
        assert!(short.lines().all(|line| line.chars().count() <= 80), "{short}");
        assert!(short.contains("`--help` explains these flags"), "{short}");
        assert!(!short.contains("[env:"), "{short}");
        assert!(help(&path, "--help", 80).lines().count() > lines, "{path}");
    }
}

/// A description that needs a second line would make the table of commands and flags hard to read.
#[test]
fn each_command_and_flag_of_the_short_help_has_one_line() {
    for path in paths() {
        let short = help(&path, "-h", 80);
        let (_, table) = short.split_once("Usage:").unwrap();
        let table = table.rsplit_once("\n\n").unwrap().0;
        for line in table.lines().filter(|line| line.starts_with("        ")) {
            assert!(line.trim_start().starts_with("--"), "{path}: {line}: {short}");
        }
    }
}

#[test]
fn the_flags_of_a_long_help_are_in_groups_in_the_order_of_the_flow() {
    let flow = ["Leg 1:", "Application:", "Certificate:", "Requests:", "Kind of token:"];
    for (path, groups) in [
        ("exchange", &flow[..]),
        ("call", &["Leg 1:", "Application:", "Certificate:", "Kind of token:"]),
        ("doctor", &["Doctor:", "Leg 1:", "Application:", "Certificate:", "Requests:", "Kind of token:"]),
        ("token", &["Application:", "Certificate:", "Managed identity:", "Requests:", "Kind of token:"]),
        ("verify", &["Issuer:", "Audience and caller:", "Request:", "Server:"]),
    ] {
        for flag in ["-h", "--help"] {
            let text = help(path, flag, 80);
            let places: Vec<_> = groups.iter().map(|group| text.find(&format!("\n{group}\n"))).collect();
            assert!(
                places.iter().all(Option::is_some) && places.is_sorted(),
                "{path} {flag}: {places:?}: {text}"
            );
        }
    }
    assert!(help("exchange", "--help", 80).contains("[env: AZURE_CLIENT_ID]"));
}

/// The lines are not broken, so that they can be copied.
#[test]
fn each_long_help_ends_with_examples_whose_lines_are_whole() {
    for path in paths() {
        let command = command_at(&path);
        if command.has_subcommands() && !path.is_empty() {
            continue;
        }
        let examples = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        for columns in [80, 60] {
            let text = help(&path, "--help", columns);
            assert!(examples.contains("Examples:\n"), "{path} has no examples");
            let (_, lines) = examples.split_once("Examples:").unwrap();
            assert!(text.trim_end().ends_with(lines), "{path} at {columns} columns: {lines}");
        }
    }
}

#[test]
fn each_example_parses() {
    for path in paths() {
        let command = command_at(&path);
        let examples = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let lines = lines(&examples);
        let own = format!("certbound {path}");
        assert!(
            command.has_subcommands() || lines.iter().any(|line| line.join(" ").starts_with(&own)),
            "{path}: no example runs this command: {lines:?}"
        );
        for line in lines {
            for uri in line.iter().filter(|word| word.starts_with("pkcs11:")) {
                crate::token_uri::parse(uri).unwrap_or_else(|error| panic!("{uri:?}: {error:?}"));
                // There is no default module.
                assert!(uri.contains("?module-path=/"), "{uri:?} names no module");
            }
            let args: Vec<OsString> = line.iter().map(OsString::from).collect();
            match parse(&args) {
                Ok(_) => {}
                // The profile has the other flags.
                Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
                    assert!(line.iter().any(|word| word == "--profile"), "{line:?}: {error}");
                }
                Err(error) => panic!("{line:?}: {error}"),
            }
        }
    }
}

fn command_at(path: &str) -> clap::Command {
    path.split_whitespace()
        .fold(Cli::command(), |command, name| command.find_subcommand(name).unwrap().clone())
}

/// Returns the words of each command line of certbound in an example. The command line can follow `--` or `$(` of a
/// different command. Each variable of the example is replaced by its value.
fn lines(examples: &str) -> Vec<Vec<String>> {
    let mut variables: Vec<(String, &str)> = Vec::new();
    let mut found = Vec::new();
    for line in logical_lines(examples) {
        if let Some((name, value)) = line.trim().split_once('=').filter(|(name, _)| is_variable(name)) {
            variables.push((format!("${name}"), value));
        }
        let mut rest = line;
        while let Some(at) = rest.find("certbound ") {
            let before = rest[..at].trim_end();
            let text = &rest[at..];
            rest = &text["certbound ".len()..];
            if before.is_empty() || before.ends_with("--") || before.ends_with("$(") {
                let ends = [" |", " >", " <", " &", " #", ")\""].iter().filter_map(|end| text.find(end));
                let words = words(&text[..ends.min().unwrap_or(text.len())], &variables);
                found.push(words);
            }
        }
    }
    found
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// Splits a text at each line break without a backslash before it. The backslashes stay.
fn logical_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let (mut from, mut before) = (0, ' ');
    for (at, c) in text.char_indices() {
        if c == '\n' && before != '\\' {
            lines.push(&text[from..at]);
            from = at + 1;
        }
        before = c;
    }
    lines.push(&text[from..]);
    lines
}

/// Splits a line as a shell does, with quotes, continued lines and variables. Between single quotes, a backslash at the
/// end does not continue the line.
fn words(line: &str, variables: &[(String, &str)]) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let literal = quote == Some('\'');
        if let Some((name, value)) = variables.iter().find(|(name, _)| !literal && rest.starts_with(name)) {
            word.push_str(value);
            rest = &rest[name.len()..];
            continue;
        }
        let mut length = c.len_utf8();
        match (quote, c) {
            _ if !literal && rest.starts_with("\\\n") => length = 2,
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') if word.is_empty() => {}
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (_, c) => word.push(c),
        }
        rest = &rest[length..];
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}
