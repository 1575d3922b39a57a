//! The authority: a host and a tenant, in one flag or in two.

use certbound::credential::NoCredential;
use certbound::region::RegionDetector;
use certbound::{Authority, Client, ClientBuilder, ResourceScope, TenantId, Transport};
use http::Uri;

use super::{Reach, region, scope_for_host};
use crate::failure::Failure;
use crate::flags::IdentityFlags;
use crate::usage::Usage;

/// Returns a client builder for this authority, without a credential and with its own cache.
pub(super) fn builder<T: Transport + Clone>(
    flags: &IdentityFlags,
    authority: Authority,
    app: &str,
    reach: &Reach<T>,
) -> ClientBuilder<NoCredential> {
    let builder = Client::builder(authority, app)
        .with_transport(reach.transport())
        .with_region_detector(RegionDetector::of_process())
        .with_retry_policy(reach.retries);
    let builder = match flags.global_if_region_unreachable {
        true => builder.global_if_region_unreachable(),
        false => builder,
    };
    let builder = if reach.sees_bindings { builder.require_observed_binding() } else { builder };
    if flags.no_authority_validation { builder.without_authority_validation() } else { builder }
}

/// Parses the scope as the kind of authority requires it: `{resource}/.default`, or any scope of an issuer.
pub(crate) fn scope(flags: &IdentityFlags, text: &str) -> Result<ResourceScope, Failure> {
    Ok(match flags.issuer {
        Some(_) => ResourceScope::of_other_authority(text)?,
        None => ResourceScope::parse(text)?,
    })
}

/// Returns the scope that was given, or else the usual scope of the resource's host.
pub(crate) fn scope_or_usual(
    flags: &IdentityFlags,
    given: Option<&str>,
    resource: Option<&Uri>,
) -> Result<ResourceScope, Failure> {
    match (given, resource.and_then(Uri::host)) {
        (Some(text), _) => scope(flags, text),
        (None, Some(host)) => {
            scope_for_host(host).ok_or_else(|| Usage::NoScope { host: host.to_owned() }.into())
        }
        (None, None) => Err(Usage::NeitherScopeNorResource.into()),
    }
}

/// Returns the authority of the client: host, tenant and region, or an OpenID issuer.
pub(crate) fn authority(flags: &IdentityFlags) -> Result<Authority, Failure> {
    if let Some(issuer) = &flags.issuer {
        return Ok(Authority::oidc(issuer)?);
    }
    let tenant = flags.tenant.as_deref().map(TenantId::parse).transpose()?;
    let authority = match (&flags.authority, tenant) {
        (None, None) => return Err(Usage::NoTenant.into()),
        (None, Some(tenant)) => Authority::public(tenant),
        (Some(url), tenant) => at_host(url, tenant)?,
    };
    Ok(authority.with_region(region(flags.region.as_deref())?))
}

/// Returns the authority at `url`, which is a host, a URL without a tenant, or a whole authority.
fn at_host(url: &str, tenant: Option<TenantId>) -> Result<Authority, Failure> {
    let url = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    let names_tenant = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .is_some_and(|(_, path)| !path.is_empty());
    match (names_tenant, tenant) {
        (false, Some(tenant)) => Ok(Authority::parse(&format!("{}/{tenant}", url.trim_end_matches('/')))?),
        (false, None) => match Authority::parse(&url) {
            Err(certbound::authority::AuthorityUrlError::PathRequired { .. }) => Err(Usage::NoTenant.into()),
            other => Ok(other?),
        },
        (true, tenant) => {
            let authority = Authority::parse(&url)?;
            match tenant {
                Some(flag) => match authority.tenant() {
                    Some(tenant) if *tenant == flag => Ok(authority),
                    Some(tenant) => {
                        let authority = tenant.to_string();
                        Err(Usage::TwoTenants { authority, flag: flag.to_string() }.into())
                    }
                    None => Err(Usage::NoTenantToChoose { kind: authority.kind() }.into()),
                },
                None => Ok(authority),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(authority: &str, tenant: Option<&str>) -> Result<String, String> {
        let tenant = tenant.map(|tenant| TenantId::parse(tenant).unwrap());
        at_host(authority, tenant).map(|authority| authority.url()).map_err(|failure| failure.code)
    }

    #[test]
    fn the_authority_is_a_host_a_url_or_the_whole() {
        let whole = Ok("https://login.microsoftonline.us/contoso.com/".to_owned());
        for host in [
            "login.microsoftonline.us",
            "https://login.microsoftonline.us",
            "https://login.microsoftonline.us/",
        ] {
            assert_eq!(url(host, Some("contoso.com")), whole, "{host}");
            assert_eq!(url(host, None), Err("tenant_required".to_owned()), "{host}");
        }
        assert_eq!(url("https://login.microsoftonline.us/contoso.com", None), whole);
        assert_eq!(url("https://login.microsoftonline.us/contoso.com", Some("contoso.com")), whole);
        assert_eq!(
            url("https://login.microsoftonline.us/contoso.com", Some("b.com")),
            Err("tenant_conflict".to_owned())
        );
        assert_eq!(
            url("http://login.microsoftonline.us", Some("b.com")),
            Err("authority_not_https".to_owned())
        );
        assert_eq!(
            url("https://login.microsoftonline.us/common", None),
            Err("missing_tenanted_authority".to_owned())
        );
    }
}
