//! The reasons why a server's certificate is not trusted.

use strum::EnumProperty as _;

use crate::time::{UnixTime, in_words};

/// The reason why a server's certificate is not trusted. `Display` writes it as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum Untrusted {
    /// The certificate, or a certificate of its issuers, has expired.
    #[error(
        "the server's certificate is not trusted: the certificate, or a certificate of its issuers, was valid until {not_after} and expired {} ago; the clock shows {now}",
        in_words(.now.since(*.not_after))
    )]
    #[strum(props(
        fix = "the server's operator must renew the certificate; if it has not expired, correct this machine's clock"
    ))]
    Expired {
        /// The end of the certificate's validity.
        not_after: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The certificate, or a certificate of its issuers, is not valid yet.
    #[error(
        "the server's certificate is not trusted: the certificate, or a certificate of its issuers, becomes valid at {not_before}, in {}; the clock shows {now}",
        in_words(.not_before.since(*.now))
    )]
    #[strum(props(
        fix = "correct this machine's clock; if the clock is right, the server's operator must install a valid certificate"
    ))]
    NotYetValid {
        /// The start of the certificate's validity.
        not_before: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The certificate is for other host names.
    #[error(
        "the server's certificate is not trusted: it is for {}, not for {expected}",
        list(.presented)
    )]
    #[strum(props(
        fix = "check the host name in the URL; if the name is right, a different server or a proxy answers at this address"
    ))]
    OtherName {
        /// The host name of the request.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// The issuer is not a trusted root. `issuer` is `None` if it is not known, for example if OpenSSL verified the
    /// certificate.
    #[error("the server's certificate is not trusted: {}", of_root(.issuer.as_deref(), *.is_self_signed))]
    #[strum(props(
        fix = "if you trust this issuer, add its certificate to the trusted roots (SSL_CERT_FILE); otherwise look for a proxy between this program and the host"
    ))]
    UnknownRoot {
        /// The issuer of the last certificate of the chain.
        issuer: Option<String>,
        /// Whether that certificate is self-signed.
        is_self_signed: bool,
    },
    /// Any other reason.
    #[error("the server's certificate is not trusted: {reason}")]
    #[strum(props(
        fix = "the server's operator must replace the certificate; if the server's own certificate is valid, look for a proxy between this program and the host"
    ))]
    Other {
        /// The reason, as a sentence about the certificate.
        reason: String,
    },
}

impl Untrusted {
    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names {
        [] => "no host name".to_owned(),
        names if names.len() > SHOWN => {
            let first = names.get(..SHOWN).unwrap_or_default().join(", ");
            format!("{first} and {} more names", names.len() - SHOWN)
        }
        names => names.join(", "),
    }
}

fn of_root(issuer: Option<&str>, is_self_signed: bool) -> String {
    match issuer {
        Some(issuer) if is_self_signed => {
            format!("its chain ends with the self-signed certificate `{issuer}`, which is not a trusted root")
        }
        Some(issuer) => format!("its issuer `{issuer}` is not a trusted root"),
        None => "its issuer is not a trusted root".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reason_has_dates_and_names() {
        let now = UnixTime::from_secs(1_785_000_000);
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let other = |presented: &[&str]| Untrusted::OtherName {
            expected: "localhost".to_owned(),
            presented: names(presented),
        };
        for (reason, text, fix) in [
            (
                Untrusted::Expired { not_after: now.minus(days(35)), now },
                "the certificate, or a certificate of its issuers, was valid until 2026-06-20T17:20:00Z and expired 35 days ago; the clock shows 2026-07-25T17:20:00Z",
                "must renew the certificate",
            ),
            (
                Untrusted::NotYetValid { not_before: now.plus(days(1)), now },
                "the certificate, or a certificate of its issuers, becomes valid at 2026-07-26T17:20:00Z, in 1 day; the clock shows 2026-07-25T17:20:00Z",
                "clock",
            ),
            (other(&["other.example"]), "it is for other.example, not for localhost", "host name"),
            (other(&[]), "it is for no host name, not for localhost", "host name"),
            (
                other(&["a", "b", "c", "d", "e"]),
                "it is for a, b, c and 2 more names, not for localhost",
                "host",
            ),
            (
                Untrusted::UnknownRoot { issuer: Some("CN=a".to_owned()), is_self_signed: false },
                "its issuer `CN=a` is not a trusted root",
                "SSL_CERT_FILE",
            ),
        ] {
            assert_eq!(reason.to_string(), format!("the server's certificate is not trusted: {text}"));
            assert!(reason.fix().contains(fix), "{}", reason.fix());
        }
    }
}
