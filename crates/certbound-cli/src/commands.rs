//! The commands: the name and the help of each command, and the file that runs it. To add a command, add a variant to
//! [`Command`], a file here, and its flags to `flags/`.

mod assertion;
mod call;
mod capabilities;
mod completions;
mod config;
mod demo;
mod doctor;
mod dry_run;
mod emulator;
mod endpoint;
mod exchange;
mod explain;
mod health;
mod inspect;
mod keys;
mod man;
mod token;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::failure::{self, Failure};
use crate::flags::{
    self, AssertionFlags, CallFlags, CapabilitiesFlags, CommonFlags, CompletionsFlags, ConfigCommand,
    DemoFlags, DoctorFlags, EmulatorCommand, EndpointFlags, ExchangeFlags, ExplainFlags, HealthFlags,
    InspectFlags, KeysCommand, LogFormat, ManFlags, TokenFlags, VerifyFlags, examples,
};
use crate::output::Terminal;

/// Certificate-bound (mTLS Proof-of-Possession) tokens for Microsoft Entra.
///
/// Exit codes: 0 done; 1 the service, the resource or a check refused; 2 the command, the configuration or the input is
/// wrong; 3 the network failed. The first line of an error ends with its code; `certbound explain CODE` explains it.
#[derive(Debug, Parser)]
#[command(
    name = "certbound",
    version,
    propagate_version = true,
    max_term_width = 110,
    after_long_help = examples::ROOT
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: CommonFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the two-leg flow against an emulator, on one screen.
    ///
    /// The emulator runs in this process, so the demo needs no tenant and uses only the network of this machine. On
    /// real TLS connections the demo runs Leg 1, and Leg 2 for bound and Bearer tokens. It calls a vault, Graph and a
    /// custom API, and exchanges assertions across tenants. It also sends requests that must be refused, such as a call
    /// with a stolen token. A checklist compares all requests and answers with the expected ones. The exit code is 0 if
    /// every check passes.
    #[command(after_long_help = examples::DEMO)]
    Demo(DemoFlags),
    /// Get a token in one step, by the direct flow.
    ///
    /// A bound token needs a certificate or a managed identity. A Bearer token can be requested with every credential.
    /// The credential is read from a flag, from certbound's own variables (CERTBOUND_...), or from
    /// AZURE_CLIENT_CERTIFICATE_PATH, AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, in this order.
    #[command(after_long_help = examples::TOKEN)]
    Token(TokenFlags),
    /// Run Leg 1 alone and print its assertion.
    ///
    /// --certificate or --managed-identity authenticates Leg 1. The assertion is bound to the certificate, and
    /// `exchange --assertion-file` accepts it. The cloud determines the scope, so no flag sets it.
    #[command(after_long_help = examples::ASSERTION)]
    Assertion(AssertionFlags),
    /// Get a token by the two-leg flow, Leg 1 and Leg 2.
    ///
    /// Leg 2 exchanges the assertion of Leg 1 for the token (`jwt-pop`).
    ///
    /// With --leg1-certificate or --leg1-managed-identity the command runs both legs. With --assertion-file and
    /// --certificate it runs Leg 2 alone, with an existing assertion and the certificate that it is bound to. Some
    /// platforms cannot bind the tokens of a managed identity. On these platforms use --bearer, which exchanges a
    /// Bearer token of the managed identity.
    #[command(after_long_help = examples::EXCHANGE, mut_arg("managed_identity", |flag| flag.hide(true)))]
    Exchange(ExchangeFlags),
    /// Get a token, and call a resource with token and certificate.
    ///
    /// The flags of `exchange` request the token by the two-leg flow, and those of `token` by the direct flow. The
    /// result is the body of the answer. In a pipe the body is unchanged. On a terminal certbound removes the token and
    /// control characters from the body. If the status is not 2xx, the exit code is 1.
    #[command(after_long_help = examples::CALL, mut_args(|flag| match flag.get_id().as_str() {
        "client_secret_env" | "dry_run" | "trace" => flag.hide_short_help(true),
        _ => flag,
    }))]
    Call(CallFlags),
    /// Check a two-leg configuration, and explain each problem.
    ///
    /// doctor takes the flags, the variables and the profile of `exchange`. It checks the configuration, the
    /// certificate, the network, both legs, the token and, with --resource-url, a resource. It sends each request once
    /// and stores no token. The report contains no secrets, so it can be pasted into a ticket. The exit code is 0 if
    /// nothing failed, and 1 if a check failed. With --dry-run only the checks that send no request are made.
    #[command(
        after_long_help = examples::DOCTOR,
        mut_arg("managed_identity", |flag| flag.hide(true)),
        mut_arg("dry_run", |flag| {
            flag.help("Make only the checks that send no request")
                .long_help("Make only the checks that send no request. The other checks are skipped.")
        }),
        // doctor explains this conflict, which is a common issue of the two-leg flow.
        mut_arg("leg1_certificate", |flag| {
            flag.conflicts_with(Resettable::<clap::Id>::Reset).conflicts_with("assertion_file")
        }),
        mut_args(|flag| match flag.get_id().as_str() {
            "color" => flag.hide_short_help(true).help_heading("Doctor"),
            "report" | "reveal" | "no_cache" | "cache_dir" | "cache_key" => flag.hide(true),
            _ => flag,
        })
    )]
    Doctor(DoctorFlags),
    /// Print the token endpoint of an authority.
    ///
    /// It also prints the rule: the region, the client certificate and the kind of authority determine the host. This
    /// command uses no network.
    #[command(after_long_help = examples::ENDPOINT)]
    Endpoint(EndpointFlags),
    /// Print the capabilities of this machine's managed identity.
    ///
    /// The command prints the source of the tokens, whether tokens can be bound, and the strength of their keys. If a
    /// platform has set its environment variables, the command sends no request. Otherwise it probes the metadata
    /// service, and fails if no metadata service answers. MSAL_MI_DISABLE_IMDS_V2=true disables version 2 of the
    /// metadata service, for every command.
    ///
    /// The result also says whether this program uses the FIPS module of AWS-LC, and whether it was built with the
    /// features `tpm` (keys in a TPM) and `openssl` (vaults that request the certificate late).
    #[command(after_long_help = examples::CAPABILITIES)]
    Capabilities(CapabilitiesFlags),
    /// Print the content of a token without verifying it.
    ///
    /// Do not trust the content: everybody can write such a token. With --certificate the command also shows whether
    /// the token is bound to this certificate; if it is not, the exit code is 1. The signature is never printed.
    #[command(after_long_help = examples::INSPECT)]
    Inspect(InspectFlags),
    /// Verify a token as a resource does, and print each step.
    ///
    /// The issuer's keys are fetched, or read from --keys. The exit code is 0 if the token is accepted, and 1 if
    /// it is refused. With --serve the command answers the requests of a proxy instead: nginx `auth_request`, Caddy
    /// `forward_auth`, Envoy `ext_authz` over HTTP.
    #[command(after_help = VERIFY_NEEDS, after_long_help = verify_help())]
    Verify(VerifyFlags),
    /// Check whether a server of certbound is ready.
    ///
    /// The server answers on its admin listener, whose address is that of --admin-listen. Use this command as the
    /// health check of a container. The exit code is 0 if the server is ready, 1 if it is not ready, and 3 if it does
    /// not answer.
    #[command(after_long_help = examples::HEALTH)]
    Health(HealthFlags),
    /// Explain an error code: its meaning, usual causes and fix.
    ///
    /// The code is at the end of the first line of an error, in brackets. The AADSTS numbers of the token service are
    /// explained too. This command uses no network and no configuration file.
    #[command(after_long_help = examples::EXPLAIN)]
    Explain(ExplainFlags),
    /// Run a local token service, with resources.
    ///
    /// The resources accept a bound token only on a connection with its certificate.
    #[command(subcommand)]
    Emulator(EmulatorCommand),
    /// List and generate keys in PKCS#11 tokens and in the TPM.
    ///
    /// `keys csr` prints a certificate request for a key. A token is an HSM, a smart card, or a TPM through
    /// tpm2-pkcs11. certbound never reads a key out of it: `--certificate`, `--leg1-certificate` and `--machine-keys`
    /// use the keys by their PKCS#11 URI. A build with the feature `tpm` also uses the TPM itself: `tpm:HANDLE`.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Show or check the configuration of commands.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the script that completes commands in a shell.
    #[command(after_long_help = examples::COMPLETIONS)]
    Completions(CompletionsFlags),
    /// Print the manual page, or write all pages into a directory.
    #[command(after_long_help = examples::MAN)]
    Man(ManFlags),
}

