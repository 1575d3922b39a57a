//! The lines of the checklist whose evidence is the README and the help.

use clap::CommandFactory as _;

use crate::flags::Cli;

const README: &str = include_str!("../../../../README.md");

/// Checks that the README and the help of these commands contain all of `terms`.
pub(super) fn both_say(commands: &[&str], terms: &[&str]) -> Result<String, String> {
    let help: String = commands.iter().map(|command| help(command)).collect();
    for (place, text) in [("README", README), ("help", &help)] {
        if let Some(term) = terms.iter().find(|term| !says(text, term)) {
            return Err(format!("the {place} does not say `{term}`"));
        }
    }
    Ok(format!("the README and the help of {} say {}", commands.join(", "), terms.join(", ")))
}

/// Checks that the documentation describes the direct flow separately and without legs.
pub(super) fn direct_flow_is_apart() -> Result<String, String> {
    let token = help("token");
    let mixed = |text: &str| ["Leg 1", "Leg 2", "leg1", "jwt-pop"].into_iter().find(|word| says(text, word));
    if let Some(word) = mixed(&token) {
        return Err(format!("the help of `token` contains {word}"));
    }
    let direct: Vec<&str> = README.lines().filter(|line| says(line, "direct flow")).collect();
    if direct.is_empty() || !says(&token, "direct flow") {
        return Err("the direct flow is not named".to_owned());
    }
    match direct.iter().find_map(|line| mixed(line)) {
        Some(word) => Err(format!("the README mixes the direct flow with {word} in one line")),
        None => Ok(format!(
            "{} lines of the README and the help of `token` keep the direct flow apart",
            direct.len()
        )),
    }
}

/// Checks that no command has a flag or a word for experimental features.
pub(super) fn no_experimental_switch() -> Result<String, String> {
    let all = ["demo", "token", "assertion", "exchange", "call", "endpoint", "emulator"];
    match all.into_iter().find(|command| says(&help(command), "experimental")) {
        Some(command) => Err(format!("`{command}` has an experimental switch")),
        None => Ok("no command and no call has such a switch; there is nothing to forget".to_owned()),
    }
}

fn help(command: &str) -> String {
    let mut cli = Cli::command();
    let found = cli.find_subcommand_mut(command);
    // The help wraps lines, so the line breaks are removed before the search.
    let text = found.map(|command| command.render_long_help().to_string()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn says(text: &str, term: &str) -> bool {
    text.to_ascii_lowercase().contains(&term.to_ascii_lowercase())
}
