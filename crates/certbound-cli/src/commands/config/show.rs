//! `config show`: prints each value that a command uses, and its origin.

use std::ffi::OsString;

use certbound_core::refusal::without_tokens;
use clap::Command;
use clap::parser::ValueSource;
use serde_json::{Value, json};

use crate::commands::command;
use crate::config::{self, Chosen, Effective, Origin};
use crate::failure::{Failure, USAGE, one};
use crate::flags::{ConfigShowFlags, Format};
use crate::output::{self, Terminal};

pub(super) fn run(flags: &ConfigShowFlags, terminal: Terminal) -> Result<(), Failure> {
    let format = terminal.format_of(&[Format::Json, Format::Table])?;
    let (values, chosen) = match flags.command.as_slice() {
        [] => of_all_commands()?,
        command => of_command(command)?,
    };
    let shown: Vec<Shown> = values.iter().map(Shown::new).collect();
    match format {
        Format::Json => output::print(&output::json(&as_json(&shown, chosen.as_ref()), 0)?)?,
        _ => output::print_text(&as_table(&shown, chosen.as_ref(), flags.origin))?,
    }
    if format != Format::Json && flags.command.is_empty() {
        output::tell("tip: `certbound config show -- COMMAND` shows only the values that COMMAND uses");
    }
    Ok(())
}

type Values = (Vec<Effective>, Option<Chosen>);

/// Returns the values of all keys. All flags on this command line are flags of `config show` itself.
fn of_all_commands() -> Result<Values, Failure> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let (_, typed) = config::target(command(), &args).ok_or_else(no_command)?;
    let root = command();
    let chosen = config::chosen(&root, &typed)?;
    let all = Command::new("all").args(config::all_keys(&root));
    Ok((config::effective(&all, Some(&typed), chosen.as_ref()), chosen))
}

/// Returns the values of a command line. If it names no configuration file, the file of `config show` is used.
fn of_command(line: &[OsString]) -> Result<Values, Failure> {
    let own: Vec<OsString> = std::env::args_os().take_while(|arg| arg != "--").collect();
    let (_, own) = config::target(command(), &own).ok_or_else(no_command)?;
    let typed_here = |flag: &'static str| {
        let is_typed = own.value_source(flag) == Some(ValueSource::CommandLine);
        let value = own.get_raw(flag).filter(|_| is_typed)?.next()?;
        let mut argument = OsString::from(format!("--{flag}="));
        argument.push(value);
        Some(argument)
    };
    // The flags in `line` belong to its command, so they override the flags of `config show`.
    let of_show = ["config", "profile"].into_iter().filter_map(typed_here);
    let whole = std::iter::once("certbound".into()).chain(of_show).chain(line.iter().cloned());
    let whole: Vec<OsString> = whole.collect();
    let (target, typed) = config::target(command(), &whole).ok_or_else(no_command)?;
    let chosen = config::chosen(&command(), &typed)?;
    if let Some(chosen) = &chosen {
        // Mistakes that the command itself would report are reported here too.
        chosen.arguments(&target, &typed)?;
    }
    Ok((config::effective(&target, Some(&typed), chosen.as_ref()), chosen))
}

fn no_command() -> Failure {
    let why = "the arguments after `--` name no command of certbound";
    Failure::new(USAGE, "usage", "the command line is wrong", why, "give a command, such as `-- exchange`")
}

/// A value as it is printed.
struct Shown {
    key: String,
    value: String,
    origin: String,
    excluded_by: Option<&'static str>,
    json: Value,
}

impl Shown {
    fn new(value: &Effective) -> Self {
        let texts = value.values.iter().map(|text| match config::is_secret(&value.key) {
            true => format!("<redacted, {} bytes>", text.len()),
            false if value.key.ends_with("-env") && !text.to_str().is_some_and(config::is_variable_name) => {
                format!("<not the name of a variable, {} bytes>", text.len())
            }
            false if has_user(&text.to_string_lossy()) => {
                format!("<a URL with a user name or password, {} bytes>", text.len())
            }
            false => without_tokens(&one(&text.to_string_lossy())),
        });
        let texts: Vec<String> = texts.collect();
        let (origin, facts) = match &value.origin {
            Origin::Flag => (format!("flag --{}", value.key), json!({"origin": "flag"})),
            Origin::Variable(name) => {
                (format!("variable {name}"), json!({"origin": "variable", "variable": name}))
            }
            Origin::Profile { name, place } => (
                format!("{place}, profile {name}"),
                json!({"origin": "profile", "profile": name, "file": place.file, "line": place.at.map(|it| it.0)}),
            ),
            Origin::File(place) => (
                format!("{place}, for all profiles"),
                json!({"origin": "file", "file": place.file, "line": place.at.map(|it| it.0)}),
            ),
            Origin::Default => ("default".to_owned(), json!({"origin": "default"})),
        };
        let mut json = json!({"key": value.key, "value": texts, "excludedBy": value.excluded_by});
        if let [one] = texts.as_slice() {
            json["value"] = one.as_str().into();
        }
        if let (Value::Object(json), Value::Object(facts)) = (&mut json, facts) {
            json.extend(facts);
        }
        let (key, value, excluded_by) = (value.key.clone(), texts.join(", "), value.excluded_by);
        Self { key, value, origin, excluded_by, json }
    }
}

/// Returns whether a value is a URL with a user name or a password. No command accepts such a URL.
fn has_user(text: &str) -> bool {
    let host = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    host.is_some_and(|host| host.contains('@'))
}

fn as_json(shown: &[Shown], chosen: Option<&Chosen>) -> Value {
    json!({
        "config": chosen.map(|chosen| chosen.file.path.display().to_string()),
        "profile": chosen.and_then(|chosen| chosen.profile.as_ref()).map(|profile| profile.name.clone()),
        "values": shown.iter().map(|shown| shown.json.clone()).collect::<Vec<_>>(),
    })
}

fn as_table(shown: &[Shown], chosen: Option<&Chosen>, with_origin: bool) -> String {
    let width = |of: fn(&Shown) -> &str| shown.iter().map(|it| of(it).chars().count()).max().unwrap_or(0);
    let (keys, values) = (width(|it| &it.key), width(|it| &it.value).min(60));
    let mut text = match chosen {
        Some(chosen) => format!("# configuration file {}", chosen.file.path.display()),
        None => "# no configuration file".to_owned(),
    };
    if let Some(profile) = chosen.and_then(|chosen| chosen.profile.as_ref()) {
        text.push_str(&format!(", profile {}", profile.name));
    }
    text = format!("{}\n", one(&text));
    for Shown { key, value, origin, excluded_by, .. } in shown {
        let mut line = format!("{key:<keys$}  {value}");
        if with_origin {
            line = format!("{key:<keys$}  {value:<values$}  {}", one(origin));
        }
        if let Some(other) = excluded_by {
            line.push_str(&format!("  (not used, because {other} is set)"));
        }
        text.push_str(&format!("{}\n", line.trim_end()));
    }
    text
}
