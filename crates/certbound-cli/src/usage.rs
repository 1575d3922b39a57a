//! Mistakes on the command line that only this program can detect.

use std::net::SocketAddr;

/// A mistake in the flags or in the files that they name. It contains nothing of a file but its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Usage {
    #[error("no tenant is given, by --tenant or in the authority")]
    NoTenant,
    #[error("the authority names the tenant {authority}, and --tenant another: {flag}")]
    TwoTenants { authority: String, flag: String },
    #[error("the authority is of the kind {kind}, which has no tenant to choose")]
    NoTenantToChoose { kind: certbound::AuthorityKind },
    #[error("`{0}` asks for the region to be detected, which is not done here")]
    RegionDetection(String),
    #[error("no client id is given")]
    NoClientId,
    #[error("a managed identity cannot be Leg 2: it has no assertion to present")]
    MachineIsNotLeg2,
    #[error("{one} and {other} exclude each other")]
    Conflict { one: &'static str, other: &'static str },
    #[error("no certificate is given")]
    NoCertificate,
    #[error("tokens cannot be kept for the next command: {reason}")]
    CacheKey { reason: String },
    #[error(
        "no credential is given: neither a certificate, nor a secret, nor an assertion, nor a managed identity"
    )]
    NoCredential,
    #[error("{what} has no certificate to bind a token to")]
    NotBound { what: &'static str },
    #[error("{what} cannot be used over mutual TLS: it has no certificate to present")]
    NotOverMtls { what: &'static str },
    #[error("the environment variable {0}, named for the client secret, is not set")]
    NoSecret(String),
    #[error("neither a certificate nor a managed identity for Leg 1, nor an assertion, is given")]
    NoLeg1,
    #[error("--assertion-file needs the certificate that the assertion is bound to")]
    AssertionWithoutCertificate,
    #[error("{flag} belongs to Leg 1, which does not run here")]
    Leg1Unused { flag: &'static str },
    #[error("the environment variable {0}, named for the password, is not set")]
    NoPassword(String),
    #[error("cannot read {path}: {reason}")]
    Unreadable { path: String, reason: String },
    #[error("no scope is given, and none can be derived for the host {host}")]
    NoScope { host: String },
    #[error("`{0}` is not an absolute https:// URL")]
    Url(String),
    #[error("`{0}` is not an HTTP method")]
    Method(String),
    #[error("a header is not of the form `Name: value`")]
    Header,
    #[error("the header {0} is set by this command")]
    HeaderOurs(http::HeaderName),
    #[error("--data @- and --assertion-file - cannot both read stdin")]
    StdinTwice,
    #[error("no token is given")]
    NoToken,
    #[error("the token is not a JWT: {0}")]
    NotAJwt(certbound_core::jws::JwsError),
    #[error("{path} holds no certificate: {reason}")]
    NotACertificate { path: String, reason: String },
    #[error("{path} is not a usable key set: {reason}")]
    NotAKeySet { path: String, reason: String },
    #[error("`{0}` is not the login host of a Microsoft cloud")]
    NoCloud(String),
    #[error("neither a tenant nor an issuer is given")]
    NoIssuer,
    #[error("--require-scope is given without --callers, and applications' tokens of Entra have no scopes")]
    NoCallers,
    #[error("`{0}` is not an algorithm that signatures are verified by")]
    Algorithm(String),
    #[error("`{0}` is not the name of a header")]
    HeaderName(String),
    #[error("the certificate cannot be read from that header: {0}")]
    CertificateHeaderName(certbound_verifier::HeaderNameError),
    #[error("--serve needs --certificate-header and --trust-proxy")]
    NoProxy,
    #[error("-o {format} is not a form of this result")]
    Format { format: &'static str },
    #[error(
        "{0} is not a loopback address: others on the network could have any token minted, and use the proxy"
    )]
    NotLoopback(SocketAddr),
    #[error("{0} is not a loopback address: others on the network could have the machine's tokens")]
    ImdsNotLoopback(SocketAddr),
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: SocketAddr, reason: String },
    #[error("--isolated needs the namespaces of Linux")]
    NotLinux,
    #[error("there is no `unshare` on PATH, by which a program gets a network of its own")]
    NoUnshare,
    #[error("clients of Azure Arc look for its agent's files at a fixed place, which is not the emulator's")]
    ArcOutside,
    #[error("this machine lets no user make namespaces: {reason}")]
    NoNamespaces { reason: String },
    #[error("CERTBOUND_EMULATOR_INSIDE is set, but this process has no namespaces of its own: {reason}")]
    NotInside { reason: String },
    #[error("{what} cannot be set up: {reason}")]
    Isolation { what: &'static str, reason: String },
    #[error("the state directory {path} cannot be used: {reason}")]
    State { path: String, reason: String },
    #[error("{path} is not a usable world: {reason}")]
    World { path: String, reason: String },
}

impl Usage {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoTenant => "tenant_required",
            Self::TwoTenants { .. } => "tenant_conflict",
            Self::NoTenantToChoose { .. } => "tenant_override_not_supported",
            Self::RegionDetection(_) => "invalid_region",
            Self::NoClientId => "client_id_required",
            Self::MachineIsNotLeg2 => "managed_identity_cannot_be_leg2",
            Self::Conflict { .. } => "usage",
            Self::NoCertificate => "certificate_required",
            Self::CacheKey { .. } => "cache_unusable",
            Self::NoCredential => "Client_Credentials_Required_In_Confidential_Client_Application",
            Self::NotBound { .. } => "mtls_certificate_not_provided",
            Self::NotOverMtls { .. } => "invalid_credential_material",
            Self::NoSecret(_) => "client_secret_unset",
            Self::NoLeg1 => "leg1_required",
            Self::AssertionWithoutCertificate => "mtls_certificate_not_provided",
            Self::Leg1Unused { .. } => "leg1_flag_unused",
            Self::NoPassword(_) => "certificate_password_unset",
            Self::Unreadable { .. } => "file_unreadable",
            Self::NoScope { .. } => "scopes_required_client_credentials",
            Self::Url(_) => "url_not_https",
            Self::Method(_) => "invalid_method",
            Self::Header => "invalid_header",
            Self::HeaderOurs(_) => "invalid_resource_request",
            Self::StdinTwice => "stdin_twice",
            Self::NoToken => "token_required",
            Self::NotAJwt(_) => "malformed_token",
            Self::NotACertificate { .. } => "certificate_missing",
            Self::NotAKeySet { .. } => "invalid_key_set",
            Self::NoCloud(_) => "authority_host_unknown",
            Self::NoIssuer => "issuer_required",
            Self::NoCallers => "callers_required",
            Self::Algorithm(_) => "invalid_algorithm",
            Self::HeaderName(_) => "invalid_header",
            Self::CertificateHeaderName(error) => error.code(),
            Self::NoProxy => "trusted_proxy_required",
            Self::Format { .. } => "output_format_unsupported",
            Self::NotLoopback(_) | Self::ImdsNotLoopback(_) => "listen_address_not_loopback",
            Self::Listen { .. } => "listen_failed",
            Self::NotLinux => "namespaces_unavailable",
            Self::NoUnshare => "unshare_missing",
            Self::ArcOutside => "arc_needs_isolation",
            Self::NoNamespaces { .. } => "namespaces_forbidden",
            Self::NotInside { .. } => "not_isolated",
            Self::Isolation { .. } => "isolation_failed",
            Self::State { .. } => "state_directory_unusable",
            Self::World { .. } => "world_unusable",
        }
    }

    pub(crate) fn fix(&self) -> &'static str {
        match self {
            Self::NoTenant => "give --tenant or set AZURE_TENANT_ID",
            Self::TwoTenants { .. } => "name the tenant in one of the two places",
            Self::NoTenantToChoose { .. } => "leave --tenant and --leg1-tenant out",
            Self::RegionDetection(_) => {
                "name the region, such as westus3, or leave it out to use the global endpoint"
            }
            Self::NoClientId => "give --client-id or set AZURE_CLIENT_ID",
            Self::MachineIsNotLeg2 => {
                "make it Leg 1 with --leg1-managed-identity, or run `token --managed-identity`"
            }
            Self::Conflict { one: "--managed-identity", .. } => {
                "leave one of the two out; the platform says who the managed identity is, and where its tokens are had"
            }
            Self::Conflict { .. } => "leave one of the two out, or unset its environment variable",
            Self::CacheKey { .. } => {
                "look who can write the folder of --cache-dir; unlock the keychain or give --cache-key file; or --no-cache"
            }
            Self::NoCertificate => {
                "give --certificate or set AZURE_CLIENT_CERTIFICATE_PATH, or give --managed-identity"
            }
            Self::NoCredential => {
                "give --certificate (or set AZURE_CLIENT_CERTIFICATE_PATH), --client-secret-env, --assertion-file or \
                 --managed-identity"
            }
            Self::NotBound { .. } => "give --certificate, or ask for a Bearer token with --bearer",
            Self::NotOverMtls { .. } => "leave --bearer-over-mtls out, or give --certificate",
            Self::NoSecret(_) => "set it to the secret's value",
            Self::NoLeg1 => {
                "give --leg1-certificate or --leg1-managed-identity, or --assertion-file with --certificate"
            }
            Self::AssertionWithoutCertificate => "give --certificate with the file that Leg 1 ran with",
            Self::Leg1Unused { .. } => {
                "leave it out; it goes with --leg1-certificate, and neither with --leg1-managed-identity nor with an \
                 assertion made elsewhere"
            }
            Self::NoPassword(_) => "set it, or leave --certificate-password-env out",
            Self::Unreadable { .. } => "check the path and that this user may read it",
            Self::NoScope { .. } => "give --scope {resource}/.default",
            Self::Url(_) => "give a URL that begins with https:// and holds no user name or fragment",
            Self::Method(_) => "give a method such as GET or POST",
            Self::Header => "write it as `Name: value`, in printable characters",
            Self::HeaderOurs(_) => "leave it out; it follows from the token, the URL and the body",
            Self::StdinTwice => "put one of the two into a file",
            Self::NoToken => "give the token as an argument, or - to read it from stdin",
            Self::NotAJwt(_) => "give the token alone, as the token service answered it",
            Self::NotACertificate { .. } => "give a PEM file with BEGIN CERTIFICATE, or a DER file",
            Self::NotAKeySet { .. } => "give the document that the issuer's jwks_uri leads to",
            Self::NoCloud(_) => "give a login host such as https://login.microsoftonline.us",
            Self::NoIssuer => "give --tenant, or --issuer with --algorithm",
            Self::NoCallers => {
                "add --callers users, or --callers any to accept applications too; of applications require a role"
            }
            Self::Algorithm(_) => {
                "give one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519"
            }
            Self::HeaderName(_) => "give a name such as x-ssl-client-cert",
            Self::CertificateHeaderName(error) => error.fix(),
            Self::NoProxy => {
                "say which header the proxy puts the certificate into, and which addresses it has (127.0.0.1/32)"
            }
            Self::Format { .. } => "use -o json or -o table",
            Self::NotLoopback(_) => {
                "listen on 127.0.0.1 or [::1], or add --listen-on-the-network-anyone-can-mint-tokens"
            }
            Self::ImdsNotLoopback(_) => "listen on 127.0.0.1 or [::1]",
            Self::Listen { .. } => "choose another address or port; port 0 takes a free one",
            Self::NotLinux => "run without --isolated, or in a Linux container",
            Self::ArcOutside => "add --isolated (Linux)",
            Self::NoUnshare => "install util-linux, or run without --isolated",
            Self::NoNamespaces { .. } => {
                "allow them (`sysctl -w` whichever of these there is: user.max_user_namespaces=15000 \
                 kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0; \
                 in a container `--security-opt seccomp=unconfined --cap-add SYS_ADMIN`), or run without --isolated"
            }
            Self::NotInside { .. } => "unset CERTBOUND_EMULATOR_INSIDE, which the command sets for itself",
            Self::Isolation { .. } => "run without --isolated, and report this",
            Self::State { .. } => {
                "name a directory, not a link, that this user owns and nobody else can enter"
            }
            Self::World { .. } => {
                "correct these places; `certbound emulator world` prints a world that works"
            }
        }
    }
}
