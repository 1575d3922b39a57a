//! The keys of a configuration file: the long names of all flags. clap's description of a flag determines the type of
//! its value, so a new flag is a key without further code.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use clap::builder::{Resettable, ValueHint};
use clap::{Arg, ArgAction, Command};

use super::error::{ConfigError, Mistake};
use super::file::{ConfigFile, Entry, PROFILES, Value};
use crate::failure::{Failure, guess};
use crate::flags::ListenFlag;
use crate::token_uri;

/// Flags that are not keys. `config` and `profile` choose the values of the file. `origin` and `list` belong to
/// commands that do not use these values. clap adds `help` and `version`.
const NO_KEYS: [&str; 6] = ["config", "profile", "origin", "list", "help", "version"];
/// Keys whose values can contain secrets: headers and bodies of calls, and the seed of the emulator's keys.
const SECRETS: [&str; 3] = ["header", "data", "seed"];
/// Words for a secret. An unknown key with one of these words was probably meant for a secret.
const SECRET_WORDS: [&str; 4] = ["password", "secret", "passphrase", "token"];

/// Returns the flags of a command that are keys.
pub(crate) fn of_command(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| arg.get_long().is_some_and(|long| !NO_KEYS.contains(&long)))
}

/// Returns every command that has no subcommands.
pub(crate) fn commands(root: &Command) -> Vec<&Command> {
    match root.has_subcommands() {
        true => root.get_subcommands().flat_map(commands).collect(),
        false => vec![root],
    }
}

/// Returns each key once, with the definition of the first command that has it.
pub(crate) fn all(root: &Command) -> Vec<&Arg> {
    let mut known: Vec<&Arg> = Vec::new();
    for arg in commands(root).into_iter().chain([root]).flat_map(of_command) {
        if !known.iter().any(|other| other.get_long() == arg.get_long()) {
            known.push(arg);
        }
    }
    known
}

pub(crate) fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key)
}

/// Returns whether a text can be the name of a variable. Any other text may be the secret itself and is not printed.
pub(crate) fn is_variable_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(is_part) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Returns whether the value of this entry can contain a secret. The name of a file with a body is not a secret.
pub(crate) fn holds_secret(entry: &Entry) -> bool {
    let is_path = entry.key == "data" && matches!(&entry.value, Value::Text(text) if text.starts_with('@'));
    is_secret(&entry.key) && !is_path
}

/// Returns whether the value of a key is the path of a file that must exist. A folder need not exist, because commands
/// create missing folders.
pub(crate) fn is_input_file(root: &Command, key: &str) -> bool {
    let names_file =
        |arg: &Arg| arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "FILE"));
    all(root).into_iter().any(|arg| arg.get_long() == Some(key) && is_path(arg) && names_file(arg))
}

/// Returns whether the value is a path. A relative path begins at the folder of the configuration file.
pub(crate) fn is_path(arg: &Arg) -> bool {
    matches!(arg.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath)
}

/// Checks the key of an entry, and the type and the form of its value. A key is known if any command has a flag of this
/// name.
pub(crate) fn check(root: &Command, file: &ConfigFile, entry: &Entry) -> Result<(), ConfigError> {
    let args: Vec<&Arg> = commands(root)
        .into_iter()
        .chain([root])
        .flat_map(of_command)
        .filter(|arg| arg.get_long() == Some(&entry.key))
        .collect();
    // Some keys are a list in one command and a single value in another command.
    let results = args.iter().map(|arg| arguments(arg, file, entry).map(drop));
    let results: Vec<Result<(), ConfigError>> = results.collect();
    match results.iter().any(Result::is_ok) {
        true => Ok(()),
        false => {
            results.into_iter().next().unwrap_or_else(|| Err(entry.place.error(unknown(root, &entry.key))))
        }
    }
}

fn unknown(root: &Command, key: &str) -> Mistake {
    let keys = all(root);
    let typed = key.replace('_', "-").to_ascii_lowercase();
    let known = Command::new("keys").no_binary_name(true).args(keys.iter().map(|arg| bare(arg)));
    let guess = match known.try_get_matches_from([format!("--{typed}")]) {
        // The name exists, but the key is written with underscores or capital letters.
        _ if keys.iter().any(|arg| arg.get_long() == Some(&typed)) => Some(typed.clone()),
        _ if typed == "profiles" => Some(PROFILES.to_owned()),
        Err(error) => guess(&error).map(|guess| guess.trim_start_matches('-').to_owned()),
        Ok(_) => None,
    };
    let is_secret = SECRET_WORDS.iter().any(|word| typed.contains(word)) && guess.as_ref() != Some(&typed);
    let key: String = key.chars().take(64).collect();
    if is_secret { Mistake::SecretKey { key } } else { Mistake::UnknownKey { key, guess } }
}

