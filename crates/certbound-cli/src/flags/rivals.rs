//! Typed flags beat the environment: where two flags exclude each other, a typed one silences the other's variable.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

/// `(typed, silenced)`: beside the first on the command line, the second's environment variable is not read.
const RIVALS: &[(&str, &str)] = &[
    ("bearer", "bound"),
    ("bound", "bearer"),
    ("leg1-certificate", "assertion-file"),
    ("leg1-certificate", "certificate"),
    ("leg1-certificate", "certificate-key"),
    ("assertion-file", "leg1-certificate"),
    ("certificate", "leg1-certificate"),
    ("certificate", "client-secret-env"),
    ("leg1-managed-identity", "certificate"),
    ("leg1-managed-identity", "certificate-key"),
    ("leg1-managed-identity", "assertion-file"),
    ("leg1-managed-identity", "leg1-certificate"),
    ("leg1-managed-identity", "managed-identity"),
    ("leg1-certificate", "leg1-managed-identity"),
    ("assertion-file", "leg1-managed-identity"),
    ("certificate", "leg1-managed-identity"),
    ("certificate", "managed-identity"),
    ("client-secret-env", "managed-identity"),
    ("managed-identity", "certificate"),
    ("managed-identity", "certificate-key"),
    ("managed-identity", "client-secret-env"),
    ("managed-identity", "assertion-file"),
    ("managed-identity", "leg1-certificate"),
    ("managed-identity", "leg1-managed-identity"),
    ("issuer", "tenant"),
    ("issuer", "region"),
    ("issuer", "authority"),
    ("client-secret-env", "certificate"),
    ("client-secret-env", "certificate-key"),
    ("client-secret-env", "assertion-file"),
    ("client-secret-env", "leg1-certificate"),
];

/// In `token` an assertion is bound to nothing, so it stands against a certificate; in the others it goes with one.
const RIVALS_IN_THE_DIRECT_FLOW: &[(&str, &str)] = &[
    ("assertion-file", "certificate"),
    ("assertion-file", "certificate-key"),
    ("assertion-file", "client-secret-env"),
    ("certificate", "assertion-file"),
];

/// Our own variable for Leg 1's certificate says more than the one that every Azure SDK reads.
const LEG1_CERTIFICATE: &str = "CERTBOUND_LEG1_CERTIFICATE";

/// Takes away the variables that must not be read, and keeps values out of the help: some variables hold file names
/// that are nobody's business.
pub(super) fn settle(command: Command, args: &[OsString]) -> Command {
    let two_legs = command.get_arguments().any(|arg| arg.get_long() == Some("leg1-certificate"));
    command.mut_args(|arg| settle_one(arg, args, two_legs)).mut_subcommands(|next| settle(next, args))
}

fn settle_one(arg: Arg, args: &[OsString], two_legs: bool) -> Arg {
    let Some(name) = arg.get_env().map(OsStr::to_owned) else { return arg };
    let silenced = is_empty(&name) || arg.get_long().is_some_and(|long| is_silenced(long, args, two_legs));
    let arg = arg.hide_env_values(true);
    if silenced { arg.env(None::<&'static str>) } else { arg }
}

fn is_silenced(long: &str, args: &[OsString], two_legs: bool) -> bool {
    let more = if two_legs { &[] } else { RIVALS_IN_THE_DIRECT_FLOW };
    let beaten = RIVALS.iter().chain(more).any(|(by, silenced)| *silenced == long && is_typed(by, args));
    let ours_is_meant = two_legs && is_set(LEG1_CERTIFICATE) && !is_typed("assertion-file", args);
    beaten
        || (ours_is_meant
            && matches!(long, "certificate" | "certificate-key")
            && !is_typed("certificate", args))
}

fn is_typed(long: &str, args: &[OsString]) -> bool {
    let typed = args.iter().filter_map(|arg| arg.to_str()).take_while(|arg| *arg != "--");
    typed
        .filter_map(|arg| arg.strip_prefix("--"))
        .any(|arg| arg == long || arg.strip_prefix(long).is_some_and(|rest| rest.starts_with('=')))
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// A variable set to nothing counts as not set.
fn is_empty(name: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}
