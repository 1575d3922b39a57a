//! `certbound explain`, and the codes at the ends of errors.

use serde_json::Value;

use crate::support::{certbound, json, offline, refusal, stderr, stdout};

#[test]
fn the_code_of_an_error_is_explained() {
    let failed = offline(&["endpoint", "--authority", "https://login.microsoftonline.com/no tenant"]);
    let first = stderr(&failed).lines().next().unwrap().to_owned();
    let code = first.split_once('[').unwrap().1.strip_suffix(']').unwrap();
    let explained = json(&offline(&["explain", code]));
    assert_eq!((&explained["code"], &explained["raisedBy"]), (&code.into(), &serde_json::json!(["client"])));
    for member in ["meaning", "fix", "page"] {
        assert!(explained[member].as_str().is_some_and(|text| text.len() > 10), "{member}: {explained}");
    }
    assert!(!explained["causes"].as_array().unwrap().is_empty() && explained["aadsts"].is_null());
    // The other lines of the error are only for a terminal.
    assert!(!stderr(&failed).contains("certbound explain"), "{}", stderr(&failed));
}

#[test]
fn a_number_is_explained_in_each_spelling() {
    let of = |typed: &str| stdout(&offline(&["explain", typed, "-o", "table"]));
    let screen = of("AADSTS700027");
    assert!(screen.starts_with("AADSTS700027\n") && !screen.contains('\u{1b}'), "{screen}");
    for typed in ["700027", "aadsts700027", " AADSTS700027: "] {
        assert_eq!(of(typed), screen, "{typed}");
    }
    let explained = json(&offline(&["explain", "700027", "-o", "json"]));
    let answer = (&explained["aadsts"], &explained["error"], &explained["status"]);
    assert_eq!(answer, (&700_027.into(), &"invalid_client".into(), &401.into()));
    let coloured = stdout(&offline(&["explain", "700027", "-o", "table", "--color", "always"]));
    assert!(coloured.contains("\u{1b}[1mFix\u{1b}[0m"), "{coloured}");
}

#[test]
fn an_unknown_code_is_refused_with_the_nearest_ones() {
    let unknown = offline(&["explain", "assertion_expird", "-o", "json"]);
    assert_eq!(refusal(&unknown), (2, "code_unknown".to_owned()));
    let said = stderr(&unknown);
    assert!(said.contains("`assertion_expired`") && said.contains("explain --list"), "{said}");
    for typed in
        ["", "x\u{1b}[2J", "99999999999999999999", "--", "🦀", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.x"]
    {
        let unknown = offline(&["explain", "-o", "json", "--", typed]);
        assert_eq!(refusal(&unknown), (2, "code_unknown".to_owned()), "{typed:?}");
        assert!(!stderr(&unknown).contains("eyJzdWIi"), "{}", stderr(&unknown));
    }
    assert_eq!(refusal(&offline(&["explain", "-o", "json"])), (2, "usage".to_owned()));
    let raw = offline(&["explain", "usage", "-o", "raw"]);
    assert!(stderr(&raw).contains("[output_format_unsupported]"), "{}", stderr(&raw));
}

#[test]
fn the_list_has_each_code_with_its_whole_meaning() {
    let list = stdout(&offline(&["explain", "--list", "-o", "table"]));
    assert!(list.lines().count() > 300 && list.lines().all(|line| line.chars().count() <= 80), "{list}");
    let all: Vec<Value> = serde_json::from_slice(&offline(&["explain", "--list"]).stdout).unwrap();
    // Further lines of a meaning are indented.
    let mut found = list.lines().filter(|line| !line.starts_with(' '));
    for explained in &all {
        assert_eq!(found.next().and_then(|line| line.split(' ').next()), explained["code"].as_str());
    }
    assert_eq!(found.next(), None);
    let words = list.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(all.iter().all(|it| words.contains(it["meaning"].as_str().unwrap())), "{list}");
    let some = stdout(&offline(&["explain", "--list", "EXPIRED", "-o", "table"]));
    assert!(some.contains("assertion_expired") && some.contains("AADSTS7000222"), "{some}");
    assert!(some.lines().count() < 30, "{some}");
    assert_eq!(refusal(&offline(&["explain", "--list", "qqqq", "-o", "json"])).1, "code_unknown");
}

#[test]
fn a_broken_configuration_file_does_not_prevent_an_explanation() {
    let directory = tempfile::tempdir().unwrap();
    let file = crate::support::file(&directory, "broken.toml", "scope = ");
    let with = |args: &[&str]| certbound().args(args).env("CERTBOUND_CONFIG", &file).output().unwrap();
    let failed =
        with(&["endpoint", "--authority", "https://login.microsoftonline.com/x.example", "-o", "json"]);
    assert_eq!(refusal(&failed), (2, "config_syntax".to_owned()));
    assert_eq!(json(&with(&["explain", "config_syntax"]))["code"], "config_syntax");
}

#[test]
fn a_shell_completes_codes() {
    let script = stdout(&offline(&["completions", "bash"]));
    assert!(script.contains("invalid_tenant") && script.contains("token_expired"), "no codes");
    let help = stdout(&offline(&["explain", "--help"]));
    assert!(help.contains("certbound explain AADSTS700027") && !help.contains("token_expired"), "{help}");
}
