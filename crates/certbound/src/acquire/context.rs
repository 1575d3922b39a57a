//! The parts of every source of tokens that do not depend on its credential.

use std::sync::{Arc, Weak};

use crate::background::Background;
use crate::cache::key::ClientKey;
use crate::cache::{Origins, TokenCache};
use crate::clock::Clock;
use crate::transport::AnyTransport;

/// The parts of every source of tokens that do not depend on its credential.
pub(crate) struct Context {
    pub(crate) cache: TokenCache,
    pub(crate) cache_key: Arc<ClientKey>,
    pub(crate) origins: Origins,
    pub(crate) background: Weak<Background>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: Arc<dyn AnyTransport>,
}
