//! Flags of `emulator`.

use std::ffi::OsString;
use std::path::PathBuf;

use certbound::managed_identity::MachineSource;
use clap::{Args, Subcommand, ValueEnum};

use super::listen::{PortFlag, ServerFlags};
use super::{examples, switch};

#[derive(Debug, Subcommand)]
pub(crate) enum EmulatorCommand {
    /// Run an emulator until a signal stops it.
    ///
    /// The first line on stdout is one JSON object with `ready`, `proxy`, `imds`, `imds_at_real_address`,
    /// `service_fabric` (`endpoint` and `thumbprint`), `admin`, `ca` and `client_certificate`, and with --admin-listen
    /// also `health`.
    ///
    /// To use the emulator in another shell, run there `export HTTPS_PROXY=<proxy> SSL_CERT_FILE=<ca>` with the values
    /// of the members `proxy` and `ca`. With `-o shell` the command prints, as lines for a shell, all variables that
    /// `certbound emulator run` sets by default. Other formats are refused.
    ///
    /// After SIGHUP the emulator reads the file of --world again, unless stdin is a terminal. A correct file replaces
    /// the world.
    #[command(after_long_help = examples::EMULATOR_START)]
    Start(EmulatorStartFlags),
    /// Run COMMAND with its own emulator.
    ///
    /// Environment variables direct COMMAND to the emulator, and signals are forwarded to COMMAND. The exit code is
    /// COMMAND's, or 128+n if signal n ended COMMAND, 125 if the emulator failed, 126 if COMMAND cannot be run, and 127
    /// if COMMAND was not found.
    ///
    /// COMMAND keeps MSAL_MI_DISABLE_IMDS_V2 of the environment. If its value is `true` or `1`, COMMAND gets no bound
    /// token of a managed identity.
    ///
    /// CERTBOUND_EMULATOR_CERTIFICATE is the PEM file (chain and key) with the subject CN=certbound-demo-app.
    /// CERTBOUND_EMULATOR_ADMIN is the URL of the admin interface.
    #[command(after_long_help = examples::EMULATOR_RUN)]
    Run(EmulatorRunFlags),
    /// Print the built-in world as TOML, for --world.
    #[command(after_long_help = examples::EMULATOR_WORLD)]
    World,
}

/// The emulated world.
#[derive(Args, Debug)]
pub(crate) struct WhatFlags {
    /// The file of the world (TOML).
    ///
    /// Default: the built-in world, which `certbound emulator world` prints.
    #[arg(long, value_name = "FILE", env = "CERTBOUND_EMULATOR_WORLD")]
    pub(crate) world: Option<PathBuf>,
    /// Derive the keys from this text.
    ///
    /// The same text gives the same keys, except the key of the Service Fabric server. Use it for tests only, because
    /// everybody with the text has the keys.
    #[arg(long, value_name = "TEXT", env = "CERTBOUND_EMULATOR_SEED")]
    pub(crate) seed: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct EmulatorStartFlags {
    #[command(flatten)]
    pub(crate) what: WhatFlags,
    /// The address of the proxy.
    ///
    /// Port 0 takes a free port. `systemd` or `systemd:NAME` takes a TCP socket that systemd passed.
    #[arg(
        long,
        value_name = "ADDR:PORT|systemd",
        env = "CERTBOUND_EMULATOR_LISTEN",
        default_value = "127.0.0.1:0"
    )]
    pub(crate) listen: PortFlag,
    /// The address of the metadata service.
    ///
    /// It is an address of loopback. Port 0 takes a free port. `systemd` or `systemd:NAME` takes a TCP socket on
    /// loopback that systemd passed. On Linux it can also be 169.254.169.254:80, the address of the real service, if a
    /// loopback interface has this address: `ip addr add 169.254.169.254/32 dev lo`. DefaultAzureCredential of .NET and
    /// the Azure SDK for Rust look only there. Never add the address on a virtual machine of Azure: programs could then
    /// not reach the real service.
    #[arg(
        long,
        value_name = "ADDR:PORT|systemd",
        env = "CERTBOUND_EMULATOR_IMDS_LISTEN",
        default_value = "127.0.0.1:0"
    )]
    pub(crate) imds_listen: PortFlag,
    /// The folder for the certificates.
    ///
    /// The emulator writes the CA certificate to trust and the client certificate with its key into this folder. The
    /// folder must be a directory that no other user can enter, and not a link. Default: a private directory, which the
    /// emulator removes at its end.
    #[arg(long, value_name = "DIR", env = "CERTBOUND_EMULATOR_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Allow --listen on an address that other machines can reach. They can request every token and use the proxy.
    #[arg(
        long,
        env = "CERTBOUND_LISTEN_ON_THE_NETWORK_ANYONE_CAN_MINT_TOKENS",
        value_parser = switch(),
        hide_short_help = true
    )]
    pub(crate) listen_on_the_network_anyone_can_mint_tokens: bool,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// A platform with managed identities. The names are those of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlatformFlag {
    /// A virtual machine: the instance metadata service.
    Imds,
    /// App Service, Functions, Container Apps.
    AppService,
    /// A node of Service Fabric.
    ServiceFabric,
    /// A server outside Azure with the agent of Azure Arc.
    Arc,
    /// Azure Machine Learning.
    Ml,
    /// Cloud Shell.
    CloudShell,
}

impl From<PlatformFlag> for MachineSource {
    fn from(flag: PlatformFlag) -> Self {
        match flag {
            PlatformFlag::Imds => Self::Imds,
            PlatformFlag::AppService => Self::AppService,
            PlatformFlag::ServiceFabric => Self::ServiceFabric,
            PlatformFlag::Arc => Self::AzureArc,
            PlatformFlag::Ml => Self::MachineLearning,
            PlatformFlag::CloudShell => Self::CloudShell,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct EmulatorRunFlags {
    #[command(flatten)]
    pub(crate) what: WhatFlags,
    /// The platform that COMMAND detects.
    ///
    /// COMMAND detects the platform by its environment variables, and gets tokens of managed identities from this
    /// platform. `arc` needs --isolated. For `service-fabric`, Node trusts the server by NODE_EXTRA_CA_CERTS. Other
    /// programs trust the server by its thumbprint.
    #[arg(long, value_enum, env = "CERTBOUND_EMULATOR_PLATFORM", default_value_t = PlatformFlag::Imds)]
    pub(crate) platform: PlatformFlag,
    /// Run COMMAND in its own network.
    ///
    /// In this network the real names and addresses lead to the emulator, and no other host is reachable. Use this flag
    /// for clients that support no proxy. It needs Linux with user namespaces and `unshare` of util-linux.
    #[arg(long, env = "CERTBOUND_EMULATOR_ISOLATED", value_parser = switch())]
    pub(crate) isolated: bool,
    /// The program, with its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}
