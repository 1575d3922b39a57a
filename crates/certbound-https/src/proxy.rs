//! The choice of a proxy for a request.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use certbound_core::local::is_local;
use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// The HTTP proxy of a client. By default there is no proxy. Requests to loopback and link-local addresses never use
/// the proxy.
#[derive(Clone)]
pub struct Proxy(Arc<Matcher>);

impl Proxy {
    /// Returns the proxy of [`proxy_variable`], with the exceptions of `NO_PROXY`. A variable that is not a URL counts as
    /// absent. A caller that must not bypass a proxy has to check the variable itself.
    pub fn from_env() -> Self {
        match proxy_variable(|name| std::env::var_os(name)) {
            Some((_, url)) => Self::at_with_exceptions(&url.to_string_lossy()),
            None => Self::default(),
        }
    }

    /// Returns the proxy at `url` (`http://[user:password@]host:port`) for every host. The caller must have checked the
    /// URL.
    pub fn at(url: &str) -> Self {
        Self(Arc::new(Matcher::builder().https(url.to_owned()).build()))
    }

    /// Returns the proxy as [`Proxy::at`] does, except for the hosts of `NO_PROXY`. A URL without a scheme is an `http`
    /// URL.
    pub fn at_with_exceptions(url: &str) -> Self {
        let no_proxy = first_of(&["NO_PROXY", "no_proxy"], |name| std::env::var_os(name));
        let no_proxy = no_proxy.map(|(_, hosts)| hosts.to_string_lossy().into_owned()).unwrap_or_default();
        Self(Arc::new(Matcher::builder().https(with_scheme(url).into_owned()).no(no_proxy).build()))
    }

    /// Returns host and port of the proxy for `target`, or `None` if no proxy is used. The user name and the password
    /// of the proxy are omitted.
    pub fn address_for(&self, target: &Uri) -> Option<String> {
        let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
        self.intercept(target, host).map(|proxy| address(proxy.uri()))
    }

    /// Returns the proxy for `target`, or `None` if no proxy is used. `host` is the host of `target`, without brackets.
    pub(crate) fn intercept(&self, target: &Uri, host: &str) -> Option<Intercept> {
        self.0.intercept(target).filter(|_| !is_local(host))
    }
}

/// The names of the variables of a proxy. In each pair the first variable that is set is used. If its value is empty, the
/// pair has no value.
const VARIABLES: [[&str; 2]; 2] = [["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]];

/// Returns the name and the value of the variable that names the proxy: `HTTPS_PROXY`, or else `ALL_PROXY`. `variable`
/// reads the environment.
///
/// `HTTP_PROXY` is not read. In a CGI program a client of the web server can set that variable.
pub fn proxy_variable(variable: impl Fn(&str) -> Option<OsString>) -> Option<(&'static str, OsString)> {
    let set = VARIABLES.iter().filter_map(|pair| first_of(pair, &variable));
    set.into_iter().find(|(_, value)| !value.is_empty())
}

fn first_of(
    names: &[&'static str],
    variable: impl Fn(&str) -> Option<OsString>,
) -> Option<(&'static str, OsString)> {
    names.iter().find_map(|name| variable(name).map(|value| (*name, value)))
}

/// Returns the URL with the scheme `http`, if it has no scheme.
pub fn with_scheme(url: &str) -> Cow<'_, str> {
    if url.contains("://") { Cow::Borrowed(url) } else { Cow::Owned(format!("http://{url}")) }
}

/// Returns host and port of a proxy. The result omits the user name and the password that the URL can have.
pub(crate) fn address(proxy: &Uri) -> String {
    format!("{}:{}", proxy.host().unwrap_or_default(), proxy.port_u16().unwrap_or(80))
}

impl Default for Proxy {
    /// Returns a setting without a proxy.
    fn default() -> Self {
        Self(Arc::new(Matcher::builder().build()))
    }
}

impl fmt::Debug for Proxy {
    /// Omits the URL, because it may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxy(..)")
    }
}
