//! One certificate of a machine: asked for, and looked at before it is used.

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
use crate::certificate::Blame;
use crate::correlation::CorrelationId;
use crate::error::KeyError;
use crate::error::PlatformError;

/// The longest that a key store may take to give the key, and to sign.
const KEY_LIMIT: Duration = Duration::from_secs(60);

impl Machine {
    /// Asks the platform. The identity may turn out to be one that has a certificate already, by another name. `not` is one
    /// that is to be replaced, because of `blame` or since it has grown old.
    pub(super) async fn mint(
        &self,
        not: Option<Thumbprint>,
        blame: Option<Blame>,
        correlation_id: CorrelationId,
    ) -> Result<Arc<IssuedCertificate>, PlatformError> {
        let another = |known: &Arc<IssuedCertificate>| not != Some(known.binding.thumbprint());
        // It may have landed while this began.
        let known = self.known_cell().and_then(|cell| cell.in_use(self.context.clock.now()));
        if let Some(known) = known.filter(another) {
            return Ok(known);
        }
        if let Some(state) = self.certificates.state().cloned() {
            blocking(move || state.check()).await??;
        }
        // The key is made while the platform is asked: it takes as long as the rest.
        let (key, metadata) = join(self.key(), self.metadata(correlation_id)).await;
        let (metadata, key) = (metadata?, key?);
        let canonical = self.canonical(&metadata.client_id, &key);
        let turn = self.certificates.turn(&canonical);
        let _turn = turn.lock().await;
        let cell = self.certificates.cell(&self.asked(), &canonical, self.context.clock.now());
        // Which identity a name means can have changed.
        self.cell.set(&cell);
        let fits = |known: &Arc<IssuedCertificate>| {
            another(known) && known.binding.chain().public_key_info() == key.public_key()
        };
        if let Some(known) = cell.in_use(self.context.clock.now()).filter(fits) {
            return Ok(known);
        }
        let kept = self.kept(&canonical, &metadata).await?;
        if let Some(kept) = &kept
            && let Some(found) = self.found(kept, &metadata, &key).await?
        {
            if cell.is_refused(found.binding.thumbprint()) {
                kept.remove().await?;
            } else if another(&found) {
                cell.put(&found, blame, self.context.clock.now());
                return Ok(found);
            }
        }
        let attestation = self.attest(&metadata, &key).await?;
        let request = self.signed_request(&metadata, &key).await?;
        let blame = blame.or_else(|| cell.lost_its_certificate().then_some(Blame::Refused));
        let issued = self.issue(&request, attestation.as_deref(), blame.is_some(), correlation_id).await?;
        let now = self.context.clock.now();
        let minted = IssuedCertificate::new(&issued, &metadata, &key, now, now)?;
        if cell.is_refused(minted.binding.thumbprint()) {
            return Err(PlatformError::unusable("it is the one that the token service refused"));
        }
        let minted = Arc::new(minted.at(kept.as_ref().map(StoredCertificate::file)));
        tracing::info!(client_id = %minted.client_id, not_after = %minted.binding.chain().not_after(), "certificate issued");
        cell.put(&minted, blame, now);
        if let Some(kept) = kept {
            kept.write(&issued, now).await?;
        }
        Ok(minted)
    }

    async fn key(&self) -> Result<MachineKey, PlatformError> {
        let key = tokio::time::timeout(KEY_LIMIT, self.keys.key()).await;
        Ok(key.unwrap_or_else(|_| Err(too_slow("gave no key")))?)
    }

    /// The hook's word for the key, where there is a hook.
    async fn attest(
        &self,
        metadata: &PlatformMetadata,
        key: &MachineKey,
    ) -> Result<Option<Arc<Secret>>, PlatformError> {
        let Some(hook) = &self.attestation else { return Ok(None) };
        let endpoint = metadata.attestation_endpoint.clone();
        let request =
            AttestationRequest { endpoint, client_id: metadata.client_id.clone(), key: key.clone() };
        let attested = self.certificates.attested();
        attested.token(hook, request, self.context.clock.now()).await.map(Some)
    }

    async fn signed_request(
        &self,
        metadata: &PlatformMetadata,
        key: &MachineKey,
    ) -> Result<Vec<u8>, PlatformError> {
        let unusable = |error: certbound_core::managed_identity::CertificationRequestError| {
            KeyError::new(error.to_string())
        };
        let request = CertificationRequest::new(metadata, key.public_key()).map_err(unusable)?;
        let (signer, message) = (key.clone(), request.to_be_signed().to_vec());
        // A key in hardware takes its time.
        let signed = tokio::time::timeout(KEY_LIMIT, blocking(move || signer.sign(&message))).await;
        let signature = signed.map_err(|_| too_slow("did not sign"))???;
        Ok(request.with_signature(&signature).map_err(unusable)?)
    }

    /// The certificate of an earlier process, or of one that was faster, if it is still good.
    async fn found(
        &self,
        kept: &StoredCertificate,
        metadata: &PlatformMetadata,
        key: &MachineKey,
    ) -> Result<Option<Arc<IssuedCertificate>>, PlatformError> {
        let Some((credential, issued_at)) = kept.read().await? else { return Ok(None) };
        let now = self.context.clock.now();
        // A clock that was set back must not make it young.
        let minted = IssuedCertificate::new(&credential, metadata, key, issued_at.min(now), now);
        Ok(match minted {
            Ok(minted) if minted.is_fresh(now) => Some(Arc::new(minted.at(Some(kept.file())))),
            Ok(_) => None,
            Err(error) => {
                kept.ignored(&error);
                None
            }
        })
    }
}

fn too_slow(what: &str) -> KeyError {
    KeyError::new(format!("the key store {what} within {} s", KEY_LIMIT.as_secs()))
}
