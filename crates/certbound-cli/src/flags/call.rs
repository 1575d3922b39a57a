//! Flags of `call`.

use clap::Args;

use super::{CacheFlags, ClientFlags, KindFlags, Leg1Flags, SecretFlags, switch};

#[derive(Args, Debug)]
pub(crate) struct CallFlags {
    /// The resource, an absolute https:// URL.
    pub(crate) url: String,
    /// The HTTP method. Default: GET, or POST with a body.
    #[arg(short = 'X', long, env = "CERTBOUND_METHOD")]
    pub(crate) method: Option<String>,
    /// The body: text, @FILE, or @- for stdin.
    ///
    /// The content type is application/json unless a header has a different content type.
    #[arg(short, long, value_name = "BODY", env = "CERTBOUND_DATA")]
    pub(crate) data: Option<String>,
    /// A header, `Name: value`.
    ///
    /// The flag may be repeated. The environment variable contains one header.
    #[arg(short = 'H', long, value_name = "HEADER", env = "CERTBOUND_HEADER")]
    pub(crate) header: Vec<String>,
    /// Print status and headers before the body.
    ///
    /// If the resource repeats the token in a header, certbound removes the token.
    #[arg(short, long, env = "CERTBOUND_INCLUDE", value_parser = switch())]
    pub(crate) include: bool,
    /// The scope of the resource, {resource}/.default.
    ///
    /// This flag is not needed for the hosts of Graph and Key Vault.
    #[arg(long, env = "CERTBOUND_SCOPE")]
    pub(crate) scope: Option<String>,
    #[command(flatten)]
    pub(crate) leg1: Leg1Flags,
    #[command(flatten)]
    pub(crate) client: ClientFlags,
    #[command(flatten)]
    pub(crate) secret: SecretFlags,
    #[command(flatten)]
    pub(crate) kind: KindFlags,
    #[command(flatten)]
    pub(crate) cache: CacheFlags,
}
