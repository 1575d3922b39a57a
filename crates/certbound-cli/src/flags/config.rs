//! Flags of `config`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{examples, switch};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the values that commands use.
    ///
    /// A value comes from the command line, from an environment variable or from the configuration file, or it is the
    /// default. With a COMMAND after `--` the values are those of this command with its flags. Secrets are redacted.
    #[command(after_long_help = examples::CONFIG_SHOW)]
    Show(ConfigShowFlags),
    /// Check a configuration file with all its profiles.
    ///
    /// The command checks keys, types and values, keys that cannot be used together, and the files that the
    /// configuration names. It sends no request. The exit code is 2 if there is an error.
    #[command(after_long_help = examples::CONFIG_CHECK)]
    Check(ConfigCheckFlags),
}

#[derive(Args, Debug)]
pub(crate) struct ConfigShowFlags {
    /// Print the origin of each value.
    ///
    /// The origin is the flag, the name of the variable, the line of the file, or the default. JSON always contains the
    /// origin.
    #[arg(long, env = "CERTBOUND_ORIGIN", value_parser = switch())]
    pub(crate) origin: bool,
    /// The command whose values are printed, with its flags.
    ///
    /// An example is `exchange --region westus3`.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct ConfigCheckFlags {
    /// The file. Default: the file of --config.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}
