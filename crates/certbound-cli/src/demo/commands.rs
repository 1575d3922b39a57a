//! The command line as evidence: its help, the README, and its refusals.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::facts::{Fallible, Named};
use super::stage::Stage;
use super::tamper::Tamper;

/// Commands that use a managed identity as Leg 2: an exchange, and a call with a flag of Leg 1.
const MACHINE_AS_LEG_2: [(&str, &[&str]); 2] = [
    ("exchange", &["--scope", "https://vault.azure.net/.default"]),
    ("call", &["--leg1-client-id", "any", "https://demo.vault.azure.net/"]),
];

/// Runs each command, and returns its exit code with its error code.
pub(super) async fn machine_as_leg2(program: &Path, stage: &Stage) -> Fallible<Named> {
    let spoiled = stage.transport.with == Tamper::MachineInLeg1;
    let flag = if spoiled { "--leg1-managed-identity" } else { "--managed-identity" };
    let mut results = Named::new();
    for (name, arguments) in MACHINE_AS_LEG_2 {
        let mut command = command(program);
        command.args([name, "-o", "json", flag, "system"]).args(arguments).env("CERTBOUND_NO_CACHE", "true");
        // These variables lead all requests of the command to the emulator.
        command.env("HTTPS_PROXY", stage.server.proxy_url());
        command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", stage.server.metadata_url());
        let output = command.output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        let error: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_default();
        let (exit, code) = (output.status.code().unwrap_or(-1), error["error"]["code"].as_str());
        results.push((name, format!("exit {exit}, {}", code.unwrap_or("no code"))));
    }
    Ok(results)
}

const README: &str = include_str!("../../../../README.md");
const COMMANDS: [&str; 7] = ["demo", "token", "assertion", "exchange", "call", "endpoint", "emulator"];

/// Returns the README, the help of each command of `COMMANDS`, these helps as one text, and the passages on the direct
/// flow.
pub(super) async fn documents(program: &Path) -> Fallible<Named> {
    let mut facts = Named::new();
    for name in COMMANDS {
        let output = command(program).args([name, "--help"]).output().await?;
        let help = String::from_utf8_lossy(&output.stdout);
        facts.push((name, help.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    let help: Vec<&str> = facts.iter().map(|(_, help)| help.as_str()).collect();
    let token = facts.iter().filter(|(name, _)| *name == "token").map(|(_, help)| help.as_str());
    let direct: Vec<&str> = README.lines().filter(|line| line.contains("direct flow")).chain(token).collect();
    let (help, direct) = (help.join(" "), direct.join(" "));
    facts.extend([("readme", README.to_owned()), ("direct", direct), ("help", help)]);
    Ok(facts)
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true).env_clear();
    command
}
