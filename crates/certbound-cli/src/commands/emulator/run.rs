//! `emulator run`: starts an emulator, and runs a program that uses it.

use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use certbound_emulator::{APP_SERVICE, AZURE_ARC, CLOUD_SHELL, MACHINE_LEARNING, PLATFORM_SECRET};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::variables;
use crate::failure::Failure;
use crate::flags::{EmulatorRunFlags, PlatformFlag};
use crate::hosted::{Hosted, Listening};
use crate::isolated;
use crate::output::tell;
use crate::signals::Signals;
use crate::usage::Usage;

/// Exit code if the emulator failed; env(1) uses the same code for its own failures.
const OWN_FAILURE: u8 = 125;
/// Exit code if COMMAND was found but cannot be run.
const NOT_RUN: u8 = 126;
/// Exit code if COMMAND was not found.
const NOT_FOUND: u8 = 127;

pub(super) async fn run(flags: &EmulatorRunFlags) -> Result<ExitCode, Failure> {
    hosted_run(flags).await.map_err(|failure| Failure { exit: OWN_FAILURE, ..failure })
}

async fn hosted_run(flags: &EmulatorRunFlags) -> Result<ExitCode, Failure> {
    let with_arc = flags.platform == PlatformFlag::Arc;
    if with_arc && !flags.isolated {
        return Err(Usage::ArcOutside.into());
    }
    let inside = if flags.isolated { isolated::caller()? } else { None };
    if flags.isolated && inside.is_none() {
        return Err(isolated::enter());
    }
    let (what, command) = (super::world::load(&flags.what)?, &flags.command);
    let mut signals =
        Signals::watch().map_err(|error| Failure::of_system("signals cannot be received", &error))?;
    let mut hosted = Hosted::start(what, Listening::default(), None).await?;
    let isolation = match inside {
        Some(caller) => Some(isolated::inhabit(&mut hosted, caller).await?),
        None => None,
    };
    if with_arc {
        isolated::install_arc_agent(&hosted)?;
    }
    let variables = platform_variables(flags.platform, &hosted, flags.isolated)?;
    let spawned = match &isolation {
        Some(isolation) => spawn(&isolation.as_caller(command), &hosted, variables, true),
        None => spawn(command, &hosted, variables, false),
    };
    let code = match spawned {
        Ok(mut child) => wait(&mut child, &mut signals).await,
        Err(error) => {
            let name = command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let (code, fix) = match error.kind() {
                ErrorKind::NotFound => (NOT_FOUND, "check the name, or give the path of the program"),
                _ => (NOT_RUN, "give a program that this user may execute"),
            };
            tell(&format!("certbound emulator run: {name}: {error}"));
            tell(&format!("  fix: {fix}"));
            Ok(ExitCode::from(code))
        }
    };
    hosted.stop().await;
    code
}

fn spawn(
    command: &[OsString],
    hosted: &Hosted,
    platform: Vec<(&'static str, OsString)>,
    isolated: bool,
) -> std::io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or(ErrorKind::NotFound)?;
    let mut child = Command::new(program);
    child.args(arguments).kill_on_drop(true);
    for name in isolated::INTERNAL_VARIABLES.iter().chain(&OF_SERVICE_MANAGER) {
        child.env_remove(name);
    }
    for name in variables::REMOVED {
        child.env_remove(name);
    }
    for (name, value) in variables::of_emulator(hosted) {
        // Inside the namespace the real names and addresses already lead to the emulator. The caller's values would
        // refer to addresses that do not exist in the namespace.
        if isolated && variables::ONLY_OUTSIDE.contains(&name) {
            child.env_remove(name)
        } else {
            child.env(name, value)
        };
    }
    child.envs(platform);
    child.spawn()
}

/// The variables of a service manager. They are for this process only.
const OF_SERVICE_MANAGER: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// Returns the variables that the platform sets.
fn platform_variables(
    platform: PlatformFlag,
    hosted: &Hosted,
    isolated: bool,
) -> Result<Vec<(&'static str, OsString)>, Failure> {
    let imds = hosted.server.metadata_url();
    let at = |path: &str| OsString::from(format!("{imds}{path}"));
    let secret = || OsString::from(PLATFORM_SECRET);
    Ok(match platform {
        PlatformFlag::Imds => Vec::new(),
        PlatformFlag::AppService => {
            vec![("IDENTITY_ENDPOINT", at(APP_SERVICE)), ("IDENTITY_HEADER", secret())]
        }
        PlatformFlag::ServiceFabric => vec![
            ("IDENTITY_ENDPOINT", hosted.server.service_fabric_url().into()),
            ("IDENTITY_HEADER", secret()),
            ("IDENTITY_SERVER_THUMBPRINT", hosted.emulator.service_fabric_thumbprint().to_string().into()),
            // MSAL for Node does not support thumbprints, so it needs a trusted certificate.
            ("NODE_EXTRA_CA_CERTS", hosted.ca_with_service_fabric()?.into()),
        ],
        PlatformFlag::Arc => vec![("IDENTITY_ENDPOINT", at(AZURE_ARC)), ("IMDS_ENDPOINT", at(""))],
        PlatformFlag::Ml => {
            let identities = &hosted.emulator.world().managed_identities;
            let own = identities.iter().find(|identity| identity.resource_id.is_none());
            let own = own.map(|identity| ("DEFAULT_IDENTITY_CLIENT_ID", identity.client_id.clone().into()));
            [("MSI_ENDPOINT", at(MACHINE_LEARNING)), ("MSI_SECRET", secret())]
                .into_iter()
                .chain(own)
                .collect()
        }
        PlatformFlag::CloudShell => {
            let mut variables = vec![("MSI_ENDPOINT", at(CLOUD_SHELL))];
            // A program that detects Cloud Shell by this variable, such as MSAL for Python, uses the address of the
            // real Cloud Shell. The emulator has that address only inside the namespace.
            if isolated {
                variables.push(("AZUREPS_HOST_ENVIRONMENT", "cloud-shell/1.0".into()));
            }
            variables
        }
    })
}

async fn wait(child: &mut Child, signals: &mut Signals) -> Result<ExitCode, Failure> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status.map_err(|error| Failure::of_system("certbound cannot wait for COMMAND", &error))?;
                return Ok(code(status));
            }
            signal = signals.next() => forward(pid, signal),
        }
    }
}

fn forward(pid: Option<Pid>, signal: Signal) {
    // The terminal sends Ctrl-C to COMMAND too. A second signal could have a different effect than the first signal.
    let from_keyboard = signal == Signal::INT || signal == Signal::QUIT;
    let by_terminal = from_keyboard && std::io::stdin().is_terminal();
    if let Some(pid) = pid.filter(|_| !by_terminal) {
        // COMMAND may have ended in the meantime.
        let _ = kill_process(pid, signal);
    }
}

fn code(status: ExitStatus) -> ExitCode {
    let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(number).unwrap_or(1))
}
