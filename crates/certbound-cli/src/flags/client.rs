//! Flags of the commands that acquire tokens.

use std::path::PathBuf;

use certbound::managed_identity::MachineSource;
use clap::{Args, ValueEnum};

use super::switch;
use crate::usage::Usage;

/// Who asks, and where.
#[derive(Args, Clone, Debug)]
pub(crate) struct IdentityFlags {
    /// The application (client) id, at Entra a GUID. Needed unless --managed-identity is given.
    #[arg(long, value_name = "ID", env = "AZURE_CLIENT_ID", required_unless_present = "managed_identity")]
    pub(crate) client_id: Option<String>,
    /// The tenant: its id or one of its domains. Not needed when the authority names it.
    #[arg(long, env = "AZURE_TENANT_ID")]
    pub(crate) tenant: Option<String>,
    /// The Azure region, such as westus3. Without one the global endpoint is used. MSAL_FORCE_REGION and
    /// MSAL_DISABLE_REGION apply.
    #[arg(long, env = "AZURE_REGIONAL_AUTHORITY_NAME")]
    pub(crate) region: Option<String>,
    /// The login host (https://login.microsoftonline.us), or a whole authority with its tenant. Default: the public
    /// cloud.
    #[arg(long, value_name = "URL", env = "AZURE_AUTHORITY_HOST")]
    pub(crate) authority: Option<String>,
    /// An OpenID issuer other than Microsoft's, instead of tenant, region and authority; scopes are its own.
    #[arg(long, value_name = "URL", env = "CERTBOUND_ISSUER", conflicts_with_all = ["tenant", "region", "authority"])]
    pub(crate) issuer: Option<String>,
    /// Trust the authority's host as it is. By default a host of no known cloud is looked up in Microsoft's directory
    /// first.
    #[arg(long, env = "CERTBOUND_NO_AUTHORITY_VALIDATION", value_parser = switch())]
    pub(crate) no_authority_validation: bool,
}

/// The certificate with its key. Passwords come from the environment only: arguments are visible to everyone.
#[derive(Args, Clone, Debug)]
pub(crate) struct CertificateFlags {
    /// The certificate: a PEM file with chain and key, or a PFX file.
    #[arg(long, value_name = "FILE", env = "AZURE_CLIENT_CERTIFICATE_PATH")]
    pub(crate) certificate: Option<PathBuf>,
    /// The certificate's private key (PEM), when it is in a file of its own.
    #[arg(long, value_name = "FILE", env = "CERTBOUND_CERTIFICATE_KEY", requires = "certificate")]
    pub(crate) certificate_key: Option<PathBuf>,
    /// The environment variable that holds the password of the PFX or of the encrypted key. Default:
    /// AZURE_CLIENT_CERTIFICATE_PASSWORD.
    #[arg(long, value_name = "NAME", env = "CERTBOUND_CERTIFICATE_PASSWORD_ENV")]
    pub(crate) certificate_password_env: Option<String>,
}

/// What the direct flow knows beside the certificate.
#[derive(Args, Clone, Debug)]
pub(crate) struct SecretFlags {
    /// The environment variable that holds a client secret, for a Bearer token. Without a credential's flag
    /// AZURE_CLIENT_SECRET and then AZURE_FEDERATED_TOKEN_FILE are read.
    #[arg(long, value_name = "NAME", env = "CERTBOUND_CLIENT_SECRET_ENV", conflicts_with = "certificate")]
    pub(crate) client_secret_env: Option<String>,
    /// Present the certificate in TLS for a Bearer token too, beside the signed assertion.
    #[arg(long, env = "CERTBOUND_BEARER_OVER_MTLS", value_parser = switch())]
    pub(crate) bearer_over_mtls: bool,
    /// Leave the certificate (x5c) out of the signed assertion; only a certificate registered by itself works then.
    #[arg(long, env = "CERTBOUND_NO_X5C", value_parser = switch())]
    pub(crate) no_x5c: bool,
}

/// The credential flags of the direct flow, without the certificate.
#[derive(Clone, Debug, Default)]
pub(crate) struct CredentialFlags {
    pub(crate) client_secret_env: Option<String>,
    pub(crate) assertion_file: Option<PathBuf>,
    pub(crate) bearer_over_mtls: bool,
    pub(crate) no_x5c: bool,
}

impl IdentityFlags {
    /// Returns the application's id.
    pub(crate) fn client_id(&self) -> Result<&str, Usage> {
        self.client_id.as_deref().ok_or(Usage::NoClientId)
    }
}

impl SecretFlags {
    /// Returns the name of the first flag that is given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let all = [
            ("--client-secret-env", self.client_secret_env.is_some()),
            ("--bearer-over-mtls", self.bearer_over_mtls),
            ("--no-x5c", self.no_x5c),
        ];
        all.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// Returns the credential flags with an assertion from elsewhere.
    pub(crate) fn with_assertion(&self, assertion_file: Option<PathBuf>) -> CredentialFlags {
        CredentialFlags {
            client_secret_env: self.client_secret_env.clone(),
            assertion_file,
            bearer_over_mtls: self.bearer_over_mtls,
            no_x5c: self.no_x5c,
        }
    }
}

