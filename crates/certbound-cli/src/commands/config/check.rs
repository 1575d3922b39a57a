//! `config check`: checks a configuration file with all its profiles. It sends no request.

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::commands::command;
use crate::commands::inspect;
use crate::config::{self, Chosen, ConfigError, ConfigFile, Entry, Mistake, Place, Value};
use crate::failure::{Failure, USAGE, one};
use crate::flags::{CommonFlags, ConfigCheckFlags, Format, IdentityFlags, Rank};
use crate::output::{self, Terminal};
use crate::{plan, token_uri};

pub(super) fn run(flags: &ConfigCheckFlags, common: &CommonFlags, terminal: Terminal) -> Result<(), Failure> {
    let format = terminal.format_of(&[Format::Json, Format::Table])?;
    let Some(path) = flags.file.as_ref().or(common.config.as_ref()) else {
        let why = "no configuration file is given";
        let fix = "give the file as an argument, with --config, or in CERTBOUND_CONFIG";
        return Err(Failure::new(USAGE, "config_missing", "the command line is wrong", why, fix));
    };
    let file = ConfigFile::read(path)?;
    let problems = problems(&file);
    let errors = problems.iter().filter(|problem| problem.is_error).count();
    match format {
        Format::Json => output::print(&output::json(&as_json(&file, &problems), 0)?)?,
        _ => output::print_text(&as_table(&file, &problems))?,
    }
    if errors == 0 {
        return Ok(());
    }
    let why = format!("{} has {errors} error(s)", path.display());
    let fix = "correct the errors that are listed on stdout";
    Err(Failure::new(USAGE, "config_invalid", "the configuration cannot be used", why, fix))
}

struct Problem {
    is_error: bool,
    profile: Option<String>,
    error: ConfigError,
}

/// Returns the mistakes in the keys for all profiles, and then those in each profile.
fn problems(file: &ConfigFile) -> Vec<Problem> {
    let everywhere =
        Layer { chosen: Chosen { file: file.clone(), profile: None }, own: &file.top, name: None };
    let mut found = everywhere.problems(Rank::File);
    for profile in &file.profiles {
        let chosen = Chosen { file: file.clone(), profile: Some(profile.clone()) };
        let layer = Layer { chosen, own: &profile.entries, name: Some(&profile.name) };
        found.extend(layer.problems(Rank::Profile));
    }
    found
}

/// A profile together with the keys for all profiles, or only these keys.
struct Layer<'a> {
    chosen: Chosen,
    own: &'a [Entry],
    name: Option<&'a str>,
}

