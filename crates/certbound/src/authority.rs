//! Authorities: the cloud, the tenant and the region from which tokens are requested.

pub use certbound_core::authority::instance::{InstanceError, InstanceMetadata};
pub use certbound_core::authority::{Authority, AuthorityKind, AuthorityUrlError};
pub use certbound_core::environment::{Cloud, NoExchangeAudience};
pub use certbound_core::region::{Region, RegionChoice, RegionError};
pub use certbound_core::tenant::{TenantError, TenantId};
