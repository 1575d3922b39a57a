//! Builds a verifier from the flags.

use std::time::Duration;

use certbound_verifier::{
    Algorithm, BindingPolicy, Callers, Cloud, Issuer, KeySet, TenantId, TrustedProxy, Verifier,
    VerifierBuilder,
};
use http::HeaderName;

use crate::commands::inspect::bounded;
use crate::failure::Failure;
use crate::flags::{BindingFlag, CallersFlag, ProxyFlag, VerifyFlags};
use crate::usage::Usage;

/// Returns the settings of the verifier, and the keys if a file contains them.
pub(super) fn builder(flags: &VerifyFlags) -> Result<(VerifierBuilder, Option<KeySet>), Failure> {
    let issuers = issuers(flags)?;
    // A key without an issuer would otherwise sign tokens of both issuers.
    if flags.keys.is_some() && issuers.len() > 1 {
        return Err(Usage::KeysOfTwoIssuers.into());
    }
    let mut builder = Verifier::builder();
    let mut fixed = None;
    for issuer in issuers {
        builder = match &flags.keys {
            None => builder.issuer(issuer),
            Some(path) => {
                let document = bounded(path)?;
                let keys = KeySet::of_jwks(&issuer, &document).map_err(|error| Usage::NotAKeySet {
                    path: path.display().to_string(),
                    reason: error.to_string(),
                })?;
                fixed = Some(fixed.unwrap_or_else(KeySet::new).and(keys.clone()));
                builder.issuer_with_keys(issuer, keys)
            }
        };
    }
    for audience in &flags.audience {
        builder = builder.audience(audience);
    }
    if flags.accept_several_audiences {
        builder = builder.accept_several_audiences();
    }
    builder = builder.any_role(&flags.require_role).any_scope(&flags.require_scope).callers(callers(flags)?);
    if !flags.allow_client.is_empty() {
        builder = builder.only_clients(&flags.allow_client);
    }
    if flags.dangerous_any_caller {
        builder = builder.dangerous_any_caller();
    }
    if let Some(age) = flags.max_age {
        builder = builder.max_age(Duration::from_secs(age));
    }
    let binding = match flags.binding {
        BindingFlag::Required => BindingPolicy::Required,
        BindingFlag::WhenBound => BindingPolicy::WhenBound,
        BindingFlag::Rfc8705 => BindingPolicy::Rfc8705,
        BindingFlag::Rfc8705WhenBound => BindingPolicy::Rfc8705WhenBound,
    };
    let builder = builder.binding(binding).leeway(Duration::from_secs(flags.leeway)).remember(flags.remember);
    Ok((builder, fixed))
}

/// Returns the accepted kinds of callers. The default is applications. In Entra only tokens of users have scopes, so
/// --require-scope needs --callers.
fn callers(flags: &VerifyFlags) -> Result<Callers, Usage> {
    match flags.callers {
        Some(CallersFlag::Applications) => Ok(Callers::Applications),
        Some(CallersFlag::Users) => Ok(Callers::Users),
        Some(CallersFlag::Any) => Ok(Callers::Any),
        None if !flags.tenant.is_empty() && !flags.require_scope.is_empty() => Err(Usage::NoCallers),
        None => Ok(Callers::Applications),
    }
}

fn issuers(flags: &VerifyFlags) -> Result<Vec<Issuer>, Failure> {
    let mut issuers = Vec::new();
    if !flags.tenant.is_empty() {
        let tenants = flags.tenant.iter().map(|tenant| TenantId::parse(tenant));
        let tenants = tenants.collect::<Result<Vec<_>, _>>()?;
        issuers.push(Issuer::entra(cloud(flags.authority.as_deref())?, tenants)?);
    }
    if let Some(url) = &flags.issuer {
        let algorithms = flags.algorithm.iter().map(|name| algorithm(name)).collect::<Result<Vec<_>, _>>()?;
        let mut issuer = Issuer::oidc(url, algorithms)?;
        if let Some(host) = &flags.keys_host {
            issuer = issuer.with_keys_at_host(host)?;
        }
        if let Some(name) = &flags.client_claim {
            issuer = issuer.with_client_claim(name.as_str())?;
        }
        issuers.push(issuer);
    }
    if issuers.is_empty() { Err(Usage::NoIssuer.into()) } else { Ok(issuers) }
}

/// Returns the cloud of the login host; a tenant after the host is ignored.
fn cloud(authority: Option<&str>) -> Result<Cloud, Usage> {
    let Some(url) = authority else { return Ok(Cloud::Public) };
    let host = url.strip_prefix("https://").unwrap_or(url).split('/').next();
    host.and_then(Cloud::of_host).ok_or_else(|| Usage::NoCloud(url.escape_debug().take(64).collect()))
}

fn algorithm(name: &str) -> Result<Algorithm, Usage> {
    Algorithm::by_name(name).ok_or_else(|| Usage::Algorithm(name.escape_debug().take(32).collect()))
}

/// Returns the proxy whose certificate header is trusted. Every peer of a Unix socket counts as the proxy.
pub(super) fn proxy(flags: &VerifyFlags, on_unix_socket: bool) -> Result<TrustedProxy, Usage> {
    let sources = flags.trust_proxy.iter().copied();
    let has_sources = on_unix_socket || !flags.trust_proxy.is_empty();
    let form = flags.certificate_header.filter(|_| has_sources).ok_or(Usage::NoProxy)?;
    let proxy = match form {
        ProxyFlag::Rfc9440 => TrustedProxy::rfc9440(sources),
        ProxyFlag::Envoy => TrustedProxy::envoy(sources),
        ProxyFlag::Nginx => TrustedProxy::nginx(sources),
        ProxyFlag::AppService => TrustedProxy::app_service(sources),
    };
    let proxy = if on_unix_socket { proxy.or_unix_sockets() } else { proxy };
    let Some(name) = &flags.certificate_header_name else { return Ok(proxy) };
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let name = parsed.map_err(|_| Usage::HeaderName(name.escape_debug().take(64).collect()))?;
    proxy.with_header_name(name).map_err(Usage::CertificateHeaderName)
}
