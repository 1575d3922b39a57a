//! Which requests go through a proxy.

use std::fmt;
use std::sync::Arc;

use certbound_core::local::is_local;
use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// The HTTP proxy of a client; none by default. Loopback and link-local addresses never go through it.
#[derive(Clone)]
pub struct Proxy(Arc<Matcher>);

impl Proxy {
    /// The proxy of `HTTPS_PROXY`, else of `ALL_PROXY`, with the exceptions of `NO_PROXY`. A variable that cannot be read as
    /// a URL counts as absent: a caller that must not go past a proxy checks the variables itself.
    pub fn from_env() -> Self {
        Self(Arc::new(Matcher::from_env()))
    }

    /// The proxy at `url` (`http://[user:password@]host:port`), which the caller has checked.
    pub fn at(url: &str) -> Self {
        Self(Arc::new(Matcher::builder().https(url.to_owned()).build()))
    }

    /// The proxy through which `target` is reached. `host` is its host, without brackets.
    pub(crate) fn intercept(&self, target: &Uri, host: &str) -> Option<Intercept> {
        self.0.intercept(target).filter(|_| !is_local(host))
    }
}

impl Default for Proxy {
    /// No proxy.
    fn default() -> Self {
        Self(Arc::new(Matcher::builder().build()))
    }
}

impl fmt::Debug for Proxy {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxy(..)")
    }
}
