//! Trust by subject name and issuer (SN/I): the check that a trusted authority issued a client certificate.

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

/// Returns whether the certificate's extended key usage contains client authentication. webpki also accepts a
/// certificate without this extension; SN/I does not.
fn is_for_clients(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| {
        matches!(certificate.extended_key_usage(), Ok(Some(usage)) if usage.value.client_auth)
    })
}

/// The authorities whose client certificates an application may trust by subject name.
pub(crate) struct TrustedAuthorities {
    verifier: Arc<dyn ClientCertVerifier>,
    earliest: UnixTime,
    latest: UnixTime,
}

impl TrustedAuthorities {
    /// Creates the set of `own`, the authority of the emulator, and of `others`, the authorities (PEM) that the world
    /// names.
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

    /// Returns whether the chain (DER, leaf first) leads to a trusted authority and whether a client may use its leaf.
    ///
    /// The caller checks the dates of the leaf at the time `now`. This method checks the path at a time within the
    /// dates of the emulator's authority, because a test can move the clock beyond these dates.
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
