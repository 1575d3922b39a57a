//! A certificate that was issued to this machine: the checks before its use, and the times of its use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use certbound_core::endpoint::TokenEndpoint;
use certbound_core::managed_identity::{IssuedCredential, PlatformMetadata};
use certbound_core::time::UnixTime;

use super::certificate_file::CertificateFile;
use super::keys::MachineKey;
use crate::certificate::BindingCertificate;
use crate::error::PlatformError;

/// A certificate is not used for new tokens if this time or less is left of its lifetime. A token must not be valid for
/// longer than its certificate. For a lifetime under twice this time, the limit is half of the lifetime.
const LAST_DAY: Duration = Duration::from_secs(24 * 3600);

/// The number of certificates that platforms issued to this process.
static ISSUED: AtomicU64 = AtomicU64::new(0);

/// An issued certificate, with the values that its requests need.
pub(crate) struct IssuedCertificate {
    pub(crate) binding: BindingCertificate,
    key: MachineKey,
    pub(crate) client_id: String,
    pub(crate) endpoint: TokenEndpoint,
    /// The certificate is used for new tokens until this time.
    used_until: UnixTime,
    /// The certificate is renewed in the background from this time on.
    renewed_from: UnixTime,
    /// The file from which the next process reads the certificate.
    pub(super) file: Option<Arc<CertificateFile>>,
    /// The number of this certificate in the order of issue. It is zero for a certificate from a file.
    number: u64,
    /// Whether a forced refresh requested the certificate and no token was issued with it yet. The copies of the
    /// certificate with other handles of its key share this value.
    waits_for_token: Arc<AtomicBool>,
}

impl IssuedCertificate {
    /// Checks an issued certificate before its use: it must be for this identity and this key, and valid now.
    pub(super) fn new(
        issued: &IssuedCredential,
        metadata: &PlatformMetadata,
        key: &MachineKey,
        issued_at: UnixTime,
        now: UnixTime,
    ) -> Result<Self, PlatformError> {
        if issued.client_id != metadata.client_id || issued.tenant_id != metadata.tenant_id {
            return Err(PlatformError::unusable("it was issued for a different identity than requested"));
        }
        let certificate =
            BindingCertificate::from_der_and_key(issued.certificate.clone(), key.in_tls(), key.place());
        let certificate = certificate.map_err(|error| PlatformError::unusable(&error.to_string()))?;
        if !issued.names_its_identity() {
            return Err(PlatformError::unusable("its subject does not name the identity and its tenant"));
        }
        certificate.valid_at(now).map_err(|error| PlatformError::unusable(&error.to_string()))?;
        let until = certificate.chain().not_after();
        let life = until.since(issued_at);
        let used_until = until.minus(LAST_DAY.min(life / 2));
        // The renewal begins at half of the lifetime, or earlier if the lifetime is shorter than three days.
        let renewed_after = (life / 2).min(used_until.since(issued_at) * 3 / 4);
        Ok(Self {
            binding: certificate,
            key: key.clone(),
            client_id: issued.client_id.clone(),
            endpoint: TokenEndpoint::of_machine(issued),
            used_until,
            renewed_from: issued_at.plus(renewed_after),
            file: None,
            number: 0,
            waits_for_token: Arc::default(),
        })
    }

    /// Returns the key with the handle that signs for the certificate.
    pub(super) fn key(&self) -> &MachineKey {
        &self.key
    }

    /// Returns the same certificate with a different handle of its key. The result is `None` if the certificate is for
    /// a different key.
    pub(super) fn with_handle(&self, key: &MachineKey) -> Option<Self> {
        let leaf = self.binding.chain().ders().first()?.clone();
        Some(Self {
            binding: BindingCertificate::from_der_and_key(leaf, key.in_tls(), key.place()).ok()?,
            key: key.clone(),
            client_id: self.client_id.clone(),
            endpoint: self.endpoint.clone(),
            used_until: self.used_until,
            renewed_from: self.renewed_from,
            file: self.file.clone(),
            number: self.number,
            waits_for_token: Arc::clone(&self.waits_for_token),
        })
    }

    /// Numbers a certificate that the platform has just issued to this process.
    pub(super) fn just_issued(self) -> Self {
        Self { number: ISSUED.fetch_add(1, Ordering::Relaxed) + 1, ..self }
    }

    /// Marks a certificate that a forced refresh requested.
    pub(super) fn for_forced_refresh(self) -> Self {
        self.waits_for_token.store(true, Ordering::Relaxed);
        self
    }

    /// Returns whether a forced refresh requested the certificate and no token was issued with it yet. The next forced
    /// refresh then needs no newer certificate.
    pub(super) fn waits_for_token(&self) -> bool {
        self.waits_for_token.load(Ordering::Relaxed)
    }

    /// Records that a token was issued with the certificate.
    pub(super) fn token_issued(&self) {
        self.waits_for_token.store(false, Ordering::Relaxed);
    }

    /// Returns the number of certificates that platforms issued to this process so far.
    pub(super) fn count() -> u64 {
        ISSUED.load(Ordering::Relaxed)
    }

    /// Returns whether the platform issued this certificate to this process after [`IssuedCertificate::count`] was
    /// `count`.
    pub(super) fn was_issued_after(&self, count: u64) -> bool {
        self.number > count
    }

    /// Adds the file from which the certificate was read, or to which it is written.
    pub(super) fn at(self, file: Option<Arc<CertificateFile>>) -> Self {
        Self { file, ..self }
    }

    /// Returns whether the certificate is used for new tokens.
    pub(super) fn is_fresh(&self, now: UnixTime) -> bool {
        now < self.used_until
    }

    /// Returns whether the certificate has not expired.
    pub(super) fn is_usable(&self, now: UnixTime) -> bool {
        now < self.binding.chain().not_after()
    }

    /// Returns whether the certificate must be renewed.
    pub(super) fn is_to_be_renewed(&self, now: UnixTime) -> bool {
        now >= self.renewed_from
    }
}
