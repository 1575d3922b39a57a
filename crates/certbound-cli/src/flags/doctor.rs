//! Flags of `doctor`.

use std::path::PathBuf;

use clap::Args;

use super::{ColorFlag, TwoLegFlags, switch};

#[derive(Args, Debug)]
pub(crate) struct DoctorFlags {
    /// The registered federated credentials (JSON).
    ///
    /// `-` reads stdin. The file has one credential or a list of credentials, as Microsoft Graph and
    /// `az ad app federated-credential list` return them. doctor compares them with the assertion of Leg 1. Without the
    /// file it reads them from Microsoft Graph. If Graph does not return them, doctor prints the necessary values of a
    /// credential.
    #[arg(long, value_name = "FILE", env = "CERTBOUND_FEDERATED_CREDENTIAL", help_heading = "Doctor")]
    pub(crate) federated_credential: Option<PathBuf>,
    /// Do not read credentials from Microsoft Graph.
    ///
    /// By default doctor requests a token for Microsoft Graph by the same flow, and reads with it the federated
    /// credentials of the application of Leg 2. If Leg 2 fails, the identity of Leg 1 requests this token by the direct
    /// flow.
    #[arg(
        long,
        env = "CERTBOUND_NO_GRAPH",
        value_parser = switch(),
        hide_short_help = true,
        help_heading = "Doctor"
    )]
    pub(crate) no_graph: bool,
    /// Check this resource too (an https:// URL).
    ///
    /// doctor sends a GET request with the token to the URL, and before it a GET request without a token to the root of
    /// its host.
    #[arg(long, value_name = "URL", env = "CERTBOUND_RESOURCE_URL", help_heading = "Doctor")]
    pub(crate) resource_url: Option<String>,
    #[command(flatten)]
    pub(crate) color: ColorFlag,
    /// The scope of the resource, {resource}/.default.
    ///
    /// This flag is not needed if --resource-url is a URL of Graph or Key Vault. With --issuer it is any scope of that
    /// issuer.
    #[arg(long, env = "CERTBOUND_SCOPE")]
    pub(crate) scope: Option<String>,
    #[command(flatten)]
    pub(crate) flow: TwoLegFlags,
}
