//! Flags that exclude each other. A flag on the command line overrides a conflicting flag of the environment. A
//! variable of certbound overrides a conflicting key of the configuration file. A key of the file overrides a
//! conflicting variable that every Azure SDK reads. If two flags of the same origin exclude each other, clap, `config`
//! or `plan` reports an error.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

/// Pairs of flags: the flag on the left with each flag on its right.
type Rivals = &'static [(&'static str, &'static [&'static str])];

/// Flags that conflict.
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
    (
        "client-secret-env",
        &[
            "certificate",
            "certificate-key",
            "assertion-file",
            "leg1-certificate-key",
            "leg1-client-id",
            "leg1-tenant",
        ],
    ),
    ("assertion-file", &["leg1-certificate-key", "leg1-client-id", "leg1-tenant"]),
];

/// In `token` an assertion has no certificate, so `--assertion-file` conflicts with the flags of a certificate. In the
/// other commands these flags belong together.
const RIVALS_IN_THE_DIRECT_FLOW: Rivals = &[("assertion-file", &["certificate", "certificate-key"])];

const LEG1_CERTIFICATE: &str = "leg1-certificate";
const LEG1_KEY: &str = "leg1-certificate-key";

/// Flags that belong to a certificate. In a configuration file they do not apply to a certificate of another source.
const COMPANIONS: Rivals =
    &[("certificate", &["certificate-key", "certificate-password-env"]), (LEG1_CERTIFICATE, &[LEG1_KEY])];

/// Variables of certbound that add a key or a password to AZURE_CLIENT_CERTIFICATE_PATH. They have the rank of this
/// variable of the Azure SDKs.
const GO_WITH_THE_SDKS: [&str; 2] = ["CERTBOUND_CERTIFICATE_KEY", "CERTBOUND_CERTIFICATE_PASSWORD_ENV"];

/// Removes the variables that clap must not read. Hides the values of variables from the help, because some values are
/// private file names. The short help has neither variables nor possible values.
pub(crate) fn settle(command: Command, args: &[OsString]) -> Command {
    let ring = Ring::of(&command, |long| is_typed(long, args), &[]);
    let short = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "-h");
    let settled = command.mut_args(|arg| {
        let arg = with_variable(&ring, arg);
        match (short, arg.get_action().takes_values()) {
            (true, true) => arg.hide_env(true).hide_possible_values(true).hide_default_value(true),
            (true, false) => arg.hide_env(true),
            (false, _) => arg,
        }
    });
    let own = settled.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
    let settled = if short { settled.after_help(format!("{own}{MORE_HELP}")) } else { settled };
    settled.mut_subcommands(|next| settle(next, args))
}

/// The end of the short help, which has only the usual flags.
const MORE_HELP: &str = "`--help` explains these flags and lists all flags with their variables.";

