//! Functions that create a [`Resource`]: from a client or a token.

use std::sync::Arc;

use certbound_core::scope::ResourceScope;

use super::Resource;
use crate::client::Client;
use crate::credential::{Binds, Credential};
use crate::token::BoundToken;

impl<C: Credential> Client<C> {
    /// Returns a resource for repeated calls. Each call uses a valid bound token for `scope`, from the cache if
    /// possible.
    pub fn resource(&self, scope: &ResourceScope) -> Resource
    where
        C: Binds,
    {
        Resource::new(Arc::new(self.issuer.clone()), Arc::clone(&self.background), scope.clone())
    }
}

impl BoundToken {
    /// Returns a resource for calls with exactly this token, on connections of the client that acquired it.
    pub fn resource(&self) -> Resource {
        Resource::of_token(self.clone(), Arc::clone(self.connections()))
    }

    /// Does the same as [`BoundToken::resource`] with a different network configuration. The cargo feature
    /// `hyper-rustls` adds this function.
    #[cfg(feature = "hyper-rustls")]
    pub fn resource_on(&self, network: &crate::transport::Network) -> Resource {
        Resource::of_token(self.clone(), Arc::new(network.transport()))
    }
}
