//! A certificate that was issued to this machine: looked at before it is used, and for how long it is.

use std::sync::Arc;
use std::time::Duration;

use certbound_core::endpoint::TokenEndpoint;
use certbound_core::managed_identity::{IssuedCredential, PlatformMetadata};
use certbound_core::time::UnixTime;

use super::certificate_file::CertificateFile;
use super::keys::MachineKey;
use crate::certificate::{Binding, BindingCertificate};
use crate::error::PlatformError;

/// With this much left a certificate is replaced before it is used for another token, which must not outlive it; with half of
/// its life, if that is less.
const LAST_DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate with what it is for.
pub(crate) struct IssuedCertificate {
    pub(crate) binding: Binding,
    pub(crate) client_id: String,
    pub(crate) endpoint: TokenEndpoint,
    /// Until when it is used for new tokens.
    used_until: UnixTime,
    /// From when on another one is asked for in the background.
    renewed_from: UnixTime,
    /// Where the next process finds it.
    pub(super) file: Option<Arc<CertificateFile>>,
}

impl IssuedCertificate {
    /// Looks at what was issued before it is used: for this identity, this key, and now.
    pub(super) fn new(
        issued: &IssuedCredential,
        metadata: &PlatformMetadata,
        key: &MachineKey,
        issued_at: UnixTime,
        now: UnixTime,
    ) -> Result<Self, PlatformError> {
        if issued.client_id != metadata.client_id || issued.tenant_id != metadata.tenant_id {
            return Err(PlatformError::unusable("it is for another identity than the one asked for"));
        }
        let certificate = BindingCertificate::from_der_and_key(issued.certificate.clone(), key.in_tls());
        let certificate = certificate.map_err(|error| PlatformError::unusable(&error.to_string()))?;
        if !issued.names_its_identity() {
            return Err(PlatformError::unusable("its subject is not the identity in its tenant"));
        }
        let (from, until) = (certificate.chain().not_before(), certificate.chain().not_after());
        if now < from {
            return Err(PlatformError::unusable(&format!("it is not valid before {from}, and it is {now}")));
        }
        if until <= now {
            return Err(PlatformError::unusable(&format!("it is over since {until}, and it is {now}")));
        }
        let life = until.since(issued_at);
        let used_until = until.minus(LAST_DAY.min(life / 2));
        // Half-way; in time for those of a day or two as well.
        let renewed_after = (life / 2).min(used_until.since(issued_at) * 3 / 4);
        Ok(Self {
            binding: Binding::new(certificate),
            client_id: issued.client_id.clone(),
            endpoint: TokenEndpoint::of_machine(issued),
            used_until,
            renewed_from: issued_at.plus(renewed_after),
            file: None,
        })
    }

    /// Found in a file, or written to one.
    pub(super) fn at(self, file: Option<Arc<CertificateFile>>) -> Self {
        Self { file, ..self }
    }

    /// Whether it is used for new tokens.
    pub(super) fn is_fresh(&self, now: UnixTime) -> bool {
        now < self.used_until
    }

    /// Whether it has not ended.
    pub(super) fn is_usable(&self, now: UnixTime) -> bool {
        now < self.binding.chain().not_after()
    }

    /// Whether it is time for another one.
    pub(super) fn is_to_be_renewed(&self, now: UnixTime) -> bool {
        now >= self.renewed_from
    }
}
