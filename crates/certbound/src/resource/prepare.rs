//! The ways to a [`Resource`]: from a client, from a managed identity, and from one token.

use std::sync::Arc;

use certbound_core::scope::ResourceScope;

use super::Resource;
use crate::client::Client;
use crate::credential::{Binds, Credential};
use crate::managed_identity::ManagedIdentity;
use crate::token::BoundToken;
use crate::transport::Network;

impl<C: Credential> Client<C> {
    /// A resource prepared for repeated calls: each call takes a live bound token for `scope` from the cache.
    pub fn resource(&self, scope: &ResourceScope) -> Resource
    where
        C: Binds,
    {
        Resource::new(Arc::new(self.issuer.clone()), Arc::clone(&self.background), scope.clone())
    }
}

impl ManagedIdentity {
    /// A resource prepared for repeated calls with bound tokens.
    pub fn resource(&self, scope: &ResourceScope) -> Resource {
        Resource::new(Arc::new(self.platform.clone()), Arc::clone(&self.background), scope.clone())
    }
}

impl BoundToken {
    /// Calls a resource with exactly this token, over the connections of the client that acquired it.
    pub fn resource(&self) -> Resource {
        Resource::of_token(self.clone(), Arc::clone(self.connections()))
    }

    /// As [`BoundToken::resource`], over another network configuration.
    pub fn resource_on(&self, network: &Network) -> Resource {
        Resource::of_token(self.clone(), Arc::new(network.transport()))
    }
}
