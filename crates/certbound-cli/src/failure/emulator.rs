//! Advice for commands that use the emulator, and for commands that were meant to use it.

use certbound::Error;
use certbound::error::TransportError;
use certbound_emulator::world::builtin::{OTHER_TENANT, TENANT};

/// The variable by which `emulator run` passes the URL of its admin interface.
const ADMIN: &str = "CERTBOUND_EMULATOR_ADMIN";
/// The AADSTS number of the answer to a request for an unknown tenant.
const UNKNOWN_TENANT: u32 = 90_002;

/// Returns whether this process was started by `emulator run`, or in a shell with the variables of `emulator start`.
pub(super) fn is_around() -> bool {
    std::env::var_os(ADMIN).is_some()
}

/// Returns the advice for an error of a command that uses the emulator, or that was meant to use the emulator.
pub(super) fn fix(error: &Error, is_around: bool) -> Option<String> {
    if is_around {
        let Error::Transport { cause: TransportError::ProxyRefused { host, status: 403, .. }, .. } = error
        else {
            return None;
        };
        return Some(format!(
            "the emulator has no host {host}: check the name, or add the host to the world file (`certbound emulator world` prints the built-in world, and --world or CERTBOUND_EMULATOR_WORLD names the file)"
        ));
    }
    let is_unreachable = matches!(
        error,
        Error::Transport { cause: TransportError::Connect { .. } | TransportError::Proxy { .. }, .. }
    );
    let tenant = error.tenant().map(ToString::to_string)?;
    let is_builtin = [TENANT, OTHER_TENANT].contains(&tenant.as_str());
    (is_builtin && (is_unreachable || error.aadsts() == Some(UNKNOWN_TENANT))).then(|| {
        format!(
            "this tenant exists only in the emulator: put `certbound emulator run --` before the command; otherwise {}",
            error.fix()
        )
    })
}
