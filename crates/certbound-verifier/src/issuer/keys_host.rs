//! The hosts from which the keys of an issuer are accepted.

use std::fmt;

use url::Url;

/// The longest `jwks_uri` that is accepted, in bytes.
const MAX_URL_BYTES: usize = 2048;

/// The host of a `jwks_uri`, and its port. If the port is `None`, every port is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeysHost {
    host: String,
    port: Option<u16>,
}

impl KeysHost {
    /// Returns the host and the port of an issuer's URL.
    pub(crate) fn of_issuer(url: &str) -> Option<Self> {
        let (_, host, port) = place_of(url)?;
        Some(Self { host, port: Some(port) })
    }

    /// Parses the configured host of an issuer's keys. If the text has no port, every port is allowed. The result is
    /// `None` for a text that is not a host.
    pub(crate) fn named(written: &str) -> Option<Self> {
        let authority = written.parse::<http::uri::Authority>().ok()?;
        let (host, port) = (authority.host(), authority.port_u16());
        let plain = match port {
            Some(_) => written.strip_prefix(host)?.starts_with(':'),
            None => written == host,
        };
        let (_, host, _) = place_of(&format!("https://{host}")).filter(|_| plain)?;
        Some(Self { host, port })
    }

    /// Returns the URL in its normal form, if keys may be fetched from it.
    pub(crate) fn allowed(&self, url: &str) -> Option<String> {
        let (url, host, port) = place_of(url)?;
        let allowed = self.host == host && self.port.is_none_or(|only| only == port);
        allowed.then_some(url)
    }
}

impl fmt::Display for KeysHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None | Some(443) => f.write_str(&self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
        }
    }
}

/// Parses an https URL without a user name. Returns it in its normal form, with its host and port.
fn place_of(url: &str) -> Option<(String, String, u16)> {
    let url = Url::parse(url).ok()?;
    let plain = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    let host = url.host_str().filter(|_| plain && url.as_str().len() <= MAX_URL_BYTES)?;
    Some((url.to_string(), host.to_ascii_lowercase(), url.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_host_has_every_port_unless_it_names_one() {
        for (named, url, allowed) in [
            ("keys.example", "https://keys.example/jwks", true),
            ("keys.example", "https://keys.example:443/jwks", true),
            ("keys.example", "https://keys.example:8443/jwks", true),
            ("KEYS.example", "https://Keys.Example/jwks", true),
            ("keys.example:443", "https://keys.example/jwks", true),
            ("keys.example:443", "https://keys.example:8443/jwks", false),
            ("keys.example:8443", "https://keys.example:8443/jwks", true),
            ("keys.example:8443", "https://keys.example/jwks", false),
            ("[::1]", "https://[::1]:8443/jwks", true),
            ("[::1]:8443", "https://[0:0::1]:8443/jwks", true),
            ("[::1]:8443", "https://[::1]/jwks", false),
            ("keys.example", "http://keys.example/jwks", false),
            ("keys.example", "https://keys.example.evil.example/jwks", false),
            ("keys.example", "https://keys.example@evil.example/jwks", false),
            ("keys.example", "https://evil.example/keys.example", false),
            ("keys.example", "keys.example", false),
        ] {
            let host = KeysHost::named(named).unwrap();
            assert_eq!(host.allowed(url).is_some(), allowed, "{named} {url}");
        }
        for wrong in [
            "",
            " ",
            "https://keys.example",
            "keys.example/jwks",
            "keys.example?",
            "user@keys.example",
            "user:7@keys.example",
            "keys.example:",
            "keys.example:99999",
            "keys.example:x",
            "keys example",
        ] {
            assert_eq!(KeysHost::named(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_url_is_written_in_one_way_and_is_not_endless() {
        let host = KeysHost::named("keys.example").unwrap();
        let written = host.allowed("https://KEYS.example:443/a\u{1b}b/../c\n").unwrap();
        assert_eq!(written, "https://keys.example/c");
        assert_eq!(host.allowed(&format!("https://keys.example/{}", "k".repeat(2048))), None);
    }

    #[test]
    fn an_issuers_own_host_has_its_own_port_alone() {
        for (issuer, url, allowed) in [
            ("https://idp.example/realm", "https://idp.example/jwks", true),
            ("https://idp.example/realm", "https://idp.example:8443/jwks", false),
            ("https://idp.example:8443", "https://idp.example:8443/jwks", true),
            ("https://idp.example:8443", "https://idp.example/jwks", false),
        ] {
            let host = KeysHost::of_issuer(issuer).unwrap();
            assert_eq!(host.allowed(url).is_some(), allowed, "{issuer} {url}");
        }
    }
}
