//! A Bearer token for an identity of the machine.

use serde_json::Value;

use super::{Platform, Rejection, reject};
use crate::fault::FaultResult;
use crate::issue::{self, Grant, MachineClaims, Proof};
use crate::world::{ManagedIdentity, Resource, Tenant, is_exchange_elsewhere, is_only_elsewhere};

impl Platform<'_> {
    /// Returns the token in the form of a token service's answer. Each platform changes this form.
    pub(super) fn plain_token(
        &self,
        identity: &ManagedIdentity,
        resource: &str,
        capabilities: Vec<String>,
    ) -> Result<Value, Rejection> {
        let gone = || reject(400, "invalid_request", "Identity not found");
        let application = self.world.application(&identity.client_id).ok_or_else(gone)?;
        if !application.enabled {
            let text = format!("AADSTS7000112: Application '{}' is disabled.", application.id);
            return Err(reject(400, "unauthorized_client", text));
        }
        let tenant: &Tenant = self.world.tenant(&application.home_tenant).ok_or_else(gone)?;
        let principal = application.principals.get(&tenant.id).ok_or_else(gone)?;
        let audience = resource.strip_suffix('/').unwrap_or(resource);
        let found: Option<&Resource> =
            self.world.resources.iter().find(|known| known.uris.iter().any(|uri| uri == audience));
        let cloud = self.world.machine.cloud;
        let found = found.filter(|_| !is_only_elsewhere(cloud, audience)).ok_or_else(|| {
            if is_exchange_elsewhere(cloud, audience) {
                let text = format!(
                    "AADSTS7002206: The audience '{resource}' belongs to the token exchange of another cloud."
                );
                return reject(400, "invalid_client", text);
            }
            let text =
                format!("AADSTS500011: The resource principal named {resource} was not found in the tenant.");
            reject(400, "invalid_resource", text)
        })?;
        let lifetime = self.world.lifetime(true);
        let grant = Grant {
            tenant,
            application,
            principal,
            resource: found,
            audience: resource.to_owned(),
            proof: Proof::Certificate,
            machine: Some(MachineClaims::of(self.world, identity)),
            bound_to: None,
            capabilities,
            cloud,
            lifetime,
            suggests_refresh: self.world.suggests_refresh(lifetime),
        };
        let key = self.keys.current();
        let alteration = self.fault.and_then(FaultResult::alteration);
        let answer = key.and_then(|key| issue::answer(&grant, &key, self.now, alteration));
        answer.ok_or_else(|| reject(500, "server_error", "The token could not be signed."))
    }
}
