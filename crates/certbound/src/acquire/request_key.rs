//! The facts in which two token requests of one client must be equal, so that the response to one holds for the other.

use certbound_core::certificate::Thumbprint;

use crate::cache::Kind;
use crate::cache::key::Extras;

/// The facts in which two token requests of one client must be equal. The client itself and its credential are not among
/// them, because each client has its own responses. The text of an assertion is not one of
/// them either: each request has a new assertion, for an identity that these facts determine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestKey {
    /// It names host, region and tenant.
    pub(super) endpoint: Box<str>,
    pub(super) kind: Kind,
    pub(super) scope: Box<str>,
    /// The value of the parameter `claims`.
    pub(super) claims: Option<Box<str>>,
    pub(super) certificate: Option<Thumbprint>,
    /// The path of an identity, parameters, and the user of On-Behalf-Of.
    pub(super) extras: Extras,
}
