//! The target of a failed request.

use certbound_core::endpoint::TokenEndpoint;
use certbound_core::region::Region;
use certbound_core::tenant::TenantId;

/// The endpoint that was asked, and the tenant and region of the request. A client with several clouds, tenants or
/// regions needs them to tell its errors apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestTarget {
    /// The URL of the endpoint, without a query.
    pub endpoint: String,
    /// The tenant. `None` for AD FS, for OpenID issuers, and for requests about the authority itself.
    pub tenant: Option<TenantId>,
    /// The region. `None` for a global endpoint.
    pub region: Option<Region>,
}

impl From<&TokenEndpoint> for RequestTarget {
    fn from(endpoint: &TokenEndpoint) -> Self {
        Self {
            endpoint: endpoint.url().to_owned(),
            tenant: endpoint.tenant().cloned(),
            region: endpoint.region().cloned(),
        }
    }
}
