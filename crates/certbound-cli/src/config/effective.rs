//! The values that a command uses, and the origin of each value.

use std::ffi::{OsStr, OsString};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::error::{ConfigError, Mistake, Place};
use super::file::{ConfigFile, Entry, Profile, Value};
use super::keys;
use crate::flags::{Rank, Ring, variable};

/// Keys of `verify` that have an effect only with another flag.
const NEEDS: [(&str, &str); 4] = [
    ("certificate-header", "serve"),
    ("trust-proxy", "serve"),
    ("certificate-header-name", "certificate-header"),
    ("client-claim", "issuer"),
];

/// A configuration file, and its chosen profile.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) file: ConfigFile,
    pub(crate) profile: Option<Profile>,
}

/// The value of a flag.
#[derive(Clone, Debug)]
pub(crate) struct Effective {
    pub(crate) key: String,
    /// The texts of the value; a switch has one of the texts `true` and `false`.
    pub(crate) values: Vec<OsString>,
    pub(crate) origin: Origin,
    /// The flag that excludes this value. The command then does not use this value.
    pub(crate) excluded_by: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Variable(String),
    /// A key of the chosen profile.
    Profile {
        name: String,
        place: Place,
    },
    /// A key of the file for all profiles.
    File(Place),
    Default,
}

impl Chosen {
    /// Reads the file, and checks the keys for all profiles and the keys of the chosen profile.
    ///
    /// # Errors
    /// The file or one of these keys cannot be used, or the profile does not exist.
    pub(crate) fn read(
        root: &Command,
        path: &std::path::Path,
        profile: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let file = ConfigFile::read(path)?;
        let profile = profile.map(|name| file.profile(name).cloned()).transpose()?;
        let chosen = Self { file, profile };
        chosen.entries().try_for_each(|(entry, _)| keys::check(root, &chosen.file, entry))?;
        Ok(chosen)
    }

    /// Returns the entry that determines a key: the profile's entry, or otherwise the entry for all profiles.
    pub(crate) fn entry(&self, key: &str) -> Option<(&Entry, Rank)> {
        self.entries().find(|(entry, _)| entry.key == key)
    }

    /// Returns the entries of the profile, and then the entries for all profiles.
    fn entries(&self) -> impl Iterator<Item = (&Entry, Rank)> {
        let own = self.profile.iter().flat_map(|profile| &profile.entries);
        own.map(|entry| (entry, Rank::Profile)).chain(self.file.top.iter().map(|entry| (entry, Rank::File)))
    }

    /// Returns the keys that have an effect on a command, with their ranks.
    fn ranks(&self, command: &Command) -> Vec<(String, Rank)> {
        let keys = keys::of_command(command).filter_map(Arg::get_long);
        let entries = keys.filter_map(|key| self.entry(key));
        let is_off = |entry: &Entry| entry.value == Value::Bool(false);
        entries.filter(|(entry, _)| !is_off(entry)).map(|(entry, rank)| (entry.key.clone(), rank)).collect()
    }

    /// Returns the arguments by which the command gets its values of the file.
    ///
    /// # Errors
    /// A value has the wrong type for this command, two keys exclude each other, or other users can read a secret.
    pub(crate) fn arguments(
        &self,
        command: &Command,
        typed: &ArgMatches,
    ) -> Result<Vec<OsString>, ConfigError> {
        let ring = Ring::of(command, |long| is_typed(command, typed, long), &self.ranks(command));
        let (mut arguments, mut unused) = (Vec::new(), Vec::new());
        for effective in effective(command, Some(typed), Some(self)) {
            let (Origin::Profile { .. } | Origin::File(_), None) = (&effective.origin, effective.excluded_by)
            else {
                continue;
            };
            let Some((entry, _)) = self.entry(&effective.key) else { continue };
            if entry.value != Value::Bool(false) {
                self.refuse_conflict(&ring, entry)?;
            }
            if let (true, Some(mode)) = (keys::holds_secret(entry), self.file.readable_by_others) {
                let file = self.file.path.display().to_string();
                let what = Mistake::ReadableByOthers { key: entry.key.clone(), mode, file };
                return Err(entry.place.error(what));
            }
            let Some(arg) = keys::of_command(command).find(|arg| arg.get_long() == Some(&entry.key)) else {
                continue;
            };
            let partner = NEEDS.iter().find(|(key, _)| *key == entry.key).map(|(_, partner)| *partner);
            let is_alone = partner
                .is_some_and(|partner| unused.iter().any(|key| key == partner) || !ring.is_used(partner));
            let by_hand =
                |arg: &Arg| typed.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
            // clap lists the arguments, such as a token to verify, that cannot be used together with this flag.
            if is_alone || command.get_arg_conflicts_with(arg).into_iter().any(by_hand) {
                unused.push(entry.key.clone());
                continue;
            }
            arguments.extend(keys::arguments(arg, &self.file, entry)?);
        }
        Ok(arguments)
    }