impl Layer<'_> {
    fn problems(&self, rank: Rank) -> Vec<Problem> {
        let root = command();
        let mut found = Vec::new();
        let mut add = |is_error: bool, error: ConfigError| {
            found.push(Problem { is_error, profile: self.name.map(str::to_owned), error });
        };
        for entry in self.own {
            if let Err(error) = config::check_entry(&root, &self.chosen.file, entry) {
                add(true, error);
                continue;
            }
            self.meaning(entry)
                .into_iter()
                .for_each(|(is_error, what)| add(is_error, entry.place.error(what)));
        }
        config::conflicts(&root, self.own, rank).into_iter().for_each(|error| add(true, error));
        if let Some((place, what)) = self.application() {
            add(true, place.error(what));
        }
        found
    }

    /// Returns the mistakes in a value that has the right type, each with `true` for an error and `false` for a
    /// warning.
    fn meaning(&self, entry: &Entry) -> Vec<(bool, Mistake)> {
        let Entry { key, .. } = entry;
        let mut found = Vec::new();
        if let (true, Some(mode)) = (config::holds_secret(entry), self.chosen.file.readable_by_others) {
            let file = self.chosen.file.path.display().to_string();
            found.push((true, Mistake::ReadableByOthers { key: key.clone(), mode, file }));
        }
        let with_issuer = self.has_issuer();
        for text in texts(&entry.value) {
            if let Err(failure) = plan::check_value(key, text, with_issuer) {
                found.push((true, invalid(key, failure)));
            }
            if let Some(path) = text.strip_prefix('@').filter(|_| key == "data") {
                found.extend(self.input_file(key, path));
            } else if key.ends_with("-env") {
                found.extend(variable(key, text));
            } else if config::is_input_file(&command(), key) {
                found.extend(self.input_file(key, text));
            }
        }
        found
    }

    fn input_file(&self, key: &str, text: &str) -> Option<(bool, Mistake)> {
        let path = self.chosen.file.resolve(text);
        // The check does not log in to a token.
        if text == "-" || token_uri::text(Path::new(text)).is_some() {
            return None;
        }
        let unreadable = |reason: String| {
            let reason = format!("{} cannot be read: {reason}", path.display());
            let fix = "check the path and that this user may read it; a relative path is relative to the folder of the configuration file";
            Some((true, Mistake::InvalidValue { key: key.to_owned(), reason, fix: fix.to_owned() }))
        };
        match std::fs::metadata(&path) {
            Err(error) => return unreadable(error.to_string()),
            Ok(metadata) if metadata.is_dir() => return unreadable("it is a directory".to_owned()),
            // Opening a pipe would wait for its writer.
            Ok(metadata) if !metadata.is_file() => return None,
            Ok(_) => {}
        }
        if let Err(error) = std::fs::File::open(&path) {
            return unreadable(error.to_string());
        }
        match key {
            "certificate" | "leg1-certificate" => self.certificate(key, &path),
            _ => None,
        }
    }

    fn certificate(&self, key: &str, path: &Path) -> Option<(bool, Mistake)> {
        let private_key = self.text(&format!("{key}-key")).map(|text| self.chosen.file.resolve(text));
        let password = self.text("certificate-password-env");
        if password.is_some_and(|name| !config::is_variable_name(name)) {
            // `meaning` reports this error for the key `certificate-password-env`.
            return None;
        }
        let failure = plan::check_certificate(path, private_key.as_deref(), password).err()?;
        // `inspect` and `verify` read a certificate without its key.
        let is_public = key == "certificate" && private_key.is_none() && inspect::certificate(path).is_ok();
        // The validity is checked after the key was read. A file with this failure has a key, so it is not for
        // `inspect` alone.
        let is_public = is_public && failure.code != "certificate_not_valid_now";
        let is_error = !is_public && failure.code != "certificate_password_unset";
        Some((is_error, invalid(key, failure)))
    }

    /// Checks the authority together with the application's id.
    fn application(&self) -> Option<(Place, Mistake)> {
        const KEYS: [&str; 4] = ["client-id", "authority", "tenant", "issuer"];
        let entry = self.own.iter().find(|entry| KEYS.contains(&entry.key.as_str()))?;
        let text = |key: &str| self.text(key).map(str::to_owned);
        if ["tenant", "issuer"]
            .iter()
            .any(|key| text(key).is_some_and(|it| plan::check_value(key, &it, true).is_err()))
        {
            return None;
        }
        let flags = IdentityFlags {
            client_id: text("client-id"),
            tenant: text("tenant"),
            region: None,
            global_if_region_unreachable: false,
            authority: text("authority"),
            issuer: text("issuer"),
            no_authority_validation: false,
        };
        let failure = plan::check_application(&flags).err()?;
        let entry = match failure.code.as_str() {
            // If the id is a key for all profiles, the check of those keys reports the error.
            "invalid_client_id" => self.own.iter().find(|entry| entry.key == "client-id")?,
            _ => entry,
        };
        Some((entry.place.clone(), invalid(&entry.key, failure)))
    }

    /// Returns whether an OpenID issuer can determine the form of a scope. A scope for all profiles can be used by a
    /// profile that has an issuer.
    fn has_issuer(&self) -> bool {
        let names = |entries: &[Entry]| entries.iter().any(|entry| entry.key == "issuer");
        let in_a_profile = || self.chosen.file.profiles.iter().any(|profile| names(&profile.entries));
        self.chosen.entry("issuer").is_some() || self.name.is_none() && in_a_profile()
    }

    /// Returns the text of a key. The entry of the profile overrides the entry for all profiles.
    fn text(&self, key: &str) -> Option<&str> {
        match &self.chosen.entry(key)?.0.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Text(text) => vec![text],
        Value::List(values) => values.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn invalid(key: &str, failure: Failure) -> Mistake {
    Mistake::InvalidValue { key: key.to_owned(), reason: failure.why, fix: failure.fix }
}

/// Checks the name of a variable with a secret. A text that is not a name may be the secret itself, so it is not
/// printed.
fn variable(key: &str, name: &str) -> Option<(bool, Mistake)> {
    let (is_error, reason, fix) = match config::is_variable_name(name) {
        false => (
            true,
            "it is not the name of an environment variable".to_owned(),
            "write the name of the variable that contains the secret, not the secret",
        ),
        true if std::env::var_os(name).is_none() => (
            false,
            format!("the environment variable {name} is not set now"),
            "set the variable before a command uses this profile",
        ),
        true => return None,
    };
    Some((is_error, Mistake::InvalidValue { key: key.to_owned(), reason, fix: fix.to_owned() }))
}

fn as_json(file: &ConfigFile, problems: &[Problem]) -> Json {
    let problem = |Problem { is_error, profile, error }: &Problem| {
        json!({
            "severity": if *is_error { "error" } else { "warning" },
            "code": error.code(),
            "file": error.place.file,
            "line": error.place.at.map(|(line, _)| line),
            "column": error.place.at.map(|(_, column)| column),
            "profile": profile,
            "message": error.what.to_string(),
            "fix": error.fix(),
        })
    };
    json!({
        "file": file.path.display().to_string(),
        "ok": !problems.iter().any(|problem| problem.is_error),
        "profiles": file.profiles.iter().map(|profile| &profile.name).collect::<Vec<_>>(),
        "problems": problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

fn as_table(file: &ConfigFile, problems: &[Problem]) -> String {
    let mut text = String::new();
    for Problem { is_error, profile, error } in problems {
        let severity = if *is_error { "error" } else { "warning" };
        let profile = profile.as_ref().map(|name| format!(" (profile {name})")).unwrap_or_default();
        let line = format!("{}: {severity}: {} [{}]{profile}", error.place, error.what, error.code());
        text.push_str(&format!("{}\n  fix: {}\n", one(&line), one(&error.fix())));
    }
    let names: Vec<&str> = file.profiles.iter().map(|profile| profile.name.as_str()).collect();
    let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    let errors = problems.iter().filter(|problem| problem.is_error).count();
    let (profiles, warnings) = (file.profiles.len(), problems.len() - errors);
    let path = file.path.display();
    let last = format!("{path}: {profiles} profile(s){names}, {errors} error(s), {warnings} warning(s)");
    text.push_str(&format!("{}\n", one(&last)));
    text
}
