//! The authority of one acquisition: the client's own authority, or a compatible authority in the options.

use certbound_core::authority::{Authority, AuthorityKind};
use certbound_core::endpoint::EndpointError;
use certbound_core::environment::same_environment;
use certbound_core::region::RegionChoice;

use super::client_core::ClientCore;
use super::options::Options;
use super::token_service::TokenService;
use crate::acquire::discovery::DiscoveryRequest;
use crate::acquire::issuer::Issuer as _;
use crate::correlation::CorrelationId;
use crate::error::{Error, Misuse};

impl TokenService {
    /// Returns the authority with the results of discovery. The function sends no token request.
    ///
    /// `check` refuses an authority before any request is sent.
    pub(super) async fn authority(
        &self,
        options: &Options,
        correlation_id: CorrelationId,
        check: impl Fn(&Authority) -> Result<(), EndpointError> + Send,
    ) -> Result<Authority, Error> {
        let core = &*self.client;
        let discovery = DiscoveryRequest { context: &core.context, leg: self.leg(), correlation_id };
        let authority = match &options.authority {
            None => core.authority.clone(),
            Some(other) => overriding(core, other).map_err(|misuse| self.misuse(misuse))?,
        };
        let authority = match &options.extras.tenant {
            None => authority,
            Some(tenant) => {
                let kind = authority.kind();
                let other = authority.for_tenant(tenant.clone());
                other.ok_or_else(|| self.misuse(Misuse::NoTenantToChoose { kind }))?
            }
        };
        check(&authority).map_err(|error| self.misuse(error))?;
        self.check_host(&authority, discovery).await?;
        core.discovery.resolve(authority, core.validates_authority, discovery).await
    }

    /// Checks that the host of `other` may be used instead of the configured host. For Entra it must be an alias of the
    /// configured host, with the same port. For CIAM and OpenID issuers every host is accepted; for the other kinds
    /// only the configured host is accepted.
    async fn check_host(&self, other: &Authority, discovery: DiscoveryRequest<'_>) -> Result<(), Error> {
        let configured = &self.client.authority;
        if configured.host_and_port() == other.host_and_port() {
            return Ok(());
        }
        let kind = other.kind();
        let (ours, theirs) = (configured.host_and_port(), other.host_and_port());
        let mismatch = Misuse::AuthorityHost { kind, configured: ours, asked: theirs };
        match kind {
            AuthorityKind::Ciam | AuthorityKind::Oidc => Ok(()),
            AuthorityKind::Entra if configured.port() == other.port() => {
                if self.are_aliases(configured, other, discovery).await? {
                    Ok(())
                } else {
                    Err(self.misuse(mismatch))
                }
            }
            _ => Err(self.misuse(mismatch)),
        }
    }

    async fn are_aliases(
        &self,
        configured: &Authority,
        other: &Authority,
        discovery: DiscoveryRequest<'_>,
    ) -> Result<bool, Error> {
        let core = &*self.client;
        if let Some(metadata) = &core.instance_metadata {
            return Ok(metadata.of_host(configured.host()) == metadata.of_host(other.host()));
        }
        if same_environment(configured.host(), other.host()) {
            return Ok(true);
        }
        // A known host has aliases only in its own known environment. Two unknown hosts can still be aliases of each
        // other.
        if configured.cloud_if_known().is_some()
            || other.cloud_if_known().is_some()
            || !core.validates_authority
        {
            return Ok(false);
        }
        let environment = core.discovery.environment_of(configured, discovery).await?;
        let host = other.host();
        Ok(environment.is_some_and(|it| it.aliases().iter().any(|alias| alias == host)))
    }
}

/// Returns the requested authority. An authority without a region gets the client's region, and an Entra authority gets
/// the client's own instance metadata. The function sends no request.
pub(super) fn overriding(core: &ClientCore, other: &Authority) -> Result<Authority, Misuse> {
    let (configured, asked) = (core.authority.kind(), other.kind());
    if configured != asked {
        return Err(Misuse::AuthorityType { configured, asked });
    }
    let (ours, theirs) = (core.authority.host_and_port(), other.host_and_port());
    if asked == AuthorityKind::Entra
        && *core.authority.region_choice() != RegionChoice::Global
        && ours != theirs
    {
        return Err(Misuse::AuthorityOverrideRegional { configured: ours, asked: theirs });
    }
    let other = match other.region_choice() {
        RegionChoice::Global => other.clone().with_region(core.authority.region_choice().clone()),
        RegionChoice::Fixed(_) | RegionChoice::Detect => other.clone(),
    };
    match &core.instance_metadata {
        Some(metadata) if asked == AuthorityKind::Entra => Ok(other.with_instance_metadata(metadata)?),
        _ => Ok(other),
    }
}
