//! The flags as data, each with its environment variable.
//!
//! These types only parse. `plan.rs` interprets the text, so that a mistake has a code and a fix.

mod call;
mod client;
mod emulator;
mod rivals;
mod verify;

use std::ffi::OsString;

use certbound_core::refusal::without_tokens;
use certbound_core::shown::one_line;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub(crate) use self::call::CallFlags;
pub(crate) use self::client::{
    AssertionFlags, CacheFlags, CacheKeyFlag, CertificateFlags, ClientFlags, CredentialFlags, ExchangeFlags,
    IdentityFlags, KindFlags, Leg1Flags, MachineFlags, RunFlags, SecretFlags, TokenFlags,
};
pub(crate) use self::emulator::{
    EmulatorCommand, EmulatorRunFlags, EmulatorStartFlags, PlatformFlag, WhatFlags,
};
pub(crate) use self::verify::{BindingFlag, CallersFlag, InspectFlags, ProxyFlag, SchemeFlag, VerifyFlags};

/// Certificate-bound (mTLS Proof-of-Possession) tokens for Microsoft Entra.
///
/// Exit codes: 0 done; 1 the service, the resource or a check said no; 2 the command, configuration or input is wrong;
/// 3 the network failed.
#[derive(Debug, Parser)]
#[command(name = "certbound", version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: CommonFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct CommonFlags {
    /// How results are written; errors follow with `json`. Default: `table` on a terminal, `json` in a pipe.
    #[arg(short, long, global = true, value_name = "FORMAT", env = "CERTBOUND_OUTPUT", value_enum)]
    pub(crate) output: Option<Format>,
    /// Tell on stderr which stations of the flow are passed: lengths, never content. Always on at a terminal.
    #[arg(short, long, global = true, env = "CERTBOUND_VERBOSE", value_parser = switch())]
    pub(crate) verbose: bool,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object.
    Json,
    /// Lines for people.
    Table,
    /// The `Authorization` header.
    Header,
    /// Assignments for a shell.
    Env,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the main job against an emulator of its own and print the verification checklist.
    ///
    /// On real TLS connections: Leg 1, Leg 2 bound and Bearer, calls of a vault, Graph and a custom API, an exchange
    /// across tenants, and every way in which a bound token must be refused. Each line is checked, not assumed.
    Demo,
    /// Get a token in one step (the direct flow): bound by a certificate, Bearer by any credential.
    ///
    /// The credential is that of a flag, else of one of our own variables (CERTBOUND_...), else of
    /// AZURE_CLIENT_CERTIFICATE_PATH, AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, in this order.
    Token(TokenFlags),
    /// Run Leg 1 alone, by --certificate or --managed-identity: an assertion for the token exchange, bound to the
    /// certificate.
    ///
    /// The scope is derived from the cloud and cannot be given. The assertion is what `exchange --assertion-file` takes.
    Assertion(AssertionFlags),
    /// Get a token by the two-leg flow: Leg 1's assertion is exchanged as `jwt-pop` in Leg 2.
    ///
    /// Both legs with --leg1-certificate or --leg1-managed-identity, or Leg 2 alone with an assertion made elsewhere and
    /// the certificate it is bound to (--assertion-file with --certificate). Where a managed identity's platform binds
    /// nothing, --bearer exchanges its plain token.
    Exchange(ExchangeFlags),
    /// Get a token as `exchange` or `token` do, and call a resource over TLS with the binding certificate.
    ///
    /// Prints the body of the answer: in a pipe byte for byte, on a terminal as text without the token, in which control
    /// characters are spaces. An answer outside 2xx is exit 1.
    Call(CallFlags),
    /// Print the token endpoint that would be used and the rule that chose it. No network.
    Endpoint(EndpointFlags),
    /// Find out what this machine's managed identity can do. Another platform's variables are believed; otherwise the
    /// metadata service is probed, and where there is none it is an error.
    Capabilities(MachineFlags),
    /// Show what a token says, without trusting it, and whether it is bound to a certificate.
    ///
    /// Nothing is verified: anyone may have written it. With --certificate it is also said whether the token is bound to
    /// that one; exit 1 if not. The signature is never printed.
    Inspect(InspectFlags),
    /// Decide on a token as a resource would, and tell how each step ended.
    ///
    /// Keys are fetched from the issuer, or read from --keys. Exit 0 if the token is accepted, 1 if it is refused. With
    /// --serve, answer the questions of a proxy instead: nginx `auth_request`, Caddy `forward_auth`, Envoy `ext_authz` over
    /// HTTP.
    Verify(VerifyFlags),
    /// A local token service with resources that really enforce the binding.
    #[command(subcommand)]
    Emulator(EmulatorCommand),
}