const VERIFY_NEEDS: &str = "\
Required: an issuer (--tenant or --issuer), and a rule for callers
(--require-role, --require-scope or --allow-client).";

fn verify_help() -> String {
    format!("{VERIFY_NEEDS}\n\n{}", examples::VERIFY)
}

/// Returns the description of the command line.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// Parses a command line.
///
/// # Errors
/// clap's own error. clap also returns the help and the version as an error.
pub(crate) fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let command = flags::settle(Cli::command(), args);
    let matches = command.try_get_matches_from(args).map_err(|error| failure::with_tip(error, args))?;
    Cli::from_arg_matches(&matches)
}

impl Command {
    pub(crate) async fn run(self, common: &CommonFlags, terminal: Terminal) -> Result<ExitCode, Failure> {
        match self {
            Self::Demo(flags) => return demo::run(&flags, terminal).await,
            Self::Token(flags) => token::run(flags, terminal).await,
            Self::Assertion(flags) => assertion::run(flags, terminal).await,
            Self::Exchange(flags) => exchange::run(flags, terminal).await,
            Self::Call(flags) => call::run(flags, terminal).await,
            Self::Doctor(flags) => return doctor::run(flags, terminal).await,
            Self::Endpoint(flags) => endpoint::run(&flags, terminal),
            Self::Capabilities(flags) => capabilities::run(&flags, terminal).await,
            Self::Inspect(flags) => inspect::run(&flags, terminal),
            Self::Verify(flags) => verify::run(&flags, terminal).await,
            Self::Health(flags) => health::run(&flags, terminal).await,
            Self::Explain(flags) => explain::run(&flags, terminal),
            Self::Emulator(command) => return emulator::run(command, terminal).await,
            Self::Keys(command) => keys::run(&command, terminal),
            Self::Config(command) => config::run(&command, common, terminal),
            Self::Completions(flags) => completions::run(&flags),
            Self::Man(flags) => man::run(&flags),
        }?;
        Ok(ExitCode::SUCCESS)
    }

