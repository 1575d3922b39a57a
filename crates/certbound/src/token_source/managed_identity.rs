//! Managed identities as a source of tokens.

use std::sync::Arc;

use certbound_core::scope::ResourceScope;

use super::{AnyClient, TokenSource, sealed};
use crate::acquire::Acquire;
use crate::managed_identity::ManagedIdentity;
use crate::resource::Resource;
use crate::token::{BearerToken, BoundToken};

impl ManagedIdentity {
    /// Returns a resource for repeated calls with bound tokens for `scope`.
    pub fn resource(&self, scope: &ResourceScope) -> Resource {
        Resource::new(Arc::new(self.platform.clone()), Arc::clone(&self.background), scope.clone())
    }
}

impl TokenSource for ManagedIdentity {
    fn bound_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BoundToken> {
        Acquire::new(&self.platform, scope)
    }

    fn bearer_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BearerToken> {
        Acquire::new(&self.platform, scope)
    }

    fn resource(&self, scope: &ResourceScope) -> Resource {
        ManagedIdentity::resource(self, scope)
    }
}

impl sealed::Sealed for ManagedIdentity {}

impl From<ManagedIdentity> for AnyClient {
    fn from(identity: ManagedIdentity) -> Self {
        let ManagedIdentity { platform, background } = identity;
        Self { issuer: Arc::new(platform), background, name: "ManagedIdentity" }
    }
}
