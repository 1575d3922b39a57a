//! What a client has whatever its credential.

use std::sync::{Arc, Weak};

use certbound_core::authority::Authority;
use certbound_core::instance::InstanceMetadata;

use super::discovery::Discovery;
use super::endpoints::Endpoints;
use crate::background::Background;
use crate::cache::key::ClientKey;
use crate::cache::{Origins, TokenCache};
use crate::clock::Clock;
use crate::transport::AnyTransport;

/// What a client has whatever its credential.
pub(crate) struct ClientCore {
    pub(crate) authority: Authority,
    pub(crate) client_id: Arc<str>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) cache: TokenCache,
    pub(crate) cache_key: Arc<ClientKey>,
    pub(crate) origins: Origins,
    pub(crate) background: Weak<Background>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: Arc<dyn AnyTransport>,
    pub(crate) discovery: Discovery,
    pub(crate) endpoints: Endpoints,
    pub(crate) validates_authority: bool,
    pub(crate) instance_metadata: Option<Arc<InstanceMetadata>>,
}