impl Command {
    /// Returns the filter of the log that the command writes without `RUST_LOG`. A server names the requests that it
    /// refuses. If it accepts unbound tokens, it also names the clients that still send them.
    pub(crate) fn log(&self) -> Option<&'static str> {
        match self {
            Self::Verify(flags) if flags.serve.is_none() => None,
            Self::Verify(flags) if flags.binding.accepts_unbound() => Some("certbound_verifier=info"),
            Self::Verify(_) => Some("certbound_verifier=warn"),
            Self::Emulator(EmulatorCommand::Start(_)) => Some("certbound_emulator=warn"),
            _ => None,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct EndpointFlags {
    /// The authority, https://HOST/TENANT.
    #[arg(long, value_name = "URL", env = "CERTBOUND_AUTHORITY")]
    pub(crate) authority: String,
    /// The Azure region, such as westus3. MSAL_FORCE_REGION and MSAL_DISABLE_REGION apply.
    #[arg(long, env = "AZURE_REGIONAL_AUTHORITY_NAME")]
    pub(crate) region: Option<String>,
    /// For a connection that presents a client certificate.
    #[arg(long, env = "CERTBOUND_MTLS", value_parser = switch())]
    pub(crate) mtls: bool,
}

/// Parses the environment variable of a switch: the usual words for yes and no; an empty text is no. Every other text
/// is an error, because a mistyped `CERTBOUND_BEARER` must not give up the binding.
pub(crate) fn switch() -> impl clap::builder::TypedValueParser<Value = bool> {
    use clap::builder::TypedValueParser as _;

    clap::builder::StringValueParser::new().try_map(|text| match text.to_ascii_lowercase().as_str() {
        "" | "0" | "false" | "no" | "n" | "off" | "f" => Ok(false),
        "1" | "true" | "yes" | "y" | "on" | "t" => Ok(true),
        _ => Err("write true or false"),
    })
}

/// Parses a command line.
///
/// # Errors
/// clap's own error, which is also how help and version are returned.
pub(crate) fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let command = rivals::settle(Cli::command(), args);
    let matches = command.try_get_matches_from(args)?;
    Cli::from_arg_matches(&matches)
}

/// Returns a command line that may be printed to its user: without control characters and tokens.
pub(crate) fn shown(args: &[OsString]) -> Vec<OsString> {
    args.iter().map(|arg| without_tokens(&one_line(&arg.to_string_lossy())).into()).collect()
}

/// Returns whether errors must be JSON. It looks at the raw arguments, because parsing them may have failed.
pub(crate) fn wants_json(args: &[OsString]) -> bool {
    let typed: Vec<&str> =
        args.iter().filter_map(|arg| arg.to_str()).take_while(|arg| *arg != "--").collect();
    let joined = |arg: &&str| matches!(*arg, "-ojson" | "-o=json" | "--output=json");
    let apart = |pair: &[&str]| matches!(pair, ["-o" | "--output", "json"]);
    let any = |arg: &&str| arg.starts_with("-o") || arg.starts_with("--output");
    if typed.iter().any(any) {
        return typed.iter().any(joined) || typed.windows(2).any(apart);
    }
    std::env::var("CERTBOUND_OUTPUT").is_ok_and(|value| value == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns every argument that begins with a dash, with its command.
    fn flags() -> Vec<(String, clap::Arg)> {
        fn walk(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Arg)>) {
            let path = format!("{path} {}", command.get_name());
            let own = command.get_arguments().filter(|arg| !arg.is_positional());
            found.extend(own.map(|arg| (path.clone(), arg.clone())));
            command.get_subcommands().for_each(|next| walk(next, &path, found));
        }
        let mut found = Vec::new();
        walk(&Cli::command(), "", &mut found);
        found
    }

    #[test]
    fn the_table_of_flags_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_flag_is_explained_and_has_an_environment_variable() {
        let flags = flags();
        assert!(flags.len() > 40, "{}", flags.len());
        for (command, flag) in flags {
            let name = flag.get_id().as_str();
            assert!(flag.get_long().is_some(), "{command} {name} has no long form");
            assert!(flag.get_help().is_some_and(|help| !help.to_string().is_empty()), "{command} --{name}");
            let env = flag.get_env().and_then(|env| env.to_str());
            assert!(
                env.is_some_and(|env| env.starts_with("CERTBOUND_") || env.starts_with("AZURE_")),
                "{command} --{name}"
            );
        }
    }

    #[test]
    fn a_flag_means_the_same_variable_in_every_command() {
        let mut known: Vec<(String, Option<OsString>)> = Vec::new();
        for (command, flag) in flags() {
            let name = flag.get_id().to_string();
            let env = flag.get_env().map(OsString::from);
            // `endpoint --authority` also contains a tenant; `AZURE_AUTHORITY_HOST` does not.
            if name == "authority" {
                continue;
            }
            match known.iter().find(|(other, _)| *other == name) {
                Some((_, expected)) => assert_eq!(&env, expected, "{command} --{name}"),
                None => known.push((name, env)),
            }
        }
    }

    #[test]
    fn json_errors_follow_the_flag_and_not_the_command_behind_two_dashes() {
        let json = |line: &str| wants_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in [
            "certbound demo -o json",
            "certbound -ojson demo",
            "certbound --output=json x",
            "certbound demo --output json",
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
