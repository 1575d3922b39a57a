//! Flags of the commands that acquire tokens.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{PlatformFlag, first_given, switch};
use crate::usage::Usage;

/// The application and its authority.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Application")]
pub(crate) struct IdentityFlags {
    /// The application (client) id.
    ///
    /// Entra requires a GUID. The id is needed unless --managed-identity is given.
    #[arg(long, value_name = "ID", env = "AZURE_CLIENT_ID", required_unless_present = "managed_identity")]
    pub(crate) client_id: Option<String>,
    /// The tenant: its id or one of its domains.
    ///
    /// This flag is not needed if the authority contains the tenant.
    #[arg(long, env = "AZURE_TENANT_ID")]
    pub(crate) tenant: Option<String>,
    /// The Azure region, such as westus3, or TryAutoDetect.
    ///
    /// TryAutoDetect reads the region from REGION_NAME, from COSMIC_LOCATION or from the machine's metadata service. If
    /// no region is found or given, the global endpoint is used. MSAL_FORCE_REGION and MSAL_DISABLE_REGION apply.
    #[arg(long, env = "AZURE_REGIONAL_AUTHORITY_NAME")]
    pub(crate) region: Option<String>,
    /// Use the global endpoint if the region's host cannot be reached.
    ///
    /// The command then prints a warning. By default the command fails.
    #[arg(
        long,
        env = "CERTBOUND_GLOBAL_IF_REGION_UNREACHABLE",
        value_parser = switch(),
        hide_short_help = true
    )]
    pub(crate) global_if_region_unreachable: bool,
    /// The login host, or a URL with its tenant.
    ///
    /// An example is https://login.microsoftonline.us. Default: the public cloud.
    #[arg(long, value_name = "URL", env = "AZURE_AUTHORITY_HOST", hide_short_help = true)]
    pub(crate) authority: Option<String>,
    /// An OpenID issuer other than Microsoft's.
    ///
    /// The issuer replaces tenant, region and authority, and determines the form of its scopes.
    #[arg(
        long,
        value_name = "URL",
        env = "CERTBOUND_ISSUER",
        conflicts_with_all = ["tenant", "region", "authority"],
        hide_short_help = true
    )]
    pub(crate) issuer: Option<String>,
    /// Trust the authority's host without a check.
    ///
    /// By default certbound first looks up a host of an unknown cloud in Microsoft's directory.
    #[arg(long, env = "CERTBOUND_NO_AUTHORITY_VALIDATION", value_parser = switch(), hide_short_help = true)]
    pub(crate) no_authority_validation: bool,
}

/// The certificate with its key. Passwords are read only from the environment, because other users see the arguments.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Certificate")]
pub(crate) struct CertificateFlags {
    /// A PEM or PFX file, or a PKCS#11 URI.
    ///
    /// The file has the chain and the key. A value that begins with `pkcs11:` names a key in a token, with its
    /// certificate: `pkcs11:token=app;object=binding?module-path=/usr/lib/softhsm/libsofthsm2.so`.
    #[arg(long, value_name = "FILE", env = "AZURE_CLIENT_CERTIFICATE_PATH")]
    pub(crate) certificate: Option<PathBuf>,
    /// The private key of the certificate: a PEM file, a PKCS#11 URI, or `tpm:HANDLE`.
    ///
    /// This flag is needed if the certificate's file does not contain the key.
    #[arg(
        long,
        value_name = "FILE",
        env = "CERTBOUND_CERTIFICATE_KEY",
        requires = "certificate",
        hide_short_help = true
    )]
    pub(crate) certificate_key: Option<PathBuf>,
    /// The variable with the key's password.
    ///
    /// This environment variable contains the password of the PFX file or of the encrypted key (default:
    /// AZURE_CLIENT_CERTIFICATE_PASSWORD), or the PIN of the token (default: CERTBOUND_PIN).
    #[arg(long, value_name = "NAME", env = "CERTBOUND_CERTIFICATE_PASSWORD_ENV", hide_short_help = true)]
    pub(crate) certificate_password_env: Option<String>,
}

