//! Refusals of the command line itself, which runs here as scripts run it.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::evidence::{Outcome, Refusal};
use super::stage::Stage;
use super::tamper::Tamper;

/// Commands that make a managed identity Leg 2: an exchange, and a call that also has a Leg 1.
const MACHINE_AS_LEG_2: [&[&str]; 2] = [
    &["exchange", "--managed-identity", "system", "--scope", "https://vault.azure.net/.default"],
    &["call", "--managed-identity", "system", "--leg1-client-id", "any", "https://demo.vault.azure.net/"],
];

/// Runs each command and returns its result.
pub(super) async fn machine_as_leg2(program: &Path, stage: &Stage, tamper: Tamper) -> Outcome<Vec<Refusal>> {
    let mut refusals = Vec::new();
    for command in MACHINE_AS_LEG_2 {
        let command: Vec<&str> = command
            .iter()
            .map(|word| match *word {
                "--managed-identity" if tamper == Tamper::MachineInLeg1 => "--leg1-managed-identity",
                word => word,
            })
            .collect();
        refusals.push(refused(program, stage, &command).await?);
    }
    Ok(refusals)
}

/// Runs one command. Its environment leads all its requests to the emulator.
async fn refused(program: &Path, stage: &Stage, arguments: &[&str]) -> Outcome<Refusal> {
    let mut command = Command::new(program);
    command.args(arguments).args(["-o", "json"]).stdin(Stdio::null()).kill_on_drop(true).env_clear();
    command.env("HTTPS_PROXY", stage.proxy()).env("CERTBOUND_NO_CACHE", "true");
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", stage.metadata_service());
    let name = arguments.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    let output = command.output().await.map_err(|error| format!("`{name}` could not be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let error: Option<Value> = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
    let code = error.and_then(|error| error["error"]["code"].as_str().map(str::to_owned)).unwrap_or_default();
    Ok(Refusal { command: name, exit: output.status.code(), code })
}
