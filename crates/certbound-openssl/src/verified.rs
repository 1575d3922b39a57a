//! The verification of the server's certificate, with the reason why it failed.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certbound::clock::{Clock as _, SystemClock};
use certbound::error::Untrusted;
use certbound_core::time::UnixTime;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::ssl::{SslRef, SslVerifyMode};
use openssl::x509::{X509Ref, X509VerifyResult};

/// The reason for which the server's certificate was refused, in any handshake of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verified(Arc<Mutex<Option<Untrusted>>>);

impl Verified {
    /// Verifies the certificate of `host` in each handshake of `ssl`. OpenSSL keeps only the number of an error, so
    /// this hook reads the certificate. It accepts nothing that OpenSSL refuses.
    pub(crate) fn of(ssl: &mut SslRef, host: &str) -> Self {
        let found = Self::default();
        let (hook, host) = (found.clone(), host.to_owned());
        ssl.set_verify_callback(SslVerifyMode::PEER, move |is_trusted, chain| {
            if !is_trusted {
                let reason = reason(chain.error(), chain.current_cert(), &host);
                hook.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
            }
            is_trusted
        });
        found
    }

    /// Returns the reason, or `None` if no certificate was refused.
    pub(crate) fn untrusted(&self) -> Option<Untrusted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns the reason why the verification of `certificate` failed.
fn reason(error: X509VerifyResult, certificate: Option<&X509Ref>, host: &str) -> Untrusted {
    let now = || SystemClock::new().now();
    let time = |of: fn(&X509Ref) -> &Asn1TimeRef| certificate.and_then(|it| moment(of(it)).ok());
    let known = match error.as_raw() {
        // X509_V_ERR_CERT_NOT_YET_VALID
        9 => time(X509Ref::not_before).map(|not_before| Untrusted::NotYetValid { not_before, now: now() }),
        // X509_V_ERR_CERT_HAS_EXPIRED
        10 => time(X509Ref::not_after).map(|not_after| Untrusted::Expired { not_after, now: now() }),
        // X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN
        18 | 19 => Some(Untrusted::UnknownRoot { issuer: None, is_self_signed: true }),
        // X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
        20 | 21 => Some(Untrusted::UnknownRoot { issuer: None, is_self_signed: false }),
        // X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        62 | 64 => {
            certificate.map(|it| Untrusted::OtherName { expected: host.to_owned(), presented: names(it) })
        }
        _ => None,
    };
    known.unwrap_or_else(|| Untrusted::Other { reason: error.error_string().to_owned() })
}

/// Returns a moment of a certificate. A moment before 1970 is returned as the epoch.
fn moment(time: &Asn1TimeRef) -> Result<UnixTime, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    let seconds = i64::from(since.days) * 24 * 3600 + i64::from(since.secs);
    Ok(UnixTime::from_secs(0).plus(Duration::from_secs(seconds.max(0).unsigned_abs())))
}

/// Returns the host names and addresses of a certificate.
fn names(certificate: &X509Ref) -> Vec<String> {
    let names = certificate.subject_alt_names().into_iter().flatten();
    names
        .filter_map(|name| name.dnsname().map(str::to_owned).or_else(|| address(name.ipaddress()?)))
        .collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok();
    address.map(|address| address.to_string())
}
