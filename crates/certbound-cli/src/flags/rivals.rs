//! Flags that exclude each other. A flag on the command line overrides the environment. A variable of certbound
//! overrides a variable that every Azure SDK reads. Two flags, or two variables of the same kind, are a mistake, which
//! clap or `plan` reports.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

/// Pairs of flags that conflict: each flag on the left with each flag on its right.
type Rivals = &'static [(&'static str, &'static [&'static str])];

const RIVALS: Rivals = &[
    ("bearer", &["bound", "require-observed-binding"]),
    ("issuer", &["tenant", "region", "authority"]),
    (
        "managed-identity",
        &[
            "client-id",
            "tenant",
            "region",
            "global-if-region-unreachable",
            "authority",
            "issuer",
            "no-authority-validation",
            "certificate",
            "certificate-key",
            "certificate-password-env",
            "client-secret-env",
            "bearer-over-mtls",
            "no-x5c",
            "assertion-file",
            "leg1-certificate",
            "leg1-certificate-key",
            "leg1-managed-identity",
            "leg1-client-id",
            "leg1-tenant",
        ],
    ),
    (
        "leg1-managed-identity",
        &[
            "certificate",
            "certificate-key",
            "certificate-password-env",
            "client-secret-env",
            "bearer-over-mtls",
            "no-x5c",
            "assertion-file",
            "leg1-certificate",
            "leg1-certificate-key",
            "leg1-client-id",
            "leg1-tenant",
        ],
    ),
    (
        "leg1-certificate",
        &[
            "certificate",
            "certificate-key",
            "client-secret-env",
            "bearer-over-mtls",
            "no-x5c",
            "assertion-file",
        ],
    ),
    ("client-secret-env", &["certificate", "certificate-key", "assertion-file"]),
];

/// In `token` an assertion has no certificate, so the two flags conflict. In the other commands they belong together.
const RIVALS_IN_THE_DIRECT_FLOW: Rivals = &[("assertion-file", &["certificate", "certificate-key"])];

/// Variables of certbound that add a fact to the Azure SDKs' certificate variable. They have the same rank as that
/// variable.
const GO_WITH_THE_SDKS: [&str; 2] = ["CERTBOUND_CERTIFICATE_KEY", "CERTBOUND_CERTIFICATE_PASSWORD_ENV"];

/// Removes the variables that must not be read, and hides the values of variables from the help, because some values
/// are private file names. The short help has neither variables nor possible values.
pub(crate) fn settle(command: Command, args: &[OsString]) -> Command {
    let ring = Ring::of(&command, args);
    let short = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "-h");
    let settled = command.mut_args(|arg| {
        let arg = ring.settle(arg);
        match (short, arg.get_action().takes_values()) {
            (true, true) => arg.hide_env(true).hide_possible_values(true).hide_default_value(true),
            (true, false) => arg.hide_env(true),
            (false, _) => arg,
        }
    });
    settled.mut_subcommands(|next| settle(next, args))
}

/// The flags of one command, and the variables that are set.
struct Ring<'a> {
    /// Each long flag name whose variable is set, and the variable.
    set: Vec<(String, OsString)>,
    typed: &'a [OsString],
    rivals: Vec<(&'static str, &'static str)>,
}

impl<'a> Ring<'a> {
    fn of(command: &Command, typed: &'a [OsString]) -> Self {
        let set = command.get_arguments().filter_map(|arg| {
            let (long, name) = (arg.get_long()?, arg.get_env()?);
            is_set(name).then(|| (long.to_owned(), name.to_owned()))
        });
        let two_legs = command.get_arguments().any(|arg| arg.get_long() == Some("leg1-certificate"));
        let more = if two_legs { &[] } else { RIVALS_IN_THE_DIRECT_FLOW };
        let pairs = RIVALS
            .iter()
            .chain(more)
            .flat_map(|(one, others)| others.iter().flat_map(move |other| [(*one, *other), (*other, *one)]));
        Self { set: set.collect(), typed, rivals: pairs.collect() }
    }

    fn settle(&self, arg: Arg) -> Arg {
        let Some(name) = arg.get_env().map(OsStr::to_owned) else { return arg };
        let silenced = is_empty(&name) || arg.get_long().is_some_and(|long| self.is_silenced(long));
        let arg = arg.hide_env_values(true);
        if silenced { arg.env(None::<&'static str>) } else { arg }
    }

    fn is_silenced(&self, long: &str) -> bool {
        self.is_beaten(long)
            || self.is_of_the_sdks(long)
                && self
                    .rivals_of(long)
                    .any(|rival| self.variable(rival).is_some_and(is_ours) && !self.is_beaten(rival))
    }

    /// Returns whether a flag on the command line overrides this one.
    fn is_beaten(&self, long: &str) -> bool {
        self.rivals_of(long).any(|rival| is_typed(rival, self.typed))
    }

    fn rivals_of(&self, long: &str) -> impl Iterator<Item = &'static str> {
        let of = move |(one, other): &(&'static str, &'static str)| (*other == long).then_some(*one);
        self.rivals.iter().filter_map(of)
    }

    fn is_of_the_sdks(&self, long: &str) -> bool {
        self.variable(long).is_some_and(|name| !is_ours(name))
    }

    /// Returns the variable of a flag, if it is set.
    fn variable(&self, long: &str) -> Option<&OsStr> {
        self.set.iter().find(|(known, _)| known == long).map(|(_, name)| name.as_os_str())
    }
}

fn is_ours(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("CERTBOUND_") && !GO_WITH_THE_SDKS.contains(&name))
}

fn is_typed(long: &str, args: &[OsString]) -> bool {
    let typed = args.iter().filter_map(|arg| arg.to_str()).take_while(|arg| *arg != "--");
    typed
        .filter_map(|arg| arg.strip_prefix("--"))
        .any(|arg| arg == long || arg.strip_prefix(long).is_some_and(|rest| rest.starts_with('=')))
}

fn is_set(name: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Returns whether a variable is empty; an empty variable counts as not set.
fn is_empty(name: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}
