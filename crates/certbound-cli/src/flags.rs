//! The flags as data, each with its environment variable.
//!
//! These types only parse. `plan.rs` interprets the text, so that a mistake has a code and a fix.

mod call;
mod client;
mod config;
mod doctor;
mod emulator;
pub(crate) mod examples;
mod explain;
mod health;
mod keys;
mod listen;
mod rivals;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;

use certbound_core::refusal::without_tokens;
use certbound_core::shown::one_line;
use clap::{Args, ColorChoice, ValueEnum};

pub(crate) use self::call::CallFlags;
pub(crate) use self::client::{
    AssertionFlags, CacheFlags, CacheKeyFlag, CapabilitiesFlags, CertificateFlags, ClientFlags,
    CredentialFlags, ExchangeFlags, IdentityFlags, KindFlags, Leg1Flags, MachineFlags, MachineKeysFlag,
    RunFlags, SecretFlags, TokenFlags, TwoLegFlags,
};
pub(crate) use self::config::{ConfigCheckFlags, ConfigCommand, ConfigShowFlags};
pub(crate) use self::doctor::DoctorFlags;
pub(crate) use self::emulator::{
    EmulatorCommand, EmulatorRunFlags, EmulatorStartFlags, PlatformFlag, WhatFlags,
};
pub(crate) use self::explain::ExplainFlags;
pub(crate) use self::health::{HealthFlags, HealthTarget};
pub(crate) use self::keys::{
    KeyFlag, KeysCommand, KeysCsrFlags, KeysGenerateFlags, KeysListFlags, TokenFlag,
};
pub(crate) use self::listen::{ListenFlag, LogFormat, PortFlag, ServerFlags};
pub(crate) use self::rivals::{Rank, Ring, is_typed, settle, variable};
pub(crate) use self::verify::{BindingFlag, CallersFlag, InspectFlags, ProxyFlag, SchemeFlag, VerifyFlags};
use crate::token_uri;

/// Flags of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct CommonFlags {
    /// The format of the result.
    ///
    /// Default: `table` on a terminal and `json` in a pipe. An error is a JSON object only if this flag or
    /// CERTBOUND_OUTPUT is `json`. Without them an error is text, in a pipe too.
    #[arg(short, long, global = true, value_name = "FORMAT", env = "CERTBOUND_OUTPUT", value_enum)]
    pub(crate) output: Option<Format>,
    /// Report each step of the flow on stderr.
    ///
    /// The report contains lengths, never content. On a terminal the report is always on.
    #[arg(short, long, global = true, env = "CERTBOUND_VERBOSE", value_parser = switch())]
    pub(crate) verbose: bool,
    /// Read values of flags from this file (TOML).
    ///
    /// The keys are the long names of the flags. A flag and an environment variable override the file. Relative paths
    /// in the file are relative to its folder.
    #[arg(long, global = true, value_name = "FILE", env = "CERTBOUND_CONFIG", hide_short_help = true)]
    pub(crate) config: Option<PathBuf>,
    /// The profile of the configuration file.
    ///
    /// The keys of the table [profile.NAME] override the keys before the first table. Default: no profile.
    #[arg(long, global = true, value_name = "NAME", env = "CERTBOUND_PROFILE", hide_short_help = true)]
    pub(crate) profile: Option<String>,
}

/// The format of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Format {
    /// One JSON object.
    Json,
    /// Lines for people.
    Table,
    /// The `Authorization` header, with the scheme of the token.
    Header,
    /// One `NAME=value` line for each value, as `docker --env-file` reads them.
    Env,
    /// One value alone, such as the token.
    Raw,
    /// `export NAME='value'` lines, which a shell reads by `eval`.
    Shell,
}

#[derive(Args, Debug)]
pub(crate) struct DemoFlags {
    /// Print each line of the checklist with its evidence.
    #[arg(long, env = "CERTBOUND_ALL", value_parser = switch())]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) color: ColorFlag,
}

#[derive(Args, Debug)]
pub(crate) struct ColorFlag {
    /// The use of colours in the result.
    ///
    /// `auto` uses colours on a terminal, unless NO_COLOR is set.
    #[arg(long, value_enum, value_name = "WHEN", env = "CERTBOUND_COLOR", default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,
}

