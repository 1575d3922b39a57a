//! Mistakes on the command line that clap does not detect.

use std::net::SocketAddr;
use strum::EnumProperty as _;

/// A mistake in the flags, in the files that they name, or in the setup of this machine. It never contains a secret
/// from a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub(crate) enum Usage {
    #[error("no tenant is given, neither by --tenant nor in the authority")]
    #[strum(props(code = "tenant_required", fix = "give --tenant or set AZURE_TENANT_ID"))]
    NoTenant,
    #[error("--tenant {flag} differs from the authority's tenant {authority}")]
    #[strum(props(code = "tenant_conflict", fix = "give the tenant either by --tenant or in the authority"))]
    TwoTenants { authority: String, flag: String },
    #[error("the tenant of an authority of the kind {kind} cannot be chosen by a request")]
    #[strum(props(code = "tenant_override_not_supported", fix = "leave --tenant and --leg1-tenant out"))]
    NoTenantToChoose { kind: certbound::authority::AuthorityKind },
    #[error("no client id is given")]
    #[strum(props(code = "client_id_required", fix = "give --client-id or set AZURE_CLIENT_ID"))]
    NoClientId,
    #[error("a managed identity cannot be Leg 2: it has no assertion to present")]
    #[strum(props(code = "managed_identity_cannot_be_leg2"))]
    #[strum(props(
        fix = "use the managed identity as Leg 1 with --leg1-managed-identity, or run `token --managed-identity`"
    ))]
    MachineIsNotLeg2,
    #[error("--keys contains the keys of one issuer, but --tenant and --issuer name two issuers")]
    #[strum(props(code = "usage"))]
    #[strum(props(
        fix = "leave out --tenant or --issuer, or leave out --keys; each issuer's keys are then fetched"
    ))]
    KeysOfTwoIssuers,
    #[error("{one} and {other} cannot be used together")]
    #[strum(props(code = "usage", fix = "leave one of the two out, or unset its environment variable"))]
    Conflict { one: &'static str, other: &'static str },
    #[error("the certificate is a PKCS#11 URI, which also names its key, but a second key is given")]
    #[strum(props(code = "usage"))]
    #[strum(props(
        fix = "leave --certificate-key (for Leg 1 --leg1-certificate-key) out, or give the certificate as a file"
    ))]
    TwoKeys,
    #[error("no certificate is given")]
    #[strum(props(code = "certificate_required"))]
    #[strum(props(
        fix = "give --certificate or set AZURE_CLIENT_CERTIFICATE_PATH, or give --managed-identity"
    ))]
    NoCertificate,
    #[error("tokens cannot be stored for the next command: {reason}")]
    #[strum(props(code = "cache_unusable"))]
    #[strum(props(
        fix = "check who can write to the folder of --cache-dir, unlock the keychain, or give --cache-key file or --no-cache"
    ))]
    CacheKey { reason: String },
    #[error(
        "no credential is given: neither a certificate, nor a secret, nor an assertion, nor a managed identity"
    )]
    #[strum(props(code = "Client_Credentials_Required_In_Confidential_Client_Application"))]
    #[strum(props(
        fix = "give --certificate (or set AZURE_CLIENT_CERTIFICATE_PATH), --client-secret-env, --assertion-file or --managed-identity"
    ))]
    NoCredential,
    #[error("{what} has no certificate to bind a token to")]
    #[strum(props(code = "mtls_certificate_not_provided"))]
    #[strum(props(fix = "give --certificate, or request a Bearer token with --bearer"))]
    NotBound { what: &'static str },
    #[error("{what} cannot be used over mutual TLS: it has no certificate to present")]
    #[strum(props(code = "invalid_credential_material"))]
    #[strum(props(fix = "leave --bearer-over-mtls out, or give --certificate"))]
    NotOverMtls { what: &'static str },
    #[error("the environment variable {0} is not set; --client-secret-env names it")]
    #[strum(props(code = "client_secret_unset"))]
    #[strum(props(
        fix = "set the variable to the client secret; --client-secret-env takes the name of a variable, not the secret"
    ))]
    NoSecret(String),
    #[error("Leg 1 has no credential, and no assertion is given")]
    #[strum(props(code = "leg1_required"))]
    #[strum(props(
        fix = "give --leg1-certificate or --leg1-managed-identity, or --assertion-file with --certificate; --certificate alone (or AZURE_CLIENT_CERTIFICATE_PATH) is the certificate of both legs"
    ))]
    NoLeg1,
    #[error("--assertion-file needs the certificate that the assertion is bound to")]
    #[strum(props(code = "mtls_certificate_not_provided"))]
    #[strum(props(fix = "give --certificate with the file that Leg 1 used"))]
    AssertionWithoutCertificate,
    #[error("{flag} can be used only if Leg 1 authenticates by a certificate")]
    #[strum(props(code = "leg1_flag_unused"))]
    #[strum(props(fix = "remove the flag; --leg1-managed-identity and an existing assertion do not use it"))]
    Leg1Unused { flag: &'static str },
    #[error("--leg1-certificate-key is the key of --leg1-certificate, which is not given")]
    #[strum(props(code = "leg1_flag_unused"))]
    #[strum(props(fix = "give the key of --certificate by --certificate-key, or give --leg1-certificate"))]
    Leg1KeyAlone,
    #[error("the environment variable {0} is not set; --certificate-password-env names it")]
    #[strum(props(code = "certificate_password_unset"))]
    #[strum(props(
        fix = "set the variable to the password; --certificate-password-env takes the name of a variable, not the password"
    ))]
    NoPassword(String),
    #[error("{reason}")]
    #[strum(props(code = "pkcs11_uri_invalid"))]
    #[strum(props(
        fix = "give a URI such as `pkcs11:token=NAME;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so`; percent-encode spaces and special characters, and quote the URI in a shell"
    ))]
    TokenUri { reason: String },
    #[error("the PKCS#11 URI contains the PIN (`pin-value`), and other users can see arguments")]
    #[strum(props(code = "pkcs11_uri_invalid"))]
    #[strum(props(fix = "write the PIN into a file and give `pin-source=file:/path`, or set CERTBOUND_PIN"))]
    PinInUri,
    #[error("--machine-keys is neither `software`, `tpm`, `tpm:HANDLE` nor a PKCS#11 URI")]
    #[strum(props(code = "machine_keys_unknown"))]
    #[strum(props(fix = "give `software`, `tpm`, `tpm:HANDLE`, or a URI that begins with `pkcs11:`"))]
    MachineKeys,
    #[cfg_attr(feature = "tpm", expect(dead_code, reason = "a build without the feature has this error"))]
    #[error("this build cannot use a TPM")]
    #[strum(props(code = "tpm_not_built_in"))]
    #[strum(props(
        fix = "install a build with `cargo install certbound-cli --features tpm`, which needs libtss2-dev; or use the TPM through the PKCS#11 module of tpm2-pkcs11: `pkcs11:token=NAME?module-name=tpm2_pkcs11` (docs/tpm.md)"
    ))]
    NoTpm,
    #[cfg_attr(not(feature = "tpm"), expect(dead_code, reason = "a build with the feature has this error"))]
    #[error("the name of the key in the TPM has no handle")]
    #[strum(props(code = "tpm_handle_invalid"))]
    #[strum(props(
        fix = "give `tpm:HANDLE`, for example tpm:0x81300001; `certbound keys list tpm` shows the keys"
    ))]
    NoTpmHandle,
    #[error("a TPM stores keys and no certificates")]
    #[strum(props(code = "tpm_has_no_certificate"))]
    #[strum(props(
        fix = "give the certificate as a file, and `tpm:HANDLE` as its key: --certificate-key, --leg1-certificate-key"
    ))]
    TpmHasNoCertificate,
    #[error("{path} cannot be read: {reason}")]
    #[strum(props(code = "file_unreadable", fix = "check the path and that this user may read it"))]
    Unreadable { path: String, reason: String },
    #[error("no scope is given, and certbound has no default scope for the host {host}")]
    #[strum(props(code = "scopes_required_client_credentials", fix = "give --scope {resource}/.default"))]
    NoScope { host: String },
    #[error("neither a scope nor the URL of a resource is given")]
    #[strum(props(code = "scopes_required_client_credentials"))]
    #[strum(props(
        fix = "give --scope {resource}/.default, or --resource-url with a URL of Graph or Key Vault, whose scope certbound knows"
    ))]
    NeitherScopeNorResource,
    #[error("`{0}` is not an absolute https:// URL")]
    #[strum(props(code = "url_not_https"))]
    #[strum(props(fix = "give a URL that begins with https:// and contains no user name or fragment"))]
    Url(String),
    #[error("`{0}` is not an HTTP method")]
    #[strum(props(code = "invalid_method", fix = "give a method such as GET or POST"))]
    Method(String),
    #[error("a header is not of the form `Name: value`")]
    #[strum(props(code = "invalid_header", fix = "write `Name: value`, in printable characters"))]
    Header,
    #[error("--header cannot set {0}, because certbound controls this header")]
    #[strum(props(code = "invalid_resource_request"))]
    #[strum(props(
        fix = "remove the header; certbound controls the token, the host, the connection and the length"
    ))]
    HeaderOurs(http::HeaderName),
    #[error("{one} and {other} cannot both read stdin")]
    #[strum(props(code = "stdin_twice", fix = "read one of the two from a file instead"))]
    StdinTwice { one: &'static str, other: &'static str },
    #[error("{path} contains no federated credential")]
    #[strum(props(code = "invalid_federated_credential"))]
    #[strum(props(
        fix = "give the JSON of Microsoft Graph: an object with issuer, subject and audiences, or a list of such objects, as `az ad app federated-credential list` prints it"
    ))]
    NoFederatedCredential { path: String },
    #[error("no token is given")]
    #[strum(props(code = "token_required"))]
    #[strum(props(fix = "give the token as an argument, or - to read it from stdin"))]
    NoToken,
    #[error("the token is not a JWT: {0}")]
    #[strum(props(
        code = "malformed_token",
        fix = "give only the token, as `certbound token -o raw` prints it"
    ))]
    NotAJwt(certbound_core::jws::JwsError),
    #[error("{path} contains no certificate: {reason}")]
    #[strum(props(code = "certificate_missing"))]
    #[strum(props(fix = "give a PEM file with BEGIN CERTIFICATE, or a DER file"))]
    NotACertificate { path: String, reason: String },
    #[error("{path} is not a usable key set: {reason}")]
    #[strum(props(code = "invalid_key_set", fix = "give the document at the issuer's jwks_uri"))]
    NotAKeySet { path: String, reason: String },
    #[error("`{0}` is not the login host of a Microsoft cloud")]
    #[strum(props(code = "authority_host_unknown"))]
    #[strum(props(fix = "give a login host such as https://login.microsoftonline.us"))]
    NoCloud(String),
    #[error("neither a tenant nor an issuer is given")]
    #[strum(props(code = "issuer_required", fix = "give --tenant, or --issuer with --algorithm"))]
    NoIssuer,
    #[error(
        "--require-scope is given without --callers, but Entra writes no scopes into the tokens of applications"
    )]
    #[strum(props(code = "callers_required"))]
    #[strum(props(
        fix = "add --callers users, or --callers any to accept applications too; for applications use --require-role instead of --require-scope"
    ))]
    NoCallers,
    #[error("`{0}` is not a supported signature algorithm")]
    #[strum(props(code = "invalid_algorithm"))]
    #[strum(props(
        fix = "give one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519"
    ))]
    Algorithm(String),
    #[error("`{0}` is not the name of a header")]
    #[strum(props(code = "invalid_header", fix = "give a name such as x-ssl-client-cert"))]
    HeaderName(String),
    #[error("--certificate-header-name cannot be used: {0}")]
    CertificateHeaderName(certbound_verifier::HeaderNameError),
    #[error("--serve needs --certificate-header and --trust-proxy")]
    #[strum(props(code = "trusted_proxy_required"))]
    #[strum(props(
        fix = "name the header in which the proxy sends the certificate, and the addresses of the proxy (127.0.0.1/32); a Unix socket needs no addresses"
    ))]
    NoProxy,
    #[error("this command does not support -o {format}")]
    #[strum(props(
        code = "output_format_unsupported",
        fix = "use -o json, or leave -o out and unset CERTBOUND_OUTPUT"
    ))]
    Format { format: &'static str },
    #[error(
        "{0} is not a loopback address: other machines on the network could request every token and use the proxy"
    )]
    #[strum(props(code = "listen_address_not_loopback"))]
    #[strum(props(
        fix = "listen on 127.0.0.1 or [::1], or add --listen-on-the-network-anyone-can-mint-tokens"
    ))]
    NotLoopback(SocketAddr),
    #[error("--imds-listen: {0}")]
    MetadataAddress(certbound_emulator::serve::MetadataAddressError),
    #[error("the server cannot listen on {address}: {reason}")]
    #[strum(props(code = "listen_failed", fix = "choose another address or port; port 0 takes a free port"))]
    Listen { address: String, reason: String },
    #[error("{reason}")]
    #[strum(props(code = "openssl_not_built_in"))]
    #[strum(props(
        fix = "install a build with `cargo install certbound-cli --features openssl`, or remove late_certificate from the world"
    ))]
    LateCertificate { reason: String },
    #[error("the server cannot listen on unix:{path}: {reason}")]
    #[strum(props(code = "listen_failed"))]
    #[strum(props(
        fix = "choose a path of at most 100 bytes in a directory that this user can write to; if a server already uses the path, stop this server"
    ))]
    ListenUnix { path: String, reason: String },
    #[error("systemd passed no unused socket for `{flag}`{left}")]
    #[strum(props(code = "socket_not_passed"))]
    #[strum(props(
        fix = "start the server by a .socket unit with ListenStream= (and FileDescriptorName= for systemd:NAME), or by systemd-socket-activate; otherwise give an address instead of systemd"
    ))]
    NotPassed { flag: String, left: String },
    #[error("every user may connect to {shown}, and each peer of this socket would count as the proxy")]
    #[strum(props(code = "socket_unusable"))]
    #[strum(props(
        fix = "leave out --socket-mode, or give a mode without access for other users, such as 660"
    ))]
    OpenSocket { shown: String },
    #[error("a socket that systemd passed cannot be used: {reason}")]
    #[strum(props(code = "socket_unusable"))]
    #[strum(props(
        fix = "correct the .socket unit: ListenStream= with a TCP address or a path, SocketMode=0660 and Accept=no"
    ))]
    Passed { reason: String },
    #[error("the certificates of trusted authorities cannot be read: {reason}")]
    #[strum(props(code = "trust_store_unusable"))]
    #[strum(props(
        fix = "correct SSL_CERT_FILE, or install the certificates of the system (ca-certificates)"
    ))]
    TrustStore { reason: String },
    #[error("--isolated needs the namespaces of Linux")]
    #[strum(props(code = "namespaces_unavailable", fix = "run without --isolated, or in a Linux container"))]
    NotLinux,
    #[error("`unshare` is not on PATH; isolated runs need it")]
    #[strum(props(code = "unshare_missing", fix = "install util-linux, or run without --isolated"))]
    NoUnshare,
    #[error("--platform arc needs --isolated: clients read the agent's files at a fixed path")]
    #[strum(props(code = "arc_needs_isolation", fix = "add --isolated (Linux)"))]
    ArcOutside,
    #[error("this machine does not allow users to create namespaces: {reason}")]
    #[strum(props(code = "namespaces_forbidden"))]
    #[strum(props(
        fix = "allow user namespaces with `sysctl -w` (set each of these that exists: user.max_user_namespaces=15000, kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0); in a container add `--security-opt seccomp=unconfined --cap-add SYS_ADMIN`; or run without --isolated"
    ))]
    NoNamespaces { reason: String },
    #[error("CERTBOUND_EMULATOR_INSIDE is set, but this process has no namespaces of its own: {reason}")]
    #[strum(props(code = "not_isolated"))]
    #[strum(props(fix = "unset CERTBOUND_EMULATOR_INSIDE, because the command sets this variable itself"))]
    NotInside { reason: String },
    #[error("{what} cannot be set up: {reason}")]
    #[strum(props(
        code = "isolation_failed",
        fix = "run without --isolated, and report this error as a bug of certbound"
    ))]
    Isolation { what: &'static str, reason: String },
    #[error("the state directory {path} cannot be used: {reason}")]
    #[strum(props(code = "state_directory_unusable"))]
    #[strum(props(
        fix = "name a directory that belongs to this user and that no other user can enter; a symbolic link is not accepted"
    ))]
    State { path: String, reason: String },
    #[error("{path} is not a usable world: {reason}")]
    #[strum(props(code = "world_unusable"))]
    #[strum(props(fix = "correct the listed entries; `certbound emulator world` prints a valid world"))]
    World { path: String, reason: String },
}

impl Usage {
    /// Returns the error for a socket that systemd did not pass. `left` has the names of the unused sockets.
    pub(crate) fn not_passed(flag: &impl std::fmt::Display, left: &[&str]) -> Self {
        let left = match left {
            [] => String::new(),
            left => format!("; the unused sockets are: {}", left.join(", ")),
        };
        Self::NotPassed { flag: flag.to_string(), left }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::CertificateHeaderName(error) => error.code(),
            Self::MetadataAddress(error) => error.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    pub(crate) fn fix(&self) -> &'static str {
        match self {
            Self::Conflict { one: "--managed-identity", .. } => {
                "leave one of the two out; a managed identity determines client, tenant and endpoint"
            }
            Self::CertificateHeaderName(error) => error.fix(),
            Self::MetadataAddress(error) => error.fix(),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }
}
