//! Trust by subject name and issuer (SN/I): which client certificates count, and for whom.

use std::sync::Arc;
use std::time::Duration;

use certbound_core::time::UnixTime;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::error::EmulatorError;
use crate::keys::ca::CertificateAuthority;

/// Whether the certificate says that clients may authenticate by it; saying nothing, which webpki takes, is no yes.
fn is_for_clients(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| {
        matches!(certificate.extended_key_usage(), Ok(Some(usage)) if usage.value.client_auth)
    })
}

/// The authorities whose client certificates may be registered by subject name.
pub(crate) struct TrustedAuthorities {
    verifier: Arc<dyn ClientCertVerifier>,
    earliest: UnixTime,
    latest: UnixTime,
}

impl TrustedAuthorities {
    /// The emulator's own authority and those the world names, PEM.
    pub(crate) fn new(own: &CertificateAuthority, others: &[String]) -> Result<Self, EmulatorError> {
        let mut roots = RootCertStore::empty();
        roots.add(own.der().clone()).map_err(EmulatorError::key_material)?;
        for pem in others {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(EmulatorError::world)?;
                roots.add(certificate).map_err(EmulatorError::world)?;
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(EmulatorError::key_material)?;
        Ok(Self { verifier, earliest: own.not_before, latest: own.not_after })
    }

    /// Whether the chain (DER, leaf first) leads to a trusted authority and may be used by a client.
    ///
    /// The leaf's own dates are the caller's business. An emulator whose clock was moved keeps trusting its own
    /// authority: the path is looked at within that authority's dates.
    pub(crate) fn vouch_for(&self, chain: &[Vec<u8>], now: UnixTime) -> bool {
        let Some((leaf, rest)) = chain.split_first().filter(|(leaf, _)| is_for_clients(leaf)) else {
            return false;
        };
        let leaf = CertificateDer::from(leaf.as_slice());
        let rest: Vec<CertificateDer<'_>> =
            rest.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let at = now.as_secs().clamp(self.earliest.as_secs(), self.latest.as_secs());
        let at = rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(at));
        self.verifier.verify_client_cert(&leaf, &rest, at).is_ok()
    }
}
