//! The names of flags and their help.

mod help;

use std::ffi::OsString;

use super::*;

/// Returns every argument that begins with a dash, with its command.
fn flags() -> Vec<(String, clap::Arg)> {
    fn walk(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Arg)>) {
        let path = format!("{path} {}", command.get_name());
        let own = command.get_arguments().filter(|arg| !arg.is_positional());
        found.extend(own.map(|arg| (path.clone(), arg.clone())));
        command.get_subcommands().for_each(|next| walk(next, &path, found));
    }
    let mut found = Vec::new();
    walk(&Cli::command(), "", &mut found);
    found
}

#[test]
fn the_table_of_flags_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn each_flag_is_explained_and_has_an_environment_variable() {
    let flags = flags();
    assert!(flags.len() > 40, "{}", flags.len());
    for (command, flag) in flags {
        let name = flag.get_id().as_str();
        assert!(flag.get_long().is_some(), "{command} {name} has no long form");
        assert!(flag.get_help().is_some_and(|help| !help.to_string().is_empty()), "{command} --{name}");
        let env = flag.get_env().and_then(|env| env.to_str());
        assert!(
            env.is_some_and(|env| env.starts_with("CERTBOUND_") || env.starts_with("AZURE_")),
            "{command} --{name}"
        );
    }
}

#[test]
fn a_flag_means_the_same_variable_in_every_command() {
    let mut known: Vec<(String, Option<OsString>)> = Vec::new();
    for (command, flag) in flags() {
        let name = flag.get_id().to_string();
        let env = flag.get_env().map(OsString::from);
        // `endpoint --authority` also contains a tenant; `AZURE_AUTHORITY_HOST` does not.
        if name == "authority" {
            continue;
        }
        match known.iter().find(|(other, _)| *other == name) {
            Some((_, expected)) => assert_eq!(&env, expected, "{command} --{name}"),
            None => known.push((name, env)),
        }
    }
}

/// With `CERTBOUND_WRITE_DOCS=1` this test writes the tables of the document instead of comparing them.
#[test]
fn the_document_of_configuration_files_lists_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once("<!-- keys -->\n").unwrap();
    let (found, after) = rest.split_once("<!-- end of keys -->").unwrap();
    let expected = tables_of_keys();
    if std::env::var_os("CERTBOUND_WRITE_DOCS").is_some() {
        std::fs::write(path, format!("{before}<!-- keys -->\n{expected}<!-- end of keys -->{after}"))
            .unwrap();
        return;
    }
    let name = "the_document_of_configuration_files_lists_every_key";
    assert_eq!(found, expected, "run `CERTBOUND_WRITE_DOCS=1 cargo test --workspace --lib -- {name}`");
}

/// Returns one table for each group of the help. Keys without a group belong to the first command that has them.
fn tables_of_keys() -> String {
    let root = Cli::command();
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for arg in crate::config::all_keys(&root) {
        let long = arg.get_long().unwrap();
        let has = |command: &&clap::Command| command.get_arguments().any(|arg| arg.get_long() == Some(long));
        let group = match (arg.get_help_heading(), flags_owner(&root, &has)) {
            (Some(heading), _) => heading.to_owned(),
            (None, Some(command)) => format!("`{command}`"),
            (None, None) => "All commands".to_owned(),
        };
        let values =
            arg.get_possible_values().iter().map(|it| format!("`\"{}\"`", it.get_name())).collect::<Vec<_>>();
        let value = match crate::config::kind(arg) {
            "a text" if crate::config::is_path(arg) => "a path".to_owned(),
            "a text" if !values.is_empty() => values.join(", "),
            kind => kind.to_owned(),
        };
        let help = arg.get_help().unwrap().to_string().replace('|', "\\|");
        let variable = arg.get_env().and_then(|name| name.to_str()).unwrap();
        let row = format!("| `{long}` | {value} | {help} | `{variable}` |\n");
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((group, vec![row])),
        }
    }
    let table = |(group, rows): (String, Vec<String>)| {
        format!("\n### {group}\n\n| Key | Value | Meaning | Variable |\n|---|---|---|---|\n{}", rows.concat())
    };
    groups.into_iter().map(table).collect::<String>() + "\n"
}

/// Returns the name of the first command without subcommands that has the flag itself.
fn flags_owner(root: &clap::Command, has: &dyn Fn(&&clap::Command) -> bool) -> Option<String> {
    root.get_subcommands().find_map(|command| match command.has_subcommands() {
        true => flags_owner(command, has).map(|name| format!("{} {name}", command.get_name())),
        false => has(&command).then(|| command.get_name().to_owned()),
    })
}
