//! The request for a certificate of a machine, with the checks of its result.

use std::sync::Arc;
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::managed_identity::{CertificationRequest, PlatformMetadata};
use certbound_core::secret::Secret;
use futures_util::future::join;

use super::Machine;
use super::attestation::AttestationRequest;
use super::certificate_file::{StoredCertificate, blocking};
use super::issued_certificate::IssuedCertificate;
use super::keys::MachineKey;
use super::mint_reason::MintReason;
use crate::correlation::CorrelationId;
use crate::error::{KeyError, PlatformError};

/// The time limit of a key store for returning the key, and for signing a certificate request.
const KEY_LIMIT: Duration = Duration::from_secs(60);
/// The time limit of the wait for the lock of one identity's certificate.
const TURN_LIMIT: Duration = Duration::from_secs(180);

impl Machine {
    /// Requests a certificate from the platform, unless a suitable certificate is in memory or in the file. The
    /// platform may have a different name for the identity, and a certificate may exist for that name. `not` is a
    /// certificate to replace.
    pub(super) async fn mint(
        &self,
        not: Option<Thumbprint>,
        reason: MintReason,
        correlation_id: CorrelationId,
    ) -> Result<Arc<IssuedCertificate>, PlatformError> {
        let is_different = |known: &Arc<IssuedCertificate>| not != Some(known.binding.thumbprint());
        // Another load may have ended in the meantime.
        let known = self.known_cell().and_then(|cell| cell.fresh(self.context.clock.now()));
        if let Some(known) = known.filter(is_different) {
            return Ok(known);
        }
        if let Some(state) = self.certificates.state().cloned() {
            blocking(move || state.check()).await??;
        }
        // The key and the metadata are requested in parallel, because both can take long.
        let (key, metadata) = join(self.key(), self.metadata(correlation_id)).await;
        let (metadata, key) = (metadata?, key?);
        let canonical = self.canonical(&metadata.client_id, &key);
        let cell = self.certificates.cell(&self.requested_name(), &canonical, self.context.clock.now());
        // The name may refer to a different identity now.
        self.cell.store(Some(Arc::clone(&cell)));
        let turn = cell.turn();
        let mine = tokio::time::timeout(TURN_LIMIT, turn.lock()).await;
        if mine.is_err() {
            // Probably the runtime of the lock's owner does not poll its tasks. The lock must not block later callers.
            cell.give_up_turn(&turn);
        }
        // The provider may have opened its key again.
        cell.reopen(&key);
        let fits = |known: &Arc<IssuedCertificate>| {
            is_different(known) && known.binding.chain().public_key_info() == key.public_key()
        };
        if let Some(known) = cell.fresh(self.context.clock.now()).filter(fits) {
            return Ok(known);
        }
        let stored = self.stored_certificate(&canonical, &metadata).await?;
        if let Some(stored) = &stored
            && let Some(found) = self.found(stored, &metadata, &key).await?
        {
            if cell.is_refused(found.binding.thumbprint()) {
                stored.remove().await?;
            } else if is_different(&found) && reason != MintReason::Forced {
                cell.put(&found, reason, self.context.clock.now());
                return Ok(found);
            }
        }
        let attestation = self.attest(&metadata, &key, correlation_id).await?;
        let request = self.signed_request(&metadata, &key).await?;
        let reason = match reason {
            MintReason::Needed if cell.lost_its_certificate() => MintReason::Refused,
            reason => reason,
        };
        let bypasses = reason.bypasses_cache();
        let issued = self.issue(&request, attestation.as_deref(), bypasses, correlation_id).await?;
        let now = self.context.clock.now();
        let certificate = IssuedCertificate::new(&issued, &metadata, &key, now, now)?.just_issued();
        if cell.is_refused(certificate.binding.thumbprint()) {
            return Err(PlatformError::unusable(
                "the platform issued the same certificate that the token service had refused",
            ));
        }
        let certificate = certificate.at(stored.as_ref().map(StoredCertificate::file));
        let certificate = Arc::new(match reason {
            MintReason::Forced => certificate.for_forced_refresh(),
            _ => certificate,
        });
        tracing::info!(client_id = %certificate.client_id, not_after = %certificate.binding.chain().not_after(), "certificate issued");
        cell.put(&certificate, reason, now);
        if let Some(stored) = stored {
            stored.write(&issued, now).await?;
        }
        Ok(certificate)
    }

    pub(super) async fn key(&self) -> Result<MachineKey, PlatformError> {
        let key = tokio::time::timeout(KEY_LIMIT, self.keys.key()).await;
        Ok(key.unwrap_or_else(|_| Err(too_slow("returned no key")))?)
    }

    /// Returns the attestation token of the key, if there is a hook.
    async fn attest(
        &self,
        metadata: &PlatformMetadata,
        key: &MachineKey,
        correlation_id: CorrelationId,
    ) -> Result<Option<Arc<Secret>>, PlatformError> {
        let Some(hook) = &self.attestation else { return Ok(None) };
        let compute = self.compute_metadata(correlation_id).await;
        let of_region = compute.and_then(|compute| compute.attestation_endpoint());
        let request = AttestationRequest {
            endpoint: of_region.unwrap_or_else(|| metadata.attestation_endpoint.clone()),
            client_id: metadata.client_id.clone(),
            tenant_id: metadata.tenant_id.clone(),
            key: key.clone(),
        };
        let attested = self.certificates.attested();
        attested.token(hook, request, self.context.clock.now()).await.map(Some)
    }

    async fn signed_request(
        &self,
        metadata: &PlatformMetadata,
        key: &MachineKey,
    ) -> Result<Vec<u8>, PlatformError> {
        let unusable =
            |error: certbound_core::managed_identity::CertificationRequestError| KeyError::new(error);
        let request = CertificationRequest::new(metadata, key.public_key()).map_err(unusable)?;
        let (signer, message) = (key.clone(), request.to_be_signed().to_vec());
        // Signing with a key in hardware can take long.
        let signed = tokio::time::timeout(KEY_LIMIT, blocking(move || signer.sign(&message))).await;
        let signature = signed.map_err(|_| too_slow("did not sign"))???;
        Ok(request.with_signature(&signature).map_err(unusable)?)
    }

    /// Returns the certificate from the file, if it is fresh. An earlier process, another running process or this
    /// process has written it.
    async fn found(
        &self,
        stored: &StoredCertificate,
        metadata: &PlatformMetadata,
        key: &MachineKey,
    ) -> Result<Option<Arc<IssuedCertificate>>, PlatformError> {
        let Some((credential, issued_at)) = stored.read().await? else { return Ok(None) };
        let now = self.context.clock.now();
        // If the clock was set back, the time of issue can be in the future. The current time is then used instead.
        let found = IssuedCertificate::new(&credential, metadata, key, issued_at.min(now), now);
        Ok(match found {
            Ok(found) if found.is_fresh(now) => Some(Arc::new(found.at(Some(stored.file())))),
            Ok(_) => None,
            Err(error) => {
                stored.ignored(&error);
                None
            }
        })
    }
}

fn too_slow(what: &str) -> KeyError {
    KeyError::new(format!("the key store {what} within {} s", KEY_LIMIT.as_secs()))
}