/// Removes the variable from a flag if the flag must not read it.
fn with_variable(ring: &Ring, arg: Arg) -> Arg {
    let Some(name) = arg.get_env().map(OsStr::to_owned) else { return arg };
    let silenced = is_empty(&name) || arg.get_long().is_some_and(|long| ring.silencer(long).is_some());
    let arg = arg.hide_env_values(true);
    if silenced { arg.env(None::<&'static str>) } else { arg }
}

/// The place from which a flag gets its value. Of two flags that exclude each other, the flag with the higher rank is
/// used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// A variable that every Azure SDK reads. The variable can be set for other programs.
    Sdk,
    /// The configuration file, for all profiles.
    File,
    /// The chosen profile of the configuration file.
    Profile,
    /// A variable of certbound.
    Variable,
    /// The command line.
    Typed,
}

/// The flags of one command that have a value, and the flags that exclude each other.
pub(crate) struct Ring {
    given: Vec<(String, Rank)>,
    rivals: Vec<(&'static str, &'static str)>,
    is_client: bool,
}

impl Ring {
    /// Creates the set of flags from the command line, the environment and a file. `file` contains the keys of the
    /// configuration file that have an effect, with their ranks. A variable overrides the same key of the file.
    pub(crate) fn of(command: &Command, typed: impl Fn(&str) -> bool, file: &[(String, Rank)]) -> Self {
        let given = command.get_arguments().filter_map(|arg| {
            let long = arg.get_long()?;
            let rank = match variable(arg) {
                _ if typed(long) => Some(Rank::Typed),
                // A switch that is off excludes no other flag.
                Some((_, value)) if !arg.get_action().takes_values() && is_off(&value) => None,
                Some((name, _)) => Some(if is_ours(&name) { Rank::Variable } else { Rank::Sdk }),
                None => file.iter().filter(|(key, _)| key == long).map(|(_, rank)| *rank).max(),
            };
            Some((long.to_owned(), rank?))
        });
        Self::new(command, given.collect())
    }

    /// Creates the set of flags from a file alone, without the command line and the environment.
    pub(crate) fn of_file(command: &Command, file: &[(String, Rank)]) -> Self {
        Self::new(command, file.to_vec())
    }

    fn new(command: &Command, given: Vec<(String, Rank)>) -> Self {
        let has = |long: &str| command.get_arguments().any(|arg| arg.get_long() == Some(long));
        let more = if has("leg1-certificate") { &[] } else { RIVALS_IN_THE_DIRECT_FLOW };
        let pairs = RIVALS
            .iter()
            .chain(more)
            .flat_map(|(one, others)| others.iter().flat_map(move |other| [(*one, *other), (*other, *one)]));
        Self { given, rivals: pairs.collect(), is_client: has("client-id") }
    }

    /// Returns the flag that excludes this flag. It is a conflicting flag of a higher rank, or a certificate from
    /// another source than this flag of the file.
    pub(crate) fn silencer(&self, long: &str) -> Option<&'static str> {
        let own = self.rank(long);
        let of_file = matches!(own, Some(Rank::File | Rank::Profile));
        // `verify` accepts tokens of several issuers. So no flag excludes a key of the file.
        if of_file && !self.is_client {
            return None;
        }
        if let Some((certificate, _)) = COMPANIONS.iter().find(|(_, more)| of_file && more.contains(&long)) {
            let rank = self.rank(certificate);
            let is_elsewhere = rank.is_some_and(|rank| !matches!(rank, Rank::File | Rank::Profile));
            if is_elsewhere || rank == Some(Rank::Profile) && own == Some(Rank::File) {
                return Some(certificate);
            }
        }
        // If the certificate of this key is excluded, the key has no effect. The rank rises with each recursion, so the
        // recursion ends.
        let of_certificate = self.rank(LEG1_CERTIFICATE).filter(|_| long == LEG1_KEY);
        if let Some(rank) = of_certificate {
            let above = own.max(Some(rank));
            let excludes = |rival: &&'static str| self.rank(rival) > above && self.silencer(rival).is_none();
            if let Some(rival) = self.rivals_of(LEG1_CERTIFICATE).find(excludes) {
                return Some(rival);
            }
        }
        let is_higher = |rival: &&'static str| self.rank(rival) > own && self.silencer(rival).is_none();
        self.rivals_of(long).find(is_higher)
    }

    /// Returns a flag of the same rank that excludes this flag. A third flag must exclude neither this flag nor the
    /// returned flag. `verify` accepts tokens of several issuers, so its flags do not exclude each other.
    pub(crate) fn conflict(&self, long: &str) -> Option<&'static str> {
        let own = self.rank(long)?;
        let is_equal = |rival: &&'static str| self.rank(rival) == Some(own) && self.silencer(rival).is_none();
        let of_client = self.is_client && self.silencer(long).is_none();
        self.rivals_of(long).find(|rival| of_client && is_equal(rival))
    }

    /// Returns whether a flag has a value and is not excluded.
    pub(crate) fn is_used(&self, long: &str) -> bool {
        self.rank(long).is_some() && self.silencer(long).is_none()
    }

    fn rank(&self, long: &str) -> Option<Rank> {
        self.given.iter().find(|(known, _)| known == long).map(|(_, rank)| *rank)
    }

    fn rivals_of(&self, long: &str) -> impl Iterator<Item = &'static str> {
        let of = move |(one, other): &(&'static str, &'static str)| (*other == long).then_some(*one);
        self.rivals.iter().filter_map(of)
    }
}

/// Returns the variable of a flag with its value, if the variable is set. An empty variable counts as not set.
pub(crate) fn variable(arg: &Arg) -> Option<(OsString, OsString)> {
    let name = arg.get_env()?;
    let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
    Some((name.to_owned(), value))
}

fn is_ours(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("CERTBOUND_") && !GO_WITH_THE_SDKS.contains(&name))
}

fn is_off(value: &OsStr) -> bool {
    value.to_str().and_then(super::is_on) == Some(false)
}

pub(crate) fn is_typed(long: &str, args: &[OsString]) -> bool {
    let typed = args.iter().filter_map(|arg| arg.to_str()).take_while(|arg| *arg != "--");
    typed
        .filter_map(|arg| arg.strip_prefix("--"))
        .any(|arg| arg == long || arg.strip_prefix(long).is_some_and(|rest| rest.starts_with('=')))
}

/// Returns whether a variable is empty; an empty variable counts as not set.
fn is_empty(name: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}