/// Returns a copy of a flag that depends neither on the other flags nor on the environment.
fn bare(arg: &Arg) -> Arg {
    let none = || Resettable::<clap::Id>::Reset;
    let arg = arg.clone().conflicts_with(none()).requires(none()).required_unless_present(none());
    arg.required(false).env(None::<&'static str>)
}

/// Returns the arguments that set this flag to the value of the entry. A switch that is off has no argument.
pub(crate) fn arguments(arg: &Arg, file: &ConfigFile, entry: &Entry) -> Result<Vec<OsString>, ConfigError> {
    let flag = format!("--{}", entry.key);
    let values = values(arg, file, entry)?;
    if !arg.get_action().takes_values() {
        return Ok(if entry.value == Value::Bool(true) { vec![flag.into()] } else { Vec::new() });
    }
    Ok(values.iter().map(|value| joined(&flag, value)).collect())
}

/// Returns the texts of the entry's value for this flag: one text for a single value, and `true` or `false` for a
/// switch.
pub(crate) fn values(arg: &Arg, file: &ConfigFile, entry: &Entry) -> Result<Vec<OsString>, ConfigError> {
    let wrong = |found: &Value| {
        let (expected, found) = (kind(arg), found.type_name());
        entry.place.error(Mistake::WrongType { key: entry.key.clone(), expected, found })
    };
    let values = match &entry.value {
        Value::List(values) if is_list(arg) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    let of_value = |value: &Value| {
        let text = match (value, kind(arg)) {
            (Value::Bool(on), SWITCH) => return Ok(on.to_string().into()),
            (Value::Integer(number), NUMBER) => number.to_string(),
            (Value::Text(text), TEXT | TEXTS) => text.clone(),
            (other, _) => return Err(wrong(other)),
        };
        let value = resolved(arg, file, &text);
        match parses(arg, &value) {
            Ok(()) => Ok(value),
            Err(failure) => Err(entry.place.error(invalid(&entry.key, failure))),
        }
    };
    values.iter().map(of_value).collect()
}

/// Returns the value for a command. A relative path is resolved against the folder of the configuration file.
fn resolved(arg: &Arg, file: &ConfigFile, text: &str) -> OsString {
    let body_file = text.strip_prefix('@').filter(|path| arg.get_long() == Some("data") && *path != "-");
    match body_file {
        Some(path) => joined("@", file.resolve(path).as_os_str()),
        None if arg.get_value_parser().type_id() == TypeId::of::<ListenFlag>() => {
            match text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
                Some(path) => joined("unix:", file.resolve(path).as_os_str()),
                None => text.into(),
            }
        }
        None if is_path(arg) && token_uri::text(Path::new(text)).is_none() => file.resolve(text).into(),
        None => text.into(),
    }
}

fn joined(before: &str, value: &OsStr) -> OsString {
    let mut joined = OsString::from(before);
    if before.starts_with("--") {
        joined.push("=");
    }
    joined.push(value);
    joined
}

fn invalid(key: &str, failure: Failure) -> Mistake {
    let reason = if is_secret(key) { "it has the wrong form".to_owned() } else { failure.why };
    let fix = failure.fix.replace("see --help", "see the flag of this name in `certbound COMMAND --help`");
    Mistake::InvalidValue { key: key.to_owned(), reason, fix }
}

const SWITCH: &str = "true or false";
const NUMBER: &str = "a number";
const TEXT: &str = "a text";
const TEXTS: &str = "a text or a list of texts";

/// Returns the type of a key's value, in words.
pub(crate) fn kind(arg: &Arg) -> &'static str {
    let found = arg.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<Duration>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<i64>(),
    ];
    match arg.get_action().takes_values() {
        false => SWITCH,
        true if numbers.into_iter().any(|number| found == number) => NUMBER,
        true if is_list(arg) => TEXTS,
        true => TEXT,
    }
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Parses a single value as clap does, without the other arguments of its command.
fn parses(arg: &Arg, value: &OsStr) -> Result<(), Failure> {
    let command = Command::new("value").no_binary_name(true).arg(bare(arg));
    let argument = joined(&format!("--{}", arg.get_long().unwrap_or_default()), value);
    match command.clone().try_get_matches_from([argument]) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::of_command_line(&error, &command)),
    }
}