/// Where the assertion comes from.
#[derive(Args, Clone, Debug)]
pub(crate) struct Leg1Flags {
    /// Run Leg 1 with this certificate: a PEM file with chain and key, or a PFX file. Leg 2 presents the same.
    #[arg(
        long,
        value_name = "FILE",
        env = "CERTBOUND_LEG1_CERTIFICATE",
        conflicts_with_all = ["assertion_file", "certificate"]
    )]
    pub(crate) leg1_certificate: Option<PathBuf>,
    /// Run Leg 1 as a managed identity of this machine: `system`, `client-id:GUID`, `object-id:GUID` or `resource-id:ID`.
    /// Leg 2 presents the certificate that the machine is issued.
    #[arg(
        long,
        value_name = "IDENTITY",
        env = "CERTBOUND_LEG1_MANAGED_IDENTITY",
        conflicts_with_all = ["leg1_certificate", "assertion_file", "certificate"]
    )]
    pub(crate) leg1_managed_identity: Option<String>,
    /// The private key (PEM) of Leg 1's certificate, when it is in a file of its own.
    #[arg(long, value_name = "FILE", env = "CERTBOUND_LEG1_CERTIFICATE_KEY")]
    pub(crate) leg1_certificate_key: Option<PathBuf>,
    /// The application (client) id of Leg 1. Default: that of Leg 2.
    #[arg(long, value_name = "GUID", env = "CERTBOUND_LEG1_CLIENT_ID")]
    pub(crate) leg1_client_id: Option<String>,
    /// The tenant of Leg 1. Default: that of Leg 2.
    #[arg(long, value_name = "TENANT", env = "CERTBOUND_LEG1_TENANT")]
    pub(crate) leg1_tenant: Option<String>,
    /// An assertion made elsewhere (`-` reads stdin), bound to the certificate given with --certificate.
    #[arg(long, value_name = "FILE", env = "CERTBOUND_ASSERTION_FILE")]
    pub(crate) assertion_file: Option<PathBuf>,
}

impl Leg1Flags {
    /// Returns whether a flag of Leg 1 is given.
    pub(crate) fn is_given(&self) -> bool {
        self.leg1_certificate.is_some()
            || self.leg1_managed_identity.is_some()
            || self.leg1_certificate_key.is_some()
            || self.leg1_client_id.is_some()
            || self.leg1_tenant.is_some()
    }
}

/// Bound or Bearer.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct KindFlags {
    /// Ask for a token that is bound to the certificate. The default.
    #[arg(long, env = "CERTBOUND_BOUND", conflicts_with = "bearer", value_parser = switch())]
    pub(crate) bound: bool,
    /// Ask for a Bearer token, which works for whoever holds it.
    #[arg(long, env = "CERTBOUND_BEARER", value_parser = switch())]
    pub(crate) bearer: bool,
    /// Refuse a bound token that cannot be seen to name the certificate, because it is opaque or encrypted. Without this
    /// flag such a token is taken, and the result says `bindingObserved: false`.
    #[arg(
        long,
        env = "CERTBOUND_REQUIRE_OBSERVED_BINDING",
        conflicts_with = "bearer",
        value_parser = switch()
    )]
    pub(crate) require_observed_binding: bool,
}

/// How the command runs.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunFlags {
    /// Stop before the first byte is sent and print the request, with its secrets redacted.
    #[arg(long, env = "CERTBOUND_DRY_RUN", value_parser = switch())]
    pub(crate) dry_run: bool,
    /// Print each request and the status of its answer on stderr, with secrets redacted.
    #[arg(long, env = "CERTBOUND_TRACE", value_parser = switch())]
    pub(crate) trace: bool,
    /// How long a connection (TCP, tunnel and TLS together) may take.
    #[arg(long, value_name = "SECONDS", env = "CERTBOUND_CONNECT_TIMEOUT", default_value = "5", value_parser = seconds())]
    pub(crate) connect_timeout: u64,
    /// How long a whole exchange may take, connection included.
    #[arg(long, value_name = "SECONDS", env = "CERTBOUND_TIMEOUT", default_value = "30", value_parser = seconds())]
    pub(crate) timeout: u64,
}

fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::builder::RangedU64ValueParser::new().range(1..=3600)
}

/// The platform's identity instead of an application's.
#[derive(Args, Clone, Debug)]
pub(crate) struct MachineFlags {
    /// Ask as a managed identity of this machine: `system`, `client-id:GUID`, `object-id:GUID` or `resource-id:ID`.
    /// Instead of every flag that says who asks, where, or by what. `exchange` has another for it.
    #[arg(long, value_name = "IDENTITY", env = "CERTBOUND_MANAGED_IDENTITY")]
    pub(crate) managed_identity: Option<String>,
    /// Take the managed identity's tokens from this platform, and look for no other. Default: told by the environment.
    #[arg(long, value_enum, value_name = "SOURCE", env = "CERTBOUND_MANAGED_IDENTITY_SOURCE")]
    pub(crate) managed_identity_source: Option<SourceFlag>,
}

