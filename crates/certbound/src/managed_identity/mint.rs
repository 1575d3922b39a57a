//! One certificate of a machine: asked for, and looked at before it is used.

use std::sync::Arc;

use certbound_core::certificate::Thumbprint;
use certbound_core::endpoint::TokenEndpoint;
use certbound_core::managed_identity::{CertificationRequest, IssuedCredential, PlatformMetadata};
use certbound_core::time::UnixTime;

use super::Machine;
use super::attestation::AttestationRequest;
use super::certificates::{Minted, Name, lock};
use super::error::PlatformError;
use super::kept::Kept;
use super::keys::MachineKey;
use crate::binding::Binding;
use crate::certificate::BindingCertificate;
use crate::correlation::CorrelationId;

impl Machine {
    /// Asks the platform. The identity may turn out to be one that has a certificate already, by another name. `not` is one
    /// that is to be replaced, because it was refused or has grown old.
    pub(super) async fn mint(
        &self,
        asked: &Name,
        not: Option<Thumbprint>,
        refused: bool,
        correlation_id: CorrelationId,
    ) -> Result<Arc<Minted>, PlatformError> {
        let metadata = self.metadata(correlation_id).await?;
        let canonical = self.name(format!("={}", metadata.client_id));
        let turn = self.certificates.turn(&canonical);
        let _mine = turn.lock().await;
        let slot = self.certificates.slot(asked, &canonical);
        // Which identity a name means can have changed.
        *lock(&self.slot) = Some(Arc::clone(&slot));
        // Renewal asks for another one than the one there is; anybody else takes it.
        let another = |known: &Arc<Minted>| not != Some(known.binding.thumbprint());
        if let Some(known) = slot.kept(self.clock.now()).filter(another) {
            return Ok(known);
        }
        let kept = self.kept(&canonical, &metadata).await?;
        let key = self.keys.key().await?;
        if let Some(found) = &kept
            && let Some(minted) = self.found(found, &metadata, &key).await?.filter(another)
        {
            slot.put(&minted);
            return Ok(minted);
        }
        let attestation = match &self.attestation {
            None => None,
            Some(hook) => {
                let endpoint = metadata.attestation_endpoint.clone();
                let request =
                    AttestationRequest { endpoint, client_id: metadata.client_id.clone(), key: key.clone() };
                Some(hook.token(&request, self.clock.now()).await?)
            }
        };
        let request = CertificationRequest::new(&metadata, key.public_key());
        let request = request.map_err(|error| unusable(&error.to_string()))?;
        let (signer, message) = (key.clone(), request.to_be_signed().to_vec());
        // A key in hardware takes its time.
        let signed = tokio::task::spawn_blocking(move || signer.sign(&message)).await;
        let signature = signed.map_err(|_| PlatformError::ShuttingDown)??;
        let request = request.with_signature(&signature).map_err(|error| unusable(&error.to_string()))?;
        let issued = self.issue(&request, attestation.as_deref(), refused, correlation_id).await?;
        let minted = Arc::new(Minted::new(&issued, &metadata, &key, self.clock.now())?);
        tracing::info!(client_id = %minted.client_id, not_after = %minted.binding.chain().not_after(), "certificate issued");
        // One that ends within a day is used, and not kept.
        if minted.is_good_at(minted.minted_at) {
            slot.put(&minted);
            if let Some(kept) = kept {
                kept.write(&issued, minted.minted_at).await?;
            }
        }
        Ok(minted)
    }

    /// The certificate of an earlier process, or of one that was faster, if it is still good.
    async fn found(
        &self,
        kept: &Kept,
        metadata: &PlatformMetadata,
        key: &MachineKey,
    ) -> Result<Option<Arc<Minted>>, PlatformError> {
        let Some((credential, minted_at)) = kept.read().await? else { return Ok(None) };
        let now = self.clock.now();
        // A clock that was set back must not make it young.
        let minted = Minted::new(&credential, metadata, key, minted_at.min(now));
        Ok(match minted {
            Ok(minted) if minted.is_good_at(now) => Some(Arc::new(minted)),
            Ok(_) => None,
            Err(error) => {
                kept.ignored(&error);
                None
            }
        })
    }
}

impl Minted {
    /// Looks at what was issued before it is used: for this identity, this key, and now.
    fn new(
        issued: &IssuedCredential,
        metadata: &PlatformMetadata,
        key: &MachineKey,
        at: UnixTime,
    ) -> Result<Self, PlatformError> {
        if issued.client_id != metadata.client_id || issued.tenant_id != metadata.tenant_id {
            return Err(unusable("it is for another identity than the one asked for"));
        }
        let certificate = BindingCertificate::from_der_and_key(issued.certificate.clone(), key.in_tls());
        let certificate = certificate.map_err(|error| PlatformError::certificate(&error))?;
        let names_identity = format!("CN={}", issued.client_id);
        if !certificate.chain().subject().split(", ").any(|part| part.eq_ignore_ascii_case(&names_identity)) {
            return Err(unusable("its subject is not the identity"));
        }
        if certificate.chain().not_after() <= at {
            return Err(unusable("it is over already"));
        }
        let endpoint = TokenEndpoint::of_machine(issued);
        let binding = Binding::new(certificate);
        Ok(Self { binding, client_id: issued.client_id.clone(), endpoint, minted_at: at })
    }
}

fn unusable(reason: &str) -> PlatformError {
    PlatformError::Certificate { reason: reason.to_owned() }
}
