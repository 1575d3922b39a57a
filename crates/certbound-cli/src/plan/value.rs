//! Checks single values without the command that uses them.

use std::path::Path;

use certbound::authority::RegionChoice;
use certbound::managed_identity::IdentityId;
use certbound::{Authority, Client, ResourceScope, Secret, TenantId};

use super::NeverTransport;
use super::authority::authority;
use super::hardware::MachineKeys;
use crate::failure::Failure;
use crate::flags::IdentityFlags;
use crate::usage::Usage;
use crate::{token_uri, tpm};

/// Checks a value of the flag `key` in the same way as the commands of this flag. The function accepts every value of a
/// flag that it does not know.
pub(crate) fn check_value(key: &str, value: &str, with_issuer: bool) -> Result<(), Failure> {
    match key {
        "tenant" | "leg1-tenant" => TenantId::parse(value).map(drop)?,
        "region" => RegionChoice::parse(value).map(drop)?,
        "issuer" => Authority::oidc(value).map(drop)?,
        "managed-identity" | "leg1-managed-identity" => value.parse::<IdentityId>().map(drop)?,
        "certificate" | "certificate-key" | "leg1-certificate" | "leg1-certificate-key"
            if token_uri::text(Path::new(value)).is_some() =>
        {
            match (token_uri::is_tpm(value), key.ends_with("-key")) {
                (true, true) => tpm::check_key(value)?,
                (true, false) => return Err(Usage::TpmHasNoCertificate.into()),
                (false, _) => token_uri::parse(value).map(drop)?,
            }
        }
        "machine-keys" => match MachineKeys::parse(value)? {
            MachineKeys::Tpm(name) => tpm::check(&name)?,
            MachineKeys::Token(_) | MachineKeys::Software => {}
        },
        "scope" if with_issuer => ResourceScope::of_other_authority(value).map(drop)?,
        "scope" => ResourceScope::parse(value).map(drop)?,
        _ => {}
    }
    Ok(())
}

/// Checks the authority, and the application's id in this authority. A missing tenant is not an error, because the
/// command line can give the tenant.
pub(crate) fn check_application(flags: &IdentityFlags) -> Result<(), Failure> {
    let any = || Some("00000000-0000-4000-8000-000000000000".to_owned());
    let with_tenant = |tenant| IdentityFlags { tenant, ..flags.clone() };
    let found = match authority(flags) {
        Err(failure) if failure.code == "tenant_required" => authority(&with_tenant(any())),
        other => other,
    }?;
    if let Some(id) = &flags.client_id {
        let builder = Client::builder(found, id.as_str()).with_transport(NeverTransport);
        builder.with_secret(Secret::new("never sent")).build()?;
    }
    Ok(())
}
