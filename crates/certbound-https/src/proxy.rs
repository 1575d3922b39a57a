//! The choice of a proxy for a request.

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

/// The URL of a proxy cannot be used. Requests would use no proxy, so the caller must report the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy in {from} cannot be used: its URL must have the form http://[user:password@]host:port")]
pub struct InvalidProxy {
    /// The name of the variable, or another place of the URL.
    pub from: &'static str,
}

/// The names of the variables of a proxy. In each pair the first variable that is set is used. If its value is empty, the
/// pair has no value.
const VARIABLES: [[&str; 2]; 2] = [["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]];

impl Proxy {
    /// Returns the proxy of `HTTPS_PROXY`, or else of `ALL_PROXY`, except for the hosts of `NO_PROXY`. A URL without a
    /// scheme is an `http` URL.
    ///
    /// `HTTP_PROXY` is not read. In a CGI program a client of the web server can set that variable.
    ///
    /// # Errors
    /// [`InvalidProxy`] with the name of the variable.
    pub fn from_env() -> Result<Self, InvalidProxy> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, InvalidProxy> {
        let first_of =
            |names: &[&'static str]| names.iter().find_map(|name| variable(name).map(|value| (*name, value)));
        let set = VARIABLES.iter().filter_map(|pair| first_of(pair)).find(|(_, value)| !value.is_empty());
        let Some((from, url)) = set else { return Ok(Self::default()) };
        let url = url.into_string().map_err(|_| InvalidProxy { from })?;
        let url = if url.contains("://") { url } else { format!("http://{url}") };
        check(&url, from)?;
        let exceptions = first_of(&["NO_PROXY", "no_proxy"]).map(|(_, hosts)| hosts).unwrap_or_default();
        let exceptions = exceptions.to_string_lossy().into_owned();
        Ok(Self(Arc::new(Matcher::builder().https(url).no(exceptions).build())))
    }

    /// Returns the proxy at `url` (`http://[user:password@]host:port`) for every host.
    ///
    /// # Errors
    /// [`InvalidProxy`] with `from`.
    pub fn at(url: &str, from: &'static str) -> Result<Self, InvalidProxy> {
        check(url, from)?;
        Ok(Self(Arc::new(Matcher::builder().https(url.to_owned()).build())))
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

/// Checks the URL of a proxy. Both parsers must accept it: the first is strict, and the connection uses the second.
fn check(url: &str, from: &'static str) -> Result<(), InvalidProxy> {
    let parsed = url::Url::parse(url).map_err(|_| InvalidProxy { from })?;
    let readable = url.parse::<Uri>().is_ok_and(|uri| uri.authority().is_some());
    let usable = parsed.scheme() == "http" && parsed.host_str().is_some() && readable;
    if usable { Ok(()) } else { Err(InvalidProxy { from }) }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the proxy for a host, in this environment.
    fn proxy_for(host: &str, set: &[(&str, &str)]) -> Result<Option<String>, InvalidProxy> {
        let proxy = Proxy::from_variables(|name| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into())
        })?;
        Ok(proxy.address_for(&format!("https://{host}/").parse().unwrap()))
    }

    fn proxy(set: &[(&str, &str)]) -> Result<Option<String>, InvalidProxy> {
        proxy_for("login.example", set)
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error() {
        for url in ["http://proxy:3128", "http://user:p%40ss@proxy:3128/", "proxy:3128", "proxy:3128/"] {
            assert_eq!(proxy(&[("HTTPS_PROXY", url)]), Ok(Some("proxy:3128".to_owned())), "{url}");
        }
        assert_eq!(proxy(&[("HTTPS_PROXY", "http://[::1]:80")]), Ok(Some("[::1]:80".to_owned())));
        let unusable = [
            "garbage://",
            "socks5://proxy:1080",
            "https://proxy:443",
            "http://",
            "http://a b",
            "http://x:99999",
            "http://proxy:3128\n",
        ];
        for url in unusable {
            for from in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
                assert_eq!(proxy(&[(from, url)]), Err(InvalidProxy { from }), "{url}");
            }
            assert!(Proxy::at(url, "the configuration").is_err(), "{url}");
        }
        let first = proxy(&[("HTTPS_PROXY", "http://proxy:1"), ("ALL_PROXY", "socks5://x")]);
        assert_eq!(first, Ok(Some("proxy:1".to_owned())));
        for none in [&[][..], &[("HTTPS_PROXY", "")], &[("HTTPS_PROXY", ""), ("https_proxy", "garbage://")]] {
            assert_eq!(proxy(none), Ok(None), "{none:?}");
        }
        assert!(proxy(&[("HTTPS_PROXY", ""), ("ALL_PROXY", "socks5://x")]).is_err());
        // A client of a web server can set this variable of a CGI program.
        assert_eq!(proxy(&[("HTTP_PROXY", "http://evil:1")]), Ok(None));
    }

    #[test]
    fn hosts_without_the_proxy_are_reached_directly() {
        let set = [("HTTPS_PROXY", "http://proxy:1"), ("NO_PROXY", "direct.example")];
        assert_eq!(proxy_for("direct.example", &set), Ok(None));
        assert_eq!(proxy_for("login.example", &set), Ok(Some("proxy:1".to_owned())));
        assert_eq!(proxy_for("127.0.0.1", &set), Ok(None));
    }
}