/// A platform's source of managed-identity tokens, by the library's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceFlag {
    /// A virtual machine: the instance metadata service.
    Imds,
    /// App Service, Functions, Container Apps.
    AppService,
    /// A node of Service Fabric.
    ServiceFabric,
    /// A server elsewhere with the agent of Azure Arc.
    Arc,
    /// Azure Machine Learning.
    Ml,
    /// Cloud Shell.
    CloudShell,
}

impl From<SourceFlag> for MachineSource {
    fn from(flag: SourceFlag) -> Self {
        match flag {
            SourceFlag::Imds => Self::Imds,
            SourceFlag::AppService => Self::AppService,
            SourceFlag::ServiceFabric => Self::ServiceFabric,
            SourceFlag::Arc => Self::AzureArc,
            SourceFlag::Ml => Self::MachineLearning,
            SourceFlag::CloudShell => Self::CloudShell,
        }
    }
}

/// What outlives the command.
#[derive(Args, Clone, Debug)]
pub(crate) struct MachineStateFlags {
    /// Keep the machine's key and certificates in this folder (mode 0700), so that the next command issues none. The
    /// private key is written, not encrypted. With a managed identity. Default: both end with the command.
    #[arg(long, value_name = "DIR", env = "CERTBOUND_MACHINE_STATE")]
    pub(crate) machine_state: Option<PathBuf>,
}

/// Tokens that outlive the command.
#[derive(Args, Clone, Debug)]
pub(crate) struct CacheFlags {
    /// Neither use a token that an earlier command got, nor leave one to the next.
    #[arg(long, env = "CERTBOUND_NO_CACHE", value_parser = switch())]
    pub(crate) no_cache: bool,
    /// Where tokens are kept for the next command, in one sealed file (mode 0600) of a folder (mode 0700). Default:
    /// `certbound` in XDG_CACHE_HOME, else in ~/.cache.
    #[arg(long, value_name = "DIR", env = "CERTBOUND_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Where the key is that seals them. Nobody is asked to unlock a keychain.
    #[arg(long, value_enum, value_name = "PLACE", env = "CERTBOUND_CACHE_KEY", default_value_t = CacheKeyFlag::Auto)]
    pub(crate) cache_key: CacheKeyFlag,
}

/// Where the key of kept tokens is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CacheKeyFlag {
    /// In the session's keychain if one answers at once and is not locked, else in a file.
    Auto,
    /// In the session's keychain (on Linux, by the Secret Service), or the command fails.
    Keychain,
    /// In a file beside them (mode 0600): whoever can read the folder can use the tokens.
    File,
}

/// Who asks, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClientFlags {
    #[command(flatten)]
    pub(crate) machine: MachineFlags,
    #[command(flatten)]
    pub(crate) machine_state: MachineStateFlags,
    #[command(flatten)]
    pub(crate) identity: IdentityFlags,
    #[command(flatten)]
    pub(crate) certificate: CertificateFlags,
    #[command(flatten)]
    pub(crate) run: RunFlags,
}

#[derive(Args, Debug)]
pub(crate) struct TokenFlags {
    /// The resource's scope, {resource}/.default; with --issuer whatever the issuer knows.
    #[arg(long, env = "CERTBOUND_SCOPE")]
    pub(crate) scope: String,
    #[command(flatten)]
    pub(crate) client: ClientFlags,
    #[command(flatten)]
    pub(crate) secret: SecretFlags,
    /// An assertion made elsewhere (`-` reads stdin) that is bound to no certificate, for a Bearer token. Read when it
    /// is needed.
    #[arg(
        long,
        value_name = "FILE",
        env = "CERTBOUND_ASSERTION_FILE",
        conflicts_with_all = ["client_secret_env", "certificate"]
    )]
    pub(crate) assertion_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) kind: KindFlags,
    #[command(flatten)]
    pub(crate) cache: CacheFlags,
    /// Show the token in a table too.
    #[arg(long, env = "CERTBOUND_REVEAL", value_parser = switch())]
    pub(crate) reveal: bool,
}

#[derive(Args, Debug)]
pub(crate) struct AssertionFlags {
    #[command(flatten)]
    pub(crate) client: ClientFlags,
    /// Show the assertion in a table too.
    #[arg(long, env = "CERTBOUND_REVEAL", value_parser = switch())]
    pub(crate) reveal: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ExchangeFlags {
    /// The resource's scope, {resource}/.default; with --issuer whatever the issuer knows.
    #[arg(long, env = "CERTBOUND_SCOPE")]
    pub(crate) scope: String,
    #[command(flatten)]
    pub(crate) client: ClientFlags,
    #[command(flatten)]
    pub(crate) leg1: Leg1Flags,
    #[command(flatten)]
    pub(crate) kind: KindFlags,
    #[command(flatten)]
    pub(crate) cache: CacheFlags,
    /// Add the report on the jwt-pop request of Leg 2, one mark a line.
    #[arg(long, env = "CERTBOUND_REPORT", value_parser = switch())]
    pub(crate) report: bool,
    /// Show the token in a table too.
    #[arg(long, env = "CERTBOUND_REVEAL", value_parser = switch())]
    pub(crate) reveal: bool,
}