    /// Returns a warning about a secret that other users can read in the file. A command that uses the secret fails.
    pub(super) fn unused_secret(&self) -> Option<String> {
        let mode = self.file.readable_by_others?;
        let (entry, _) = self.entries().find(|(entry, _)| keys::holds_secret(entry))?;
        let (key, path) = (&entry.key, self.file.path.display());
        let what =
            format!("`{key}` can contain a secret, but other users can read the file (mode {mode:03o})");
        Some(format!("{}: {what}; run `chmod 600 {path}`", entry.place))
    }

    fn refuse_conflict(&self, ring: &Ring, entry: &Entry) -> Result<(), ConfigError> {
        let Some(other) = ring.conflict(&entry.key) else { return Ok(()) };
        // All keys of this rank are in this file, so the other key is in this file too.
        let line = self.entry(other).and_then(|(other, _)| other.place.at).map_or(0, |(line, _)| line);
        let what = Mistake::Conflict { one: entry.key.clone(), other: other.to_owned(), line };
        Err(entry.place.error(what))
    }
}

/// Returns the values of those flags of a command that have a value, in the order of the help.
pub(crate) fn effective(
    command: &Command,
    typed: Option<&ArgMatches>,
    config: Option<&Chosen>,
) -> Vec<Effective> {
    let is_typed = |long: &str| typed.is_some_and(|typed| is_typed(command, typed, long));
    let ring = Ring::of(command, is_typed, &config.map(|config| config.ranks(command)).unwrap_or_default());
    let of = |arg: &Arg| {
        let key = arg.get_long()?.to_owned();
        let (values, origin) =
            if let Some(values) = typed.filter(|_| is_typed(&key)).map(|typed| raw(typed, arg)) {
                (values, Origin::Flag)
            } else if let Some((name, value)) = variable(arg) {
                (vec![value], Origin::Variable(name.to_string_lossy().into_owned()))
            } else if let Some((entry, rank)) = config.and_then(|config| config.entry(&key)) {
                let place = entry.place.clone();
                let origin = match config.and_then(|config| config.profile.as_ref()) {
                    Some(profile) if rank == Rank::Profile => {
                        Origin::Profile { name: profile.name.clone(), place }
                    }
                    _ => Origin::File(place),
                };
                // A value that this command does not accept is shown unchanged. The command itself reports the mistake.
                let values = config.map(|config| keys::values(arg, &config.file, entry));
                let values = values.and_then(Result::ok).unwrap_or_else(|| vec![entry.value.text().into()]);
                (values, origin)
            } else {
                let defaults = arg.get_default_values().iter().map(|value| value.to_os_string());
                (defaults.collect(), Origin::Default)
            };
        let is_absent = values.is_empty() || origin == Origin::Default && !arg.get_action().takes_values();
        let excluded_by = if origin == Origin::Default { None } else { ring.silencer(&key) };
        (!is_absent).then_some(Effective { key, values, origin, excluded_by })
    };
    keys::of_command(command).filter_map(of).collect()
}

fn raw(typed: &ArgMatches, arg: &Arg) -> Vec<OsString> {
    if !arg.get_action().takes_values() {
        return vec!["true".into()];
    }
    typed.get_raw(arg.get_id().as_str()).into_iter().flatten().map(OsStr::to_os_string).collect()
}

/// Returns whether the flag was typed, in its long or its short form.
fn is_typed(command: &Command, typed: &ArgMatches, long: &str) -> bool {
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(long));
    arg.map(|arg| arg.get_id().as_str()).is_some_and(|id| {
        typed.try_contains_id(id).is_ok() && typed.value_source(id) == Some(ValueSource::CommandLine)
    })
}
