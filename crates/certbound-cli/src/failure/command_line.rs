//! clap's errors: mistakes in the command line.

use std::ffi::OsString;

use certbound_core::refusal::without_tokens;
use certbound_core::shown::lines;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Failure, USAGE};

/// The beginnings of lines that follow the reason in clap's errors.
const AFTER_THE_REASON: [&str; 3] = ["Usage:", "tip:", "For more information"];

impl Failure {
    /// Converts clap's error into a failure, so that it has the form of every other error.
    pub(crate) fn of_command_line(error: &clap::Error, command: &clap::Command) -> Self {
        let text = typed(error);
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let more: Vec<&str> =
            lines.take_while(|line| !AFTER_THE_REASON.iter().any(|start| line.starts_with(start))).collect();
        let why = if more.is_empty() { first } else { format!("{first} {}", more.join(" ")) };
        let missing = missing(error);
        let (why, fix) = match missing.as_slice() {
            [] => (
                why,
                tip(error)
                    .or_else(|| suggestion(error))
                    .map_or_else(|| "see --help".to_owned(), |it| format!("{it} See --help")),
            ),
            [one] => (format!("{one} is missing"), give(one, command)),
            all => {
                let fixes: Vec<_> = all.iter().map(|one| give(one, command)).collect();
                (format!("{} are missing", all.join(" and ")), fixes.join("; "))
            }
        };
        Self::new(USAGE, "usage", "the command line is wrong", why, fix)
    }
}

/// Returns the names of the arguments that are required and were not given, such as `--client-id`.
fn missing(error: &clap::Error) -> Vec<String> {
    let arguments = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(arguments))) => arguments.as_slice(),
        _ => &[],
    };
    arguments.iter().map(|text| text.split(' ').next().unwrap_or(text).to_owned()).collect()
}

/// Returns the advice for a missing argument, with its environment variable if it has one.
fn give(argument: &str, command: &clap::Command) -> String {
    match variable_of(argument, command) {
        Some(variable) => format!("give {argument} or set {variable}"),
        None => format!("give {argument}"),
    }
}

/// Returns the environment variable of a flag. The result is `None` if the flag has different variables in the command
/// and its subcommands.
fn variable_of(argument: &str, command: &clap::Command) -> Option<String> {
    let mut variables = Vec::new();
    add_variables(argument.strip_prefix("--")?, command, &mut variables);
    variables.dedup();
    if variables.len() == 1 { variables.pop() } else { None }
}

fn add_variables(flag: &str, command: &clap::Command, variables: &mut Vec<String>) {
    let own = command.get_arguments().filter(|known| known.get_long() == Some(flag));
    variables.extend(own.filter_map(|known| Some(known.get_env()?.to_string_lossy().into_owned())));
    command.get_subcommands().for_each(|command| add_variables(flag, command, variables));
}

/// Adds a tip to an error for which clap has no tip, or for which clap's guess is wrong.
pub(crate) fn with_tip(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    let Some(tip) = tip_for(&error, args) else { return error };
    error.insert(ContextKind::Custom, ContextValue::String(tip));
    error
}

fn tip_for(error: &clap::Error, args: &[OsString]) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let names = |command: &str| args.iter().take_while(|arg| *arg != "--").any(|arg| arg == command);
    let argument = text(ContextKind::InvalidArg);
    let flag = argument.split(' ').next().unwrap_or(argument);
    match error.kind() {
        ErrorKind::InvalidValue if !argument.is_empty() && text(ContextKind::InvalidValue).is_empty() => {
            let mut tip =
                format!("the value of {flag} is empty or missing; check the variable of your shell");
            if super::emulator::is_around() {
                tip.push_str(
                    "; your shell replaces the variables of `certbound emulator run` too early; write the command as sh -c '…' in single quotes",
                );
            }
            Some(tip)
        }
        ErrorKind::UnknownArgument if names("token") && flag.starts_with("--leg1-") => Some(match flag {
            "--leg1-certificate" | "--leg1-certificate-key" | "--leg1-managed-identity" => format!(
                "`token` runs the direct flow without legs, so write --{}; `exchange` runs both legs and has {flag}",
                flag.trim_start_matches("--leg1-")
            ),
            _ => {
                format!("`token` runs the direct flow without legs; `exchange` runs both legs and has {flag}")
            }
        }),
        ErrorKind::UnknownArgument if names("endpoint") && flag == "--tenant" => {
            Some("the tenant is a part of --authority: https://login.microsoftonline.com/TENANT".to_owned())
        }
        ErrorKind::UnknownArgument if names("config") && names("show") => {
            Some("write the command after two dashes: `certbound config show -- COMMAND`".to_owned())
        }
        _ => None,
    }
}

/// Returns the tip that [`with_tip`] added.
fn tip(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::Custom)? {
        ContextValue::String(tip) => Some(format!("{tip}.")),
        _ => None,
    }
}

/// Returns the question whether clap's guess is the intended name or value.
fn suggestion(error: &clap::Error) -> Option<String> {
    guess(error).map(|guess| format!("did you mean `{guess}`?"))
}

/// Returns clap's guess at the intended name or value.
pub(crate) fn guess(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    })
}

/// Formats the error that clap reports, without tokens. The error may repeat a token that was typed in the wrong place.
fn typed(error: &clap::Error) -> String {
    without_tokens(&lines(&error.render().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_command_line_has_its_own_advice() {
        let command = || {
            let id = clap::Arg::new("id").long("client-id").env("AZURE_CLIENT_ID").required(true);
            let file = clap::Arg::new("file").long("certificate");
            let token = clap::Command::new("token").arg(id).arg(file);
            clap::Command::new("certbound").subcommand(token).subcommand_required(true)
        };
        let failure = |args: &[&str]| {
            let args = ["certbound"].iter().chain(args);
            let error = command().try_get_matches_from(args).unwrap_err();
            Failure::of_command_line(&error, &command())
        };
        let missing = failure(&["token"]);
        assert_eq!(missing.why, "--client-id is missing");
        assert_eq!(missing.fix, "give --client-id or set AZURE_CLIENT_ID");
        let mistyped = failure(&["token", "--client-id", "x", "--certificat", "y"]);
        assert_eq!(mistyped.fix, "did you mean `--certificate`? See --help");
        assert_eq!(failure(&["tokn"]).fix, "did you mean `token`? See --help");
        assert_eq!(failure(&["token", "--client-id", "x", "--zzz"]).fix, "see --help");
    }
}
