//! Flags of `emulator`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::switch;

#[derive(Debug, Subcommand)]
pub(crate) enum EmulatorCommand {
    /// Run until stopped. The first line on stdout is one JSON object: `ready`, `proxy`, `imds`, `service_fabric`
    /// (`endpoint` and `thumbprint`), `admin`, `ca` and `client_certificate`.
    Start(EmulatorStartFlags),
    /// Run COMMAND with the environment that points it at an emulator of its own.
    ///
    /// Signals are forwarded. Exits with COMMAND's code, 128+n if a signal ended it, 125 if the emulator failed, 126 if
    /// COMMAND cannot be run and 127 if it cannot be found. CERTBOUND_EMULATOR_CERTIFICATE names the PEM file (chain
    /// and key) with the subject CN=certbound-demo-app, CERTBOUND_EMULATOR_ADMIN the URL of the admin interface.
    Run(EmulatorRunFlags),
    /// Print the built-in world as TOML, to be edited and given back with --world.
    World,
}

/// What is emulated.
#[derive(Args, Debug)]
pub(crate) struct WhatFlags {
    /// The world to emulate, TOML. Default: the built-in one, which `certbound emulator world` prints.
    #[arg(long, value_name = "FILE", env = "CERTBOUND_EMULATOR_WORLD")]
    pub(crate) world: Option<PathBuf>,
    /// Make all keys from this text: the same text, the same keys. For tests; whoever knows the text has the keys.
    #[arg(long, value_name = "TEXT", env = "CERTBOUND_EMULATOR_SEED")]
    pub(crate) seed: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct EmulatorStartFlags {
    #[command(flatten)]
    pub(crate) what: WhatFlags,
    /// Where to listen. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", env = "CERTBOUND_EMULATOR_LISTEN", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Where the machine's metadata service listens, on loopback. Port 0 takes a free one.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "CERTBOUND_EMULATOR_IMDS_LISTEN",
        default_value = "127.0.0.1:0"
    )]
    pub(crate) imds_listen: SocketAddr,
    /// Where to write the CA certificate to trust and the client certificate with its key: a directory that nobody else can enter, and not a link to one. Default: a private directory, removed at exit.
    #[arg(long, value_name = "DIR", env = "CERTBOUND_EMULATOR_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Allow --listen on an address that others can reach. They can then have any token minted, and use the proxy.
    #[arg(
        long,
        env = "CERTBOUND_LISTEN_ON_THE_NETWORK_ANYONE_CAN_MINT_TOKENS",
        value_parser = switch()
    )]
    pub(crate) listen_on_the_network_anyone_can_mint_tokens: bool,
}

/// A platform with managed identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlatformFlag {
    /// A virtual machine: the instance metadata service.
    Imds,
    /// App Service, Functions, Container Apps.
    AppService,
    /// A node of Service Fabric. Its server is known by a thumbprint; Node trusts its certificate by NODE_EXTRA_CA_CERTS.
    ServiceFabric,
    /// A server elsewhere with the agent of Azure Arc; needs --isolated.
    Arc,
    /// Azure Machine Learning.
    Ml,
    /// Cloud Shell.
    CloudShell,
}

#[derive(Args, Debug)]
pub(crate) struct EmulatorRunFlags {
    #[command(flatten)]
    pub(crate) what: WhatFlags,
    /// The platform that COMMAND believes to run on, by its environment variables: its managed identities are had there.
    #[arg(long, value_enum, env = "CERTBOUND_EMULATOR_PLATFORM", default_value_t = PlatformFlag::Imds)]
    pub(crate) platform: PlatformFlag,
    /// Give COMMAND a network of its own, in which the real names and addresses are the emulator's: for clients that
    /// take no proxy. There is no other network inside. Linux only, by user namespaces (`unshare` of util-linux).
    #[arg(long, env = "CERTBOUND_EMULATOR_ISOLATED", value_parser = switch())]
    pub(crate) isolated: bool,
    /// What to run, with its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}
