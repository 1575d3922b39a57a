//! Flags of `inspect` and `verify`.

use std::path::PathBuf;

use certbound_verifier::IpNet;
use clap::{Args, ValueEnum};

use super::listen::{ListenFlag, ServerFlags};
use super::switch;

#[derive(Args, Debug)]
pub(crate) struct InspectFlags {
    /// The token; `-` reads stdin.
    ///
    /// Other users of the machine can see arguments, so prefer stdin.
    pub(crate) token: Option<String>,
    /// The certificate (PEM or DER) to compare.
    ///
    /// The binding of the token is compared with this certificate. A key in the file is ignored. A PKCS#11 URI names a
    /// certificate in a token.
    #[arg(long, value_name = "FILE", env = "AZURE_CLIENT_CERTIFICATE_PATH")]
    pub(crate) certificate: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyFlags {
    /// The token; `-` reads stdin.
    ///
    /// Other users of the machine can see arguments, so prefer stdin.
    pub(crate) token: Option<String>,
    /// Accept tokens of this Entra tenant.
    ///
    /// The value is the id of the tenant. The flag may be repeated.
    #[arg(long, value_name = "TENANT", env = "AZURE_TENANT_ID", help_heading = "Issuer")]
    pub(crate) tenant: Vec<String>,
    /// The cloud of the tenants, by its login host. Default: the public cloud.
    #[arg(
        long,
        value_name = "URL",
        env = "AZURE_AUTHORITY_HOST",
        help_heading = "Issuer",
        hide_short_help = true
    )]
    pub(crate) authority: Option<String>,
    /// Accept tokens of this OpenID issuer.
    ///
    /// The value must be equal to `iss` in the token.
    #[arg(
        long,
        value_name = "URL",
        env = "CERTBOUND_ISSUER",
        requires = "algorithm",
        help_heading = "Issuer"
    )]
    pub(crate) issuer: Option<String>,
    /// A signature algorithm of --issuer.
    ///
    /// The flag may be repeated. The value is RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA or
    /// Ed25519.
    #[arg(long, env = "CERTBOUND_ALGORITHM", help_heading = "Issuer")]
    pub(crate) algorithm: Vec<String>,
    /// The host of --issuer's keys, if it differs from the issuer's host.
    ///
    /// A host without a port allows every port of the host.
    #[arg(
        long,
        value_name = "HOST",
        env = "CERTBOUND_KEYS_HOST",
        help_heading = "Issuer",
        hide_short_help = true
    )]
    pub(crate) keys_host: Option<String>,
    /// Read the issuer's keys from this JSON Web Key Set instead of fetching them.
    ///
    /// The keys belong to one issuer, so --tenant and --issuer cannot both be given.
    #[arg(
        long,
        value_name = "FILE",
        env = "CERTBOUND_KEYS",
        help_heading = "Issuer",
        hide_short_help = true
    )]
    pub(crate) keys: Option<PathBuf>,
    /// Accept tokens for this audience.
    ///
    /// The value must be equal to `aud` in the token. The flag may be repeated. If a token has several audiences, each
    /// of them must be given.
    #[arg(long, required = true, env = "CERTBOUND_AUDIENCE", help_heading = "Audience and caller")]
    pub(crate) audience: Vec<String>,
    /// Accept tokens that also have other audiences. The resources of those audiences can use these tokens here.
    #[arg(
        long,
        env = "CERTBOUND_ACCEPT_SEVERAL_AUDIENCES",
        value_parser = switch(),
        help_heading = "Audience and caller",
        hide_short_help = true
    )]
    pub(crate) accept_several_audiences: bool,
    /// The kind of caller to accept. Default: applications.
    #[arg(
        long,
        value_enum,
        env = "CERTBOUND_CALLERS",
        help_heading = "Audience and caller",
        hide_short_help = true
    )]
    pub(crate) callers: Option<CallersFlag>,
    /// Require this application role.
    ///
    /// If the flag is repeated, one of the roles is enough. If --require-scope is given too, one of its scopes is also
    /// enough.
    #[arg(long, value_name = "ROLE", env = "CERTBOUND_REQUIRE_ROLE", help_heading = "Audience and caller")]
    pub(crate) require_role: Vec<String>,
    /// Require this scope.
    ///
    /// If the flag is repeated, one of the scopes is enough. If --require-role is given too, one of its roles is also
    /// enough. At Entra only tokens of users have scopes, so --callers is needed.
    #[arg(long, value_name = "SCOPE", env = "CERTBOUND_REQUIRE_SCOPE", help_heading = "Audience and caller")]
    pub(crate) require_scope: Vec<String>,
    /// Accept only the client with this id.
    ///
    /// The flag may be repeated. The id must be equal to the id in the token. At Entra the case of letters does not
    /// matter, because ids are GUIDs.
    #[arg(
        long,
        value_name = "CLIENT_ID",
        env = "CERTBOUND_ALLOW_CLIENT",
        help_heading = "Audience and caller"
    )]
    pub(crate) allow_client: Vec<String>,
    /// The claim with the client's id in tokens of --issuer.
    ///
    /// Default: client_id, azp or cid. If a token has several of these claims, they must be equal.
    #[arg(
        long,
        value_name = "NAME",
        env = "CERTBOUND_CLIENT_CLAIM",
        requires = "issuer",
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
        help_heading = "Issuer",
        hide_short_help = true
    )]
    pub(crate) client_claim: Option<String>,
    /// Accept every application that gets a token for the audience.
    ///
    /// In Entra every application of the tenant can get a token for the audience, unless the resource requires
    /// assignment.
    #[arg(
        long,
        env = "CERTBOUND_DANGEROUS_ANY_CALLER",
        value_parser = switch(),
        help_heading = "Audience and caller",
        hide_short_help = true
    )]
    pub(crate) dangerous_any_caller: bool,
    /// The binding that a token must have.
    #[arg(long, value_enum, env = "CERTBOUND_BINDING", default_value = "required", help_heading = "Request")]
    pub(crate) binding: BindingFlag,
    /// The accepted difference between clocks.
    #[arg(
        long,
        value_name = "SECONDS",
        env = "CERTBOUND_LEEWAY",
        default_value = "60",
        help_heading = "Request",
        hide_short_help = true
    )]
    pub(crate) leeway: u64,
    /// Refuse tokens that were issued longer ago than this time.
    #[arg(
        long,
        value_name = "SECONDS",
        env = "CERTBOUND_MAX_AGE",
        help_heading = "Request",
        hide_short_help = true
    )]
    pub(crate) max_age: Option<u64>,
    /// The client certificate (PEM or DER).
    ///
    /// It is the certificate of the connection on which the token was sent. Default: no certificate. A key in the file
    /// is ignored.
    #[arg(long, value_name = "FILE", env = "AZURE_CLIENT_CERTIFICATE_PATH", help_heading = "Request")]
    pub(crate) certificate: Option<PathBuf>,
    /// The scheme of the request.
    #[arg(
        long,
        value_enum,
        env = "CERTBOUND_SCHEME",
        default_value = "mtls_pop",
        help_heading = "Request",
        hide_short_help = true
    )]
    pub(crate) scheme: SchemeFlag,
    /// Answer requests of a proxy here.
    ///
    /// The value is ADDRESS:PORT, or unix:PATH for a Unix socket. Port 0 takes a free port.
    ///
    /// `systemd` takes the first socket that systemd passed and that no flag names. `systemd:NAME` takes the socket
    /// with this FileDescriptorName=. After SIGHUP the server reads again the files that the flags name. SIGTERM and
    /// SIGINT stop the server after the responses in progress.
    #[arg(
        long,
        value_name = "SOCKET",
        env = "CERTBOUND_VERIFY_SERVE",
        conflicts_with = "token",
        help_heading = "Server"
    )]
    pub(crate) serve: Option<ListenFlag>,
    /// The form of the header with the certificate.
    ///
    /// The proxy sends the client certificate in this header.
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        env = "CERTBOUND_CERTIFICATE_HEADER",
        requires = "serve",
        conflicts_with = "token",
        help_heading = "Server"
    )]
    pub(crate) certificate_header: Option<ProxyFlag>,
    /// The name of the certificate header, if it differs from the usual name of the form. The form envoy does not allow
    /// this flag.
    #[arg(
        long,
        value_name = "NAME",
        env = "CERTBOUND_CERTIFICATE_HEADER_NAME",
        requires = "certificate_header",
        help_heading = "Server",
        hide_short_help = true
    )]
    pub(crate) certificate_header_name: Option<String>,
    /// The addresses of the proxy.
    ///
    /// An example is 127.0.0.1/32. The flag may be repeated. A request from a different address is refused if it has
    /// the certificate header. A Unix socket needs no address: every process that may connect to the socket counts as
    /// the proxy.
    #[arg(
        long,
        value_name = "CIDR",
        env = "CERTBOUND_TRUST_PROXY",
        requires = "serve",
        conflicts_with = "token",
        help_heading = "Server"
    )]
    pub(crate) trust_proxy: Vec<IpNet>,
    /// Remember this number of accepted tokens with their certificates (with --serve).
    #[arg(
        long,
        value_name = "COUNT",
        env = "CERTBOUND_REMEMBER",
        default_value = "0",
        help_heading = "Server",
        hide_short_help = true
    )]
    pub(crate) remember: u64,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// The binding that a token must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BindingFlag {
    /// A token must be bound and must be sent under mtls_pop.
    Required,
    /// Unbound tokens are accepted too, under Bearer.
    WhenBound,
    /// A token must be bound and may be sent under Bearer.
    Rfc8705,
    /// Unbound tokens are accepted under Bearer, and bound tokens may be sent under Bearer.
    Rfc8705WhenBound,
}

impl BindingFlag {
    pub(crate) fn accepts_unbound(self) -> bool {
        matches!(self, Self::WhenBound | Self::Rfc8705WhenBound)
    }
}

/// The accepted kinds of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CallersFlag {
    /// Applications that act for themselves.
    Applications,
    /// Applications that act for a user.
    Users,
    /// Both kinds, and tokens that do not show the kind of their caller.
    Any,
}

/// The scheme under which a token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemeFlag {
    /// Microsoft's scheme for bound tokens.
    #[value(name = "mtls_pop")]
    MtlsPop,
    /// The scheme of RFC 6750.
    Bearer,
}

/// The form in which the proxy writes the client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProxyFlag {
    /// Client-Cert: a structured byte sequence (RFC 9440; HAProxy).
    Rfc9440,
    /// X-Forwarded-Client-Cert: one element with the key Cert; the only other keys are By and Hash.
    Envoy,
    /// X-SSL-Client-Cert: the PEM, URL-encoded (nginx) or with spaces instead of line ends (Apache).
    Nginx,
    /// X-ARR-ClientCert: the DER in base64 (App Service; under other names YARP, Caddy, HAProxy).
    AppService,
}
