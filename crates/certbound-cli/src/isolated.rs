//! Isolated runs: a network namespace for one program, in which the real names lead to the emulator.
//!
//! `certbound emulator run --isolated` starts itself again under `unshare -Urnm`. The new process is root of a user
//! namespace, has a network with loopback only, and has mounts that no other process sees. Inside, `names` resolves the
//! names of emulated hosts to 127.0.0.1. The emulator listens there on the ports of the real hosts, and also at the
//! address of the real metadata service. COMMAND runs under its caller's user id again.

#[cfg(target_os = "linux")]
mod arc;
#[cfg(target_os = "linux")]
mod caller;
#[cfg(target_os = "linux")]
mod names;
#[cfg(target_os = "linux")]
mod network;

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

#[cfg(target_os = "linux")]
pub(crate) use self::caller::Caller;
use crate::failure::Failure;
use crate::hosted::Hosted;
use crate::usage::Usage;

const UNSHARE: [&str; 1] = ["-Urnm"];

/// This variable is set for the process inside the namespaces. The variable is no proof, because anyone can set it. It
/// prevents a second attempt to enter the namespaces.
const VARIABLE: &str = "CERTBOUND_EMULATOR_INSIDE";

/// This build has no isolated runs, so no process is inside an isolated run.
#[cfg(not(target_os = "linux"))]
pub(crate) enum Caller {}

/// Returns the caller of the isolated run, if this process is inside an isolated run.
#[cfg(target_os = "linux")]
pub(crate) fn caller() -> Result<Option<Caller>, Failure> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(None);
    }
    let caller = Caller::of_inner_process().map_err(|reason| Usage::NotInside { reason })?;
    Ok(Some(caller))
}

/// This system has no namespaces, so no process is inside an isolated run.
#[cfg(not(target_os = "linux"))]
pub(crate) fn caller() -> Result<Option<Caller>, Failure> {
    Ok(None)
}

/// Starts this program again inside new namespaces. Returns only if the start fails.
pub(crate) fn enter() -> Failure {
    if !cfg!(target_os = "linux") {
        return Usage::NotLinux.into();
    }
    // This trial run reports the reason if `unshare` fails. The real run replaces this process, so its exit code is the
    // exit code of COMMAND.
    let probe = Command::new("unshare").args(UNSHARE).arg("true").stdin(Stdio::null()).output();
    let reason = match probe {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Usage::NoUnshare.into();
        }
        Err(error) => Some(error.to_string()),
    };
    if let Some(reason) = reason {
        return Usage::NoNamespaces { reason }.into();
    }
    Usage::Isolation { what: "the isolated run", reason: start_anew().to_string() }.into()
}

fn start_anew() -> std::io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut command = Command::new("unshare");
    command.args(UNSHARE).arg("--").arg(program).args(std::env::args_os().skip(1));
    command.env(VARIABLE, "true").exec()
}

/// The parts that must exist until the end of COMMAND.
pub(crate) struct Isolation {
    caller: Caller,
    #[cfg(target_os = "linux")]
    _names: names::Names,
}

/// Enables the network, and lets the emulator listen in place of the real hosts in this network.
#[cfg(target_os = "linux")]
pub(crate) async fn inhabit(hosted: &mut Hosted, caller: Caller) -> Result<Isolation, Failure> {
    use std::net::{Ipv4Addr, SocketAddr};

    let unusable = |what: &'static str| {
        move |error: std::io::Error| Failure::from(Usage::Isolation { what, reason: error.to_string() })
    };
    network::bring_up().map_err(unusable("the network of the isolated run"))?;
    let names = names::Names::answer(&hosted.emulator)
        .await
        .map_err(unusable("the name resolution of the isolated run"))?;
    let https = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
    hosted.server.listen_as_the_real_hosts(https).await.map_err(unusable("port 443 of the isolated run"))?;
    hosted
        .server
        .listen_as_the_real_metadata_service()
        .await
        .map_err(unusable("the metadata service of the isolated run"))?;
    hosted
        .server
        .listen_as_the_real_cloud_shell()
        .await
        .map_err(unusable("port 50342 of the isolated run"))?;
    Ok(Isolation { caller, _names: names })
}

/// Installs an agent of Azure Arc inside the isolated run.
#[cfg(target_os = "linux")]
pub(crate) fn install_arc_agent(hosted: &Hosted) -> Result<(), Failure> {
    let unusable = |error: std::io::Error| Usage::Isolation {
        what: "the folder of Azure Arc's agent in the isolated run",
        reason: error.to_string(),
    };
    Ok(arc::install(&hosted.emulator).map_err(unusable)?)
}

/// This system has no namespaces, so this function returns an error.
#[cfg(not(target_os = "linux"))]
pub(crate) fn install_arc_agent(_: &Hosted) -> Result<(), Failure> {
    Err(Usage::NotLinux.into())
}

/// This system has no namespaces, so this function is never called.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn inhabit(_: &mut Hosted, caller: Caller) -> Result<Isolation, Failure> {
    match caller {}
}

impl Isolation {
    /// Returns the command line that runs COMMAND under its caller's user and group. Inside, the caller is root, and
    /// some programs behave differently for root.
    #[cfg(target_os = "linux")]
    pub(crate) fn as_caller(&self, command: &[OsString]) -> Vec<OsString> {
        let Caller { uid, gid } = self.caller;
        if uid == 0 {
            return command.to_vec();
        }
        let (user, group) = (format!("--map-user={uid}"), format!("--map-group={gid}"));
        let mut all: Vec<OsString> =
            vec!["unshare".into(), "-U".into(), user.into(), group.into(), "--".into()];
        all.extend_from_slice(command);
        all
    }

    /// This system has no namespaces, so this function is never called.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn as_caller(&self, _: &[OsString]) -> Vec<OsString> {
        match self.caller {}
    }
}

/// Variables that concern only this command. They are removed from COMMAND's environment.
pub(crate) const INTERNAL_VARIABLES: [&str; 2] = [VARIABLE, "CERTBOUND_EMULATOR_ISOLATED"];
