//! Configuration files: values of flags for many commands.
//!
//! A value of the file becomes an argument of the command line, unless a flag or a variable overrides it. So clap
//! checks and parses the value, and a new flag is a key of the file without further code.

mod effective;
mod error;
mod file;
mod keys;
mod shown;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};

pub(crate) use self::effective::{Chosen, Effective, effective};
pub(crate) use self::error::{ConfigError, Mistake, Place};
pub(crate) use self::file::{ConfigFile, Entry, Value};
pub(crate) use self::keys::{
    all as all_keys, check as check_entry, holds_secret, is_input_file, is_variable_name,
};
use self::keys::{commands, of_command};
#[cfg(test)]
pub(crate) use self::keys::{is_path, kind};
pub(crate) use self::shown::ShownValue;
use crate::flags::{Rank, Ring, is_typed};

/// Commands that do not use the values of a file. `config check` and `config show` read the file themselves. `explain`
/// must work also while the file has a mistake.
const WITHOUT_FILE: [&str; 5] = ["completions", "man", "check", "show", "explain"];

/// A command line with the values of the configuration file.
#[derive(Clone, Debug)]
pub(crate) struct Configured {
    pub(crate) args: Vec<OsString>,
    /// The file, if the command line contains values of the file.
    pub(crate) file: Option<PathBuf>,
    /// The arguments that were added for the values of the file, such as `--region=westus3`.
    pub(crate) added: Vec<OsString>,
    /// A warning about a secret in the file that this command does not use.
    pub(crate) warning: Option<String>,
}

impl Configured {
    /// Returns the file if the text of an error names one of the file's keys as a flag, or contains one of the file's
    /// values.
    pub(crate) fn file_of(&self, text: &str) -> Option<&Path> {
        let names = |argument: &OsString| {
            let argument = argument.to_string_lossy();
            let (flag, value) = argument.split_once('=').unwrap_or((&argument, ""));
            let is_end = |rest: &str| !rest.starts_with(|c: char| c == '-' || c.is_ascii_alphanumeric());
            // A short value, such as a number, can be in the text by chance.
            value.len() >= 4 && text.contains(value) || text.split(flag).skip(1).any(is_end)
        };
        self.file.as_deref().filter(|_| self.added.iter().any(names))
    }
}

/// Adds the values of the configuration file to a command line. The function reads the file each time.
///
/// # Errors
/// The file, its profile or one of their keys cannot be used, or a profile is chosen without a file.
pub(crate) fn configured(root: Command, args: Vec<OsString>) -> Result<Configured, ConfigError> {
    let unchanged = |args| Configured { args, file: None, added: Vec::new(), warning: None };
    if !is_configured(&args) {
        return Ok(unchanged(args));
    }
    let Some((command, typed)) = target(root.clone(), &args) else { return Ok(unchanged(args)) };
    if WITHOUT_FILE.contains(&command.get_name()) {
        return Ok(unchanged(args));
    }
    let Some(chosen) = chosen(&root, &typed)? else { return Ok(unchanged(args)) };
    let added = chosen.arguments(&command, &typed)?;
    let file = (!added.is_empty()).then(|| chosen.file.path.clone());
    // Arguments after two dashes belong to another program.
    let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let args =
        args[..end].iter().cloned().chain(added.iter().cloned()).chain(args[end..].iter().cloned()).collect();
    Ok(Configured { args, file, added, warning: chosen.unused_secret() })
}

/// Returns the file and the profile that the flags or the environment name.
///
/// # Errors
/// The file cannot be used, or a profile is chosen without a file.
pub(crate) fn chosen(root: &Command, typed: &ArgMatches) -> Result<Option<Chosen>, ConfigError> {
    // clap stops at the first variable with an unusable value, such as an empty value, and does not read later
    // variables. So this function reads the variables itself.
    let of_env = |name: &str| std::env::var_os(name);
    let path = typed.get_one::<PathBuf>("config").cloned();
    let path = path.or_else(|| of_env("CERTBOUND_CONFIG").map(PathBuf::from));
    let path = path.filter(|path| !path.as_os_str().is_empty());
    let profile = typed.get_one::<String>("profile").cloned();
    let profile = profile.or_else(|| Some(of_env("CERTBOUND_PROFILE")?.to_string_lossy().into_owned()));
    match (path, profile.filter(|name| !name.is_empty())) {
        (Some(path), profile) => Chosen::read(root, &path, profile.as_deref()).map(Some),
        (None, Some(profile)) => {
            let what = Mistake::NoFile(profile.chars().take(64).collect());
            Err(Place { file: "--profile".to_owned(), at: None }.error(what))
        }
        (None, None) => Ok(None),
    }
}

/// Returns the command of a command line, with the arguments that clap could parse. The result is `None` for help and
/// for a command line without a command.
pub(crate) fn target(root: Command, args: &[OsString]) -> Option<(Command, ArgMatches)> {
    let mut command = root.ignore_errors(true);
    let mut typed = command.try_get_matches_from_mut(args).ok()?;
    while let Some((name, next)) = typed.remove_subcommand() {
        command = command.find_subcommand(&name)?.clone();
        typed = next;
    }
    (!command.has_subcommands()).then_some((command, typed))
}

/// Returns a mistake for each pair of keys that exclude each other in every command that has both keys.
pub(crate) fn conflicts(root: &Command, entries: &[Entry], rank: Rank) -> Vec<ConfigError> {
    let keys: Vec<_> = entries.iter().filter(|entry| entry.value != Value::Bool(false)).collect();
    let ranks: Vec<_> = keys.iter().map(|entry| (entry.key.clone(), rank)).collect();
    let has = |command: &Command, key: &str| of_command(command).any(|arg| arg.get_long() == Some(key));
    let excludes = |command: &&Command, one: &Entry, other: &Entry| {
        let pair: Vec<_> =
            ranks.iter().filter(|(key, _)| *key == one.key || *key == other.key).cloned().collect();
        Ring::of_file(command, &pair).conflict(&other.key).is_some()
    };
    let mut found = Vec::new();
    for (at, one) in keys.iter().enumerate() {
        for other in &keys[at + 1..] {
            let both = commands(root).into_iter().filter(|it| has(it, &one.key) && has(it, &other.key));
            let both: Vec<&Command> = both.collect();
            if !both.is_empty() && both.iter().all(|command| excludes(command, one, other)) {
                let line = one.place.at.map_or(0, |(line, _)| line);
                let (key, earlier) = (other.key.clone(), one.key.clone());
                found.push(other.place.error(Mistake::Conflict { one: key, other: earlier, line }));
            }
        }
    }
    found
}

/// Returns whether a file or a profile is chosen.
fn is_configured(args: &[OsString]) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    ["config", "profile"].into_iter().any(|flag| is_typed(flag, args))
        || ["CERTBOUND_CONFIG", "CERTBOUND_PROFILE"].into_iter().any(is_set)
}