    /// Returns whether the command serves requests while it runs. A server must not wait for a reader of its log.
    pub(crate) fn serves(&self) -> bool {
        match self {
            Self::Verify(flags) => flags.serve.is_some(),
            Self::Emulator(_) | Self::Demo(_) => true,
            _ => false,
        }
    }

    /// Returns the filter of the log that the command writes without `RUST_LOG`. The log of a server contains the
    /// requests that the server refuses. If the server accepts unbound tokens, the log also contains the senders of
    /// unbound tokens. With `verbose` the log of a server contains every request.
    pub(crate) fn log(&self, verbose: bool) -> Option<&'static str> {
        match self {
            Self::Verify(flags) if flags.serve.is_none() => None,
            Self::Verify(_) | Self::Emulator(EmulatorCommand::Start(_)) if verbose => Some(
                "certbound_verifier=debug,certbound_emulator=debug,certbound_serve=debug,certbound_cli=debug",
            ),
            Self::Verify(flags) if flags.binding.accepts_unbound() => {
                Some("certbound_verifier=info,certbound_cli=info")
            }
            Self::Verify(_) => Some("certbound_verifier=warn,certbound_cli=info"),
            Self::Emulator(EmulatorCommand::Start(_)) => Some("certbound_emulator=warn,certbound_cli=info"),
            _ => None,
        }
    }

    /// Returns the form of the log.
    pub(crate) fn log_format(&self) -> LogFormat {
        match self {
            Self::Verify(flags) => flags.server.log_format,
            Self::Emulator(EmulatorCommand::Start(flags)) => flags.server.log_format,
            _ => LogFormat::Text,
        }
    }
}

#[cfg(test)]
mod tests;