/// The credential flags of the direct flow that no other flow has.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Other credentials")]
pub(crate) struct SecretFlags {
    /// The variable with a client secret.
    ///
    /// This environment variable contains a client secret, which gives Bearer tokens only. Without a flag for a
    /// credential, certbound reads AZURE_CLIENT_SECRET and then AZURE_FEDERATED_TOKEN_FILE.
    #[arg(long, value_name = "NAME", env = "CERTBOUND_CLIENT_SECRET_ENV", conflicts_with = "certificate")]
    pub(crate) client_secret_env: Option<String>,
    /// Present the certificate for a Bearer token.
    ///
    /// The client presents the certificate in TLS. The request of an application contains the signed assertion too.
    /// With --managed-identity the token service issues the token instead of the platform, for the certificate of the
    /// machine.
    #[arg(long, env = "CERTBOUND_BEARER_OVER_MTLS", value_parser = switch(), hide_short_help = true)]
    pub(crate) bearer_over_mtls: bool,
    /// Leave x5c out of the signed assertion.
    ///
    /// Without the certificate in the assertion, the certificate itself must be registered with the application.
    #[arg(long, env = "CERTBOUND_NO_X5C", value_parser = switch(), hide_short_help = true)]
    pub(crate) no_x5c: bool,
}

/// The credential flags of the direct flow, without the certificate.
#[derive(Clone, Debug, Default)]
pub(crate) struct CredentialFlags {
    pub(crate) secret: SecretFlags,
    /// The file of an existing assertion.
    pub(crate) assertion_file: Option<PathBuf>,
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
        first_given(&[
            ("--client-secret-env", self.client_secret_env.is_some()),
            ("--bearer-over-mtls", self.bearer_over_mtls),
            ("--no-x5c", self.no_x5c),
        ])
    }
}

/// The source of the assertion.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Leg 1")]
pub(crate) struct Leg1Flags {
    /// The certificate of both legs: a file or URI.
    ///
    /// The certificate authenticates Leg 1, and Leg 2 presents it. The value is a PEM file with chain and key, a PFX
    /// file, or the PKCS#11 URI of a key in a token.
    #[arg(
        long,
        value_name = "FILE",
        env = "CERTBOUND_LEG1_CERTIFICATE",
        conflicts_with_all = ["assertion_file", "certificate"]
    )]
    pub(crate) leg1_certificate: Option<PathBuf>,
    /// A managed identity of this machine.
    ///
    /// The value is `system`, `client-id:GUID`, `object-id:GUID` or `resource-id:ID`. Leg 2 presents the certificate
    /// that the platform issued to the machine.
    #[arg(
        long,
        value_name = "ID",
        env = "CERTBOUND_LEG1_MANAGED_IDENTITY",
        conflicts_with_all = ["leg1_certificate", "assertion_file", "certificate"]
    )]
    pub(crate) leg1_managed_identity: Option<String>,
    /// The private key of --leg1-certificate: a PEM file, a PKCS#11 URI, or `tpm:HANDLE`.
    ///
    /// This flag is needed if the certificate's file does not contain the key.
    #[arg(long, value_name = "FILE", env = "CERTBOUND_LEG1_CERTIFICATE_KEY", hide_short_help = true)]
    pub(crate) leg1_certificate_key: Option<PathBuf>,
    /// The client id of Leg 1. Default: Leg 2's.
    #[arg(long, value_name = "ID", env = "CERTBOUND_LEG1_CLIENT_ID", hide_short_help = true)]
    pub(crate) leg1_client_id: Option<String>,
    /// The tenant of Leg 1. Default: Leg 2's.
    #[arg(long, value_name = "TENANT", env = "CERTBOUND_LEG1_TENANT", hide_short_help = true)]
    pub(crate) leg1_tenant: Option<String>,
    /// An existing assertion, instead of Leg 1.
    ///
    /// `-` reads stdin. The assertion must be bound to the certificate of --certificate.
    #[arg(long, value_name = "FILE", env = "CERTBOUND_ASSERTION_FILE")]
    pub(crate) assertion_file: Option<PathBuf>,
}

impl Leg1Flags {
    /// Returns whether a flag of Leg 1 is given.
    pub(crate) fn is_given(&self) -> bool {
        self.leg1_certificate.is_some() || self.leg1_managed_identity.is_some() || self.detail().is_some()
    }

    /// Returns the first given flag that has an effect only with a certificate of Leg 1.
    pub(crate) fn detail(&self) -> Option<&'static str> {
        first_given(&[
            ("--leg1-certificate-key", self.leg1_certificate_key.is_some()),
            ("--leg1-client-id", self.leg1_client_id.is_some()),
            ("--leg1-tenant", self.leg1_tenant.is_some()),
        ])
    }
}

/// The kind of token: bound or Bearer.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Kind of token")]
pub(crate) struct KindFlags {
    /// Request a bound token. This is the default.
    #[arg(long, env = "CERTBOUND_BOUND", conflicts_with = "bearer", value_parser = switch())]
    pub(crate) bound: bool,
    /// Request a Bearer token.
    ///
    /// Everybody who has a Bearer token can use it.
    #[arg(long, env = "CERTBOUND_BEARER", value_parser = switch())]
    pub(crate) bearer: bool,
    /// Refuse a token whose binding is not visible.
    ///
    /// certbound cannot read an opaque or encrypted token. Without this flag certbound accepts such a token as a
    /// bound token, and the result contains `bindingObserved: false`.
    #[arg(
        long,
        env = "CERTBOUND_REQUIRE_OBSERVED_BINDING",
        conflicts_with = "bearer",
        value_parser = switch(),
        hide_short_help = true
    )]
    pub(crate) require_observed_binding: bool,
}

