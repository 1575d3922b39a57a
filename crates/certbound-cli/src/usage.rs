//! Mistakes on the command line that only this program can name.

use std::net::SocketAddr;

/// What was wrong with the flags or with the files they name. Holds nothing of a file but its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Usage {
    #[error("no tenant is given, by --tenant or in the authority")]
    NoTenant,
    #[error("the authority names the tenant {authority}, and --tenant another: {flag}")]
    TwoTenants { authority: String, flag: String },
    #[error("`{0}` asks for the region to be detected, which is not done here")]
    RegionDetection(String),
    #[error("no certificate is given")]
    NoCertificate,
    #[error("neither a certificate for Leg 1 nor an assertion is given")]
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
    #[error("-o {format} is not a form of this result")]
    Format { format: &'static str },
    #[error(
        "{0} is not a loopback address: others on the network could have any token minted, and use the proxy"
    )]
    NotLoopback(SocketAddr),
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: SocketAddr, reason: String },
    #[error("the state directory {path} cannot be used: {reason}")]
    State { path: String, reason: String },
}

impl Usage {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoTenant => "tenant_required",
            Self::TwoTenants { .. } => "tenant_conflict",
            Self::RegionDetection(_) => "invalid_region",
            Self::NoCertificate => "certificate_required",
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
            Self::Format { .. } => "output_format_unsupported",
            Self::NotLoopback(_) => "listen_address_not_loopback",
            Self::Listen { .. } => "listen_failed",
            Self::State { .. } => "state_directory_unusable",
        }
    }

    pub(crate) fn fix(&self) -> &'static str {
        match self {
            Self::NoTenant => "give --tenant or set AZURE_TENANT_ID",
            Self::TwoTenants { .. } => "name the tenant in one of the two places",
            Self::RegionDetection(_) => {
                "name the region, such as westus3, or leave it out to use the global endpoint"
            }
            Self::NoCertificate => "give --certificate or set AZURE_CLIENT_CERTIFICATE_PATH",
            Self::NoLeg1 => "give --leg1-certificate, or --assertion-file with --certificate",
            Self::AssertionWithoutCertificate => "give --certificate with the file that Leg 1 ran with",
            Self::Leg1Unused { .. } => "leave it out, or run Leg 1 with --leg1-certificate",
            Self::NoPassword(_) => "set it, or leave --certificate-password-env out",
            Self::Unreadable { .. } => "check the path and that this user may read it",
            Self::NoScope { .. } => "give --scope {resource}/.default",
            Self::Url(_) => "give a URL that begins with https:// and holds no user name or fragment",
            Self::Method(_) => "give a method such as GET or POST",
            Self::Header => "write it as `Name: value`, in printable characters",
            Self::HeaderOurs(_) => "leave it out; it follows from the token, the URL and the body",
            Self::Format { .. } => "use -o json or -o table",
            Self::NotLoopback(_) => {
                "listen on 127.0.0.1 or [::1], or add --listen-on-the-network-anyone-can-mint-tokens"
            }
            Self::Listen { .. } => "choose another address or port; port 0 takes a free one",
            Self::State { .. } => "name a directory that this user owns and nobody else can enter",
        }
    }
}
