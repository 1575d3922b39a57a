//! Flags of `call`.

use clap::Args;

use super::{CacheFlags, ClientFlags, KindFlags, Leg1Flags, SecretFlags, switch};

#[derive(Args, Debug)]
pub(crate) struct CallFlags {
    /// What to call, an absolute https:// URL.
    pub(crate) url: String,
    /// The HTTP method. Default: GET, or POST with a body.
    #[arg(short = 'X', long, env = "CERTBOUND_METHOD")]
    pub(crate) method: Option<String>,
    /// The body: text, @FILE, or @- for stdin. Sent as application/json unless a header says otherwise.
    #[arg(short, long, value_name = "BODY", env = "CERTBOUND_DATA")]
    pub(crate) data: Option<String>,
    /// A header, `Name: value`. May be repeated; the environment variable holds one.
    #[arg(short = 'H', long, value_name = "HEADER", env = "CERTBOUND_HEADER")]
    pub(crate) header: Vec<String>,
    /// Print status and headers of the answer before its body. A token that the resource repeats there is left out.
    #[arg(short, long, env = "CERTBOUND_INCLUDE", value_parser = switch())]
    pub(crate) include: bool,
    /// The resource's scope, {resource}/.default. Derived for the hosts of Graph and Key Vault.
    #[arg(long, env = "CERTBOUND_SCOPE")]
    pub(crate) scope: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientFlags,
    #[command(flatten)]
    pub(crate) secret: SecretFlags,
    #[command(flatten)]
    pub(crate) leg1: Leg1Flags,
    #[command(flatten)]
    pub(crate) kind: KindFlags,
    #[command(flatten)]
    pub(crate) cache: CacheFlags,
}