/// The flags for the requests of a command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Requests")]
pub(crate) struct RunFlags {
    /// Print the requests instead of sending them.
    ///
    /// The command stops before the first byte is sent. Secrets are redacted.
    #[arg(long, env = "CERTBOUND_DRY_RUN", value_parser = switch())]
    pub(crate) dry_run: bool,
    /// Print each request and status on stderr.
    ///
    /// Secrets are redacted.
    #[arg(long, env = "CERTBOUND_TRACE", value_parser = switch())]
    pub(crate) trace: bool,
    /// The time limit of a connection.
    ///
    /// This is the limit of TCP, tunnel and TLS together.
    #[arg(
        long,
        value_name = "SECONDS",
        env = "CERTBOUND_CONNECT_TIMEOUT",
        default_value = "5",
        value_parser = seconds(),
        hide_short_help = true
    )]
    pub(crate) connect_timeout: u64,
    /// The time limit of a request.
    ///
    /// This is the limit of connection, request and answer together.
    #[arg(
        long,
        value_name = "SECONDS",
        env = "CERTBOUND_TIMEOUT",
        default_value = "30",
        value_parser = seconds(),
        hide_short_help = true
    )]
    pub(crate) timeout: u64,
}

pub(super) fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::builder::RangedU64ValueParser::new().range(1..=3600)
}

/// The managed identity that replaces the application.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Managed identity")]
pub(crate) struct MachineFlags {
    /// A managed identity of this machine.
    ///
    /// The value is `system`, `client-id:GUID`, `object-id:GUID` or `resource-id:ID`. The identity replaces all flags
    /// about application, authority and credential. `exchange` has its own flag for a managed identity.
    #[arg(long, value_name = "ID", env = "CERTBOUND_MANAGED_IDENTITY")]
    pub(crate) managed_identity: Option<String>,
    /// The platform of the managed identity.
    ///
    /// By default the environment determines the platform.
    #[arg(
        long,
        value_enum,
        value_name = "SOURCE",
        env = "CERTBOUND_MANAGED_IDENTITY_SOURCE",
        hide_short_help = true
    )]
    pub(crate) managed_identity_source: Option<PlatformFlag>,
}

#[derive(Args, Debug)]
pub(crate) struct CapabilitiesFlags {
    #[command(flatten)]
    pub(crate) machine: MachineFlags,
    #[command(flatten)]
    pub(crate) keys: MachineKeysFlag,
    /// The time limit of the search.
    ///
    /// It is the limit of all probes of the metadata service and their retries together. By default there is no limit:
    /// the search takes up to 2 seconds without a metadata service, and more than a minute during an update of the
    /// metadata service. CERTBOUND_TIMEOUT and the key `timeout` of a configuration file set this limit too.
    #[arg(long, value_name = "SECONDS", env = "CERTBOUND_TIMEOUT", value_parser = seconds())]
    pub(crate) timeout: Option<u64>,
}

/// The storage of a machine's key and certificates.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Managed identity")]
pub(crate) struct MachineStateFlags {
    /// The folder of the machine's key.
    ///
    /// The key and the certificates of a managed identity are stored in this folder (mode 0700), so that the next
    /// command does not request a new certificate. The private key is stored without encryption, unless --machine-keys
    /// names a token or the TPM. By default the key and the certificates are not stored.
    #[arg(long, value_name = "DIR", env = "CERTBOUND_MACHINE_STATE", hide_short_help = true)]
    pub(crate) machine_state: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) keys: MachineKeysFlag,
}

/// The provider of a machine's key.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Managed identity")]
pub(crate) struct MachineKeysFlag {
    /// The keys of a managed identity: `software`, `tpm`, `tpm:HANDLE`, or a PKCS#11 URI.
    ///
    /// With a URI the key is in a token. If the token has no key with this label, a key is generated in it. The key
    /// never leaves the token. The PIN is in the file of `pin-source`, or in CERTBOUND_PIN. With `tpm` or `tpm:HANDLE`
    /// the key is in the TPM in the same way; TPM2TOOLS_TCTI can name the TPM. Default: software.
    #[arg(long, value_name = "KEYS", env = "CERTBOUND_MACHINE_KEYS", hide_short_help = true)]
    pub(crate) machine_keys: Option<String>,
}

