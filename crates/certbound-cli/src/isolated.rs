//! A network of its own for one program, in which the real names lead to the emulator.
//!
//! `certbound emulator run --isolated` starts itself anew under `unshare -Urnm`: as root of a user namespace, with a
//! network that has nothing but loopback, and mounts that nobody else sees. In there names are answered by `names`, the
//! emulator listens where the real hosts would, and COMMAND runs under its caller's user id again.

#[cfg(target_os = "linux")]
mod arc;
mod caller;
#[cfg(target_os = "linux")]
mod names;
#[cfg(target_os = "linux")]
mod network;

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use self::caller::Caller;
use crate::failure::Failure;
use crate::hosted::Hosted;
use crate::usage::Usage;

const UNSHARE: [&str; 1] = ["-Urnm"];

/// Whether this process is the one inside.
pub(crate) fn is_inside() -> bool {
    Caller::of_inner_process().is_some()
}

/// Starts this program anew inside. Returns only if that fails.
pub(crate) fn enter() -> Failure {
    if !cfg!(target_os = "linux") {
        return Usage::NotLinux.into();
    }
    // Tried once for its error: afterwards the exit code is COMMAND's.
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
    Usage::NoNamespaces { reason: start_anew().to_string() }.into()
}

fn start_anew() -> std::io::Error {
    let known = std::env::current_exe().and_then(|program| Ok((program, Caller::of_process()?)));
    let (program, caller) = match known {
        Ok(known) => known,
        Err(error) => return error,
    };
    let mut command = Command::new("unshare");
    command.args(UNSHARE).arg("--").arg(program).args(std::env::args_os().skip(1));
    command.env(caller::VARIABLE, caller.to_variable()).exec()
}

/// What runs while COMMAND does.
pub(crate) struct Isolation {
    #[cfg(target_os = "linux")]
    _names: names::Names,
}

/// Makes the network usable and the emulator its only inhabitant.
#[cfg(target_os = "linux")]
pub(crate) async fn inhabit(hosted: &mut Hosted) -> Result<Isolation, Failure> {
    use std::net::{Ipv4Addr, SocketAddr};

    let unusable = |what: &'static str| {
        move |error: std::io::Error| Failure::from(Usage::Isolation { what, reason: error.to_string() })
    };
    network::bring_up().await.map_err(unusable("the network inside"))?;
    let names = names::Names::answer(hosted.emulator()).await.map_err(unusable("the names inside"))?;
    let https = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
    hosted.listen_as_the_real_hosts(https).await.map_err(unusable("port 443 inside"))?;
    hosted.listen_as_the_real_metadata_service().await.map_err(unusable("the metadata service inside"))?;
    hosted.listen_as_the_real_cloud_shell().await.map_err(unusable("port 50342 inside"))?;
    Ok(Isolation { _names: names })
}

/// Gives the machine inside an agent of Azure Arc.
#[cfg(target_os = "linux")]
pub(crate) fn install_arc_agent(hosted: &Hosted) -> Result<(), Failure> {
    let unusable = |error: std::io::Error| Usage::Isolation {
        what: "the folder of Azure Arc's agent inside",
        reason: error.to_string(),
    };
    Ok(arc::install(hosted.emulator()).map_err(unusable)?)
}

/// Nobody is inside.
#[cfg(not(target_os = "linux"))]
pub(crate) fn install_arc_agent(_: &Hosted) -> Result<(), Failure> {
    Err(Usage::NotLinux.into())
}

/// There are no namespaces here, so nobody is inside one.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn inhabit(_: &mut Hosted) -> Result<Isolation, Failure> {
    Err(Usage::NotLinux.into())
}

/// COMMAND under its caller's user and group: in here that caller is root, which programs notice.
pub(crate) fn as_caller(command: &[OsString]) -> Vec<OsString> {
    match Caller::of_inner_process() {
        Some(Caller { uid, gid, .. }) if uid != 0 => {
            let mut all: Vec<OsString> =
                ["unshare".into(), "-U".into(), format!("--map-user={uid}").into()].to_vec();
            all.extend([format!("--map-group={gid}").into(), "--".into()]);
            all.extend_from_slice(command);
            all
        }
        _ => command.to_vec(),
    }
}

/// Nobody below need know how it came about.
pub(crate) const INTERNAL_VARIABLES: [&str; 2] = [caller::VARIABLE, "CERTBOUND_EMULATOR_ISOLATED"];
