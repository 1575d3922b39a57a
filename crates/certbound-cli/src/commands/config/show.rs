//! `config show`: prints each value that a command uses, and its origin.

use std::ffi::OsString;

use clap::Command;
use clap::parser::ValueSource;
use serde_json::{Value, json};

use crate::commands::command;
use crate::config::{self, Chosen, Effective, ShownValue};
use crate::failure::{Failure, USAGE, one};
use crate::flags::{ConfigShowFlags, Format};
use crate::layout::columns;
use crate::output::{self, Terminal};

pub(super) fn run(flags: &ConfigShowFlags, terminal: Terminal) -> Result<(), Failure> {
    let format = terminal.format_of(&[Format::Json, Format::Table])?;
    let (values, chosen) = match flags.command.as_slice() {
        [] => of_all_commands()?,
        command => of_command(command)?,
    };
    let shown: Vec<ShownValue> = values.iter().map(ShownValue::new).collect();
    match format {
        Format::Json => output::print(&output::json(&as_json(&shown, chosen.as_ref()), 0)?)?,
        _ => {
            let columns = columns(std::io::stdout());
            output::print_text(&as_table(&shown, chosen.as_ref(), flags.origin, columns))?;
        }
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

/// Returns the values of the command line `line`. The file and the profile of `config show` apply, unless `line` names
/// its own.
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
        // This call reports the mistakes that the command itself would report.
        chosen.arguments(&target, &typed)?;
    }
    Ok((config::effective(&target, Some(&typed), chosen.as_ref()), chosen))
}

fn no_command() -> Failure {
    let why = "the arguments after `--` name no command of certbound";
    Failure::new(USAGE, "usage", "the command line is wrong", why, "give a command, such as `-- exchange`")
}

fn as_json(shown: &[ShownValue], chosen: Option<&Chosen>) -> Value {
    json!({
        "config": chosen.map(|chosen| chosen.file.path.display().to_string()),
        "profile": chosen.and_then(|chosen| chosen.profile.as_ref()).map(|profile| profile.name.clone()),
        "values": shown.iter().map(|shown| shown.json.clone()).collect::<Vec<_>>(),
    })
}

/// The maximum width of the column of values. With this width most origins fit beside the value.
const VALUES: usize = 40;

fn as_table(shown: &[ShownValue], chosen: Option<&Chosen>, with_origin: bool, columns: usize) -> String {
    let width =
        |of: fn(&ShownValue) -> &str| shown.iter().map(|it| of(it).chars().count()).max().unwrap_or(0);
    let (keys, values) = (width(|it| &it.key), width(|it| &it.value).min(VALUES));
    let mut text = match chosen {
        Some(chosen) => format!("# configuration file {}", chosen.file.path.display()),
        None => "# no configuration file".to_owned(),
    };
    if let Some(profile) = chosen.and_then(|chosen| chosen.profile.as_ref()) {
        text.push_str(&format!(", profile {}", profile.name));
    }
    text = format!("{}\n", one(&text));
    for ShownValue { key, value, origin, excluded_by, .. } in shown {
        let mut line = format!("{key:<keys$}  {value:<0$}", if with_origin { values } else { 0 });
        let unused = excluded_by.map(|other| format!("(not used, because {other} is set)"));
        for part in with_origin.then(|| one(origin).into_owned()).into_iter().chain(unused) {
            // A part that does not fit beside the value has its own line.
            let last = line.lines().last().unwrap_or_default().chars().count();
            let fits = last + 2 + part.chars().count() <= columns;
            line = if fits { line + "  " } else { format!("{}\n{:<keys$}  ", line.trim_end(), "") } + &part;
        }
        text.push_str(&format!("{}\n", line.trim_end()));
    }
    text
}
