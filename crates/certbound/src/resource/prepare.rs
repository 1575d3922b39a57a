//! Functions that create a [`Resource`]: from a client, a managed identity or a token.

use std::sync::Arc;

use certbound_core::scope::ResourceScope;

use super::Resource;
use crate::client::Client;
use crate::credential::{Binds, Credential};
use crate::managed_identity::ManagedIdentity;
use crate::token::BoundToken;
use crate::transport::Network;

impl<C: Credential> Client<C> {
    /// Returns a resource for repeated calls. Each call uses a valid bound token for `scope` from the cache.
    pub fn resource(&self, scope: &ResourceScope) -> Resource
    where
        C: Binds,
    {
        Resource::new(Arc::new(self.issuer.clone()), Arc::clone(&self.background), scope.clone())
    }
}

impl ManagedIdentity {
    /// Returns a resource for repeated calls with bound tokens for `scope`.
    pub fn resource(&self, scope: &ResourceScope) -> Resource {
        Resource::new(Arc::new(self.platform.clone()), Arc::clone(&self.background), scope.clone())
    }
}

impl BoundToken {
    /// Returns a resource that is called with exactly this token, on connections of the client that acquired it.
    pub fn resource(&self) -> Resource {
        Resource::of_token(self.clone(), Arc::clone(self.connections()))
    }

    /// Does the same as [`BoundToken::resource`] with a different network configuration.
    pub fn resource_on(&self, network: &Network) -> Resource {
        Resource::of_token(self.clone(), Arc::new(network.transport()))
    }
}
