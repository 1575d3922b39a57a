//! The parts of a client that do not depend on its credential.

use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::authority::instance::InstanceMetadata;

use super::context::Context;
use super::discovery::Discovery;
use crate::region::RegionDetector;

/// The parts of a client that do not depend on its credential.
pub(crate) struct ClientCore {
    pub(crate) context: Context,
    pub(crate) authority: Authority,
    pub(crate) client_id: Arc<str>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) discovery: Discovery,
    pub(crate) validates_authority: bool,
    pub(crate) instance_metadata: Option<Arc<InstanceMetadata>>,
    pub(crate) regions: RegionDetector,
    /// Whether the global endpoint may be used if the host of the region cannot be reached.
    pub(crate) falls_back_to_global: bool,
}