#[derive(Args, Debug)]
pub(crate) struct CompletionsFlags {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManFlags {
    /// The directory of the pages.
    ///
    /// The command writes one page for each command into this directory, and creates it if it does not exist.
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct EndpointFlags {
    /// The authority, https://HOST/TENANT.
    #[arg(long, value_name = "URL", env = "CERTBOUND_AUTHORITY")]
    pub(crate) authority: String,
    /// The Azure region, such as westus3, or TryAutoDetect.
    ///
    /// With TryAutoDetect the region is read from REGION_NAME or COSMIC_LOCATION, because this command sends no
    /// request. MSAL_FORCE_REGION and MSAL_DISABLE_REGION apply.
    #[arg(long, env = "AZURE_REGIONAL_AUTHORITY_NAME")]
    pub(crate) region: Option<String>,
    /// Print the endpoint for mutual TLS.
    ///
    /// Connections to this endpoint have a client certificate.
    #[arg(long, env = "CERTBOUND_MTLS", value_parser = switch())]
    pub(crate) mtls: bool,
}

/// Parses the environment variable of a switch: the usual words for yes and no. An empty text means no. Every other
/// text is an error, because a mistyped `CERTBOUND_BEARER` must not remove the binding.
pub(crate) fn switch() -> impl clap::builder::TypedValueParser<Value = bool> {
    use clap::builder::TypedValueParser as _;

    clap::builder::StringValueParser::new().try_map(|text| is_on(&text).ok_or("write true or false"))
}

/// Parses the words for yes and no. An empty text means no.
fn is_on(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "" | "0" | "false" | "no" | "n" | "off" | "f" => Some(false),
        "1" | "true" | "yes" | "y" | "on" | "t" => Some(true),
        _ => None,
    }
}

/// Returns a command line that may be printed to its user: without control characters, tokens and PINs.
pub(crate) fn shown(args: &[OsString]) -> Vec<OsString> {
    let shown = |arg: &OsString| without_tokens(&one_line(&token_uri::without_pin(&arg.to_string_lossy())));
    args.iter().map(|arg| shown(arg).into()).collect()
}

/// Returns whether errors must be JSON. The function reads the raw arguments, because their parsing may have failed.
pub(crate) fn wants_json(args: &[OsString]) -> bool {
    let typed: Vec<&str> =
        args.iter().filter_map(|arg| arg.to_str()).take_while(|arg| *arg != "--").collect();
    let next = typed.iter().copied().skip(1).chain([""]);
    let mut formats = typed.iter().zip(next).filter_map(|(arg, next)| match after_output(arg)? {
        "" => Some(next),
        joined => Some(joined.trim_start_matches('=')),
    });
    match formats.next() {
        Some(first) => first == "json" || formats.any(|format| format == "json"),
        None => std::env::var("CERTBOUND_OUTPUT").is_ok_and(|value| value == "json"),
    }
}

/// Returns the text after `--output` or `-o`. A short flag can follow flags without a value in one argument: `-vo`.
fn after_output(arg: &str) -> Option<&str> {
    match arg.strip_prefix("--") {
        Some(long) => long.strip_prefix("output"),
        None => arg.strip_prefix('-')?.trim_start_matches(['v', 'i']).strip_prefix('o'),
    }
}

/// Returns the first of these flags that is given.
pub(crate) fn first_given(flags: &[(&'static str, bool)]) -> Option<&'static str> {
    flags.iter().find(|(_, given)| *given).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_errors_follow_the_flag_and_not_the_command_behind_two_dashes() {
        let json = |line: &str| wants_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in [
            "certbound demo -o json",
            "certbound -ojson demo",
            "certbound --output=json x",
            "certbound demo --output json",
            "certbound -vo json demo",
            "certbound call -ivojson",
        ] {
            assert!(json(line), "{line}");
        }
        for line in
            ["certbound demo", "certbound emulator run -- certbound demo -o json", "certbound -o table demo"]
        {
            assert!(!json(line), "{line}");
        }
    }
}