/// The flags for tokens that are stored for later commands.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Stored tokens")]
pub(crate) struct CacheFlags {
    /// Do not read or write stored tokens.
    #[arg(long, env = "CERTBOUND_NO_CACHE", value_parser = switch(), hide_short_help = true)]
    pub(crate) no_cache: bool,
    /// The folder of stored tokens.
    ///
    /// Tokens are stored for the next command in one sealed file (mode 0600) of this folder (mode 0700). Default:
    /// `certbound` in XDG_CACHE_HOME, or in ~/.cache (on macOS in ~/Library/Caches).
    #[arg(long, value_name = "DIR", env = "CERTBOUND_CACHE_DIR", hide_short_help = true)]
    pub(crate) cache_dir: Option<PathBuf>,
    /// The place of the key that seals stored tokens.
    ///
    /// certbound does not use a locked keychain, and does not ask the user to unlock it.
    #[arg(
        long,
        value_enum,
        value_name = "PLACE",
        env = "CERTBOUND_CACHE_KEY",
        default_value_t = CacheKeyFlag::Auto,
        hide_short_help = true
    )]
    pub(crate) cache_key: CacheKeyFlag,
}

/// The place of the key that seals stored tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CacheKeyFlag {
    /// The session's keychain if it answers at once and is unlocked, or else a file.
    Auto,
    /// The session's keychain (on Linux the Secret Service). If it is unavailable, the command fails.
    Keychain,
    /// A file beside the tokens (mode 0600). Everybody who can read the folder can use the tokens.
    File,
}

/// The flags of every command that requests tokens.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClientFlags {
    #[command(flatten)]
    pub(crate) identity: IdentityFlags,
    #[command(flatten)]
    pub(crate) certificate: CertificateFlags,
    #[command(flatten)]
    pub(crate) machine: MachineFlags,
    #[command(flatten)]
    pub(crate) machine_state: MachineStateFlags,
    #[command(flatten)]
    pub(crate) run: RunFlags,
}

#[derive(Args, Debug)]
pub(crate) struct TokenFlags {
    /// The scope of the resource, {resource}/.default.
    ///
    /// With --issuer it is any scope of that issuer.
    #[arg(long, env = "CERTBOUND_SCOPE")]
    pub(crate) scope: String,
    /// Show the token also in a table.
    #[arg(long, env = "CERTBOUND_REVEAL", value_parser = switch())]
    pub(crate) reveal: bool,
    #[command(flatten)]
    pub(crate) client: ClientFlags,
    #[command(flatten)]
    pub(crate) secret: SecretFlags,
    /// An existing assertion, for a Bearer token.
    ///
    /// `-` reads stdin. The assertion is not bound to a certificate. An unreadable file is an error only when certbound
    /// needs the assertion.
    #[arg(
        long,
        value_name = "FILE",
        env = "CERTBOUND_ASSERTION_FILE",
        conflicts_with_all = ["client_secret_env", "certificate"],
        help_heading = "Other credentials"
    )]
    pub(crate) assertion_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) kind: KindFlags,
    #[command(flatten)]
    pub(crate) cache: CacheFlags,
}

#[derive(Args, Debug)]
pub(crate) struct AssertionFlags {
    /// Show the assertion also in a table.
    #[arg(long, env = "CERTBOUND_REVEAL", value_parser = switch())]
    pub(crate) reveal: bool,
    #[command(flatten)]
    pub(crate) client: ClientFlags,
}

#[derive(Args, Debug)]
pub(crate) struct ExchangeFlags {
    /// The scope of the resource, {resource}/.default.
    ///
    /// With --issuer it is any scope of that issuer.
    #[arg(long, env = "CERTBOUND_SCOPE")]
    pub(crate) scope: String,
    #[command(flatten)]
    pub(crate) flow: TwoLegFlags,
}

/// The flags of the two-leg flow, without its scope.
#[derive(Args, Debug)]
pub(crate) struct TwoLegFlags {
    /// Add the report on the jwt-pop request.
    ///
    /// The report has one line for each check of Leg 2's request.
    #[arg(long, env = "CERTBOUND_REPORT", value_parser = switch())]
    pub(crate) report: bool,
    /// Show the token also in a table.
    #[arg(long, env = "CERTBOUND_REVEAL", value_parser = switch())]
    pub(crate) reveal: bool,
    #[command(flatten)]
    pub(crate) leg1: Leg1Flags,
    #[command(flatten)]
    pub(crate) client: ClientFlags,
    #[command(flatten)]
    pub(crate) kind: KindFlags,
    #[command(flatten)]
    pub(crate) cache: CacheFlags,
}
