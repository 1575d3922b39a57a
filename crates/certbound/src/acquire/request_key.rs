//! The facts that must be equal in two token requests of one client with a common `Retry-After`.

use certbound_core::certificate::Thumbprint;

use crate::cache::Kind;
use crate::cache::key::Extras;

/// The facts of a token request. The `Retry-After` of a response applies to requests with equal facts. The key does not
/// contain the client or its credential, because each client stores its own responses. The key does not contain the
/// text of an assertion either: each request has a new assertion, for an identity that these facts determine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestKey {
    /// The URL of the token endpoint. It contains the host, the region and the tenant.
    pub(super) endpoint: Box<str>,
    pub(super) kind: Kind,
    pub(super) scope: Box<str>,
    /// The value of the parameter `claims`.
    pub(super) claims: Option<Box<str>>,
    pub(super) certificate: Option<Thumbprint>,
    /// The options that are part of the cache key, for example the FMI path and the user of On-Behalf-Of.
    pub(super) extras: Extras,
}
