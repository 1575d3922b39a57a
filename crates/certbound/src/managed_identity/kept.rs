//! An issued certificate as a file, which the next process finds.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_core::managed_identity::{IssuedCredential, PlatformMetadata};
use certbound_core::time::UnixTime;
use serde_json::{Value, json};

use super::Machine;
use super::certificates::Name;
use super::error::PlatformError;
use crate::state::{Lock, StateDirectory};

/// The form that is written, and the only one that is read.
const VERSION: u64 = 1;
/// How often, and how many times, the right to mint is asked for while another process mints: for a minute.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 1200;

/// The file of one identity's certificate, held by this process alone.
pub(super) struct Kept {
    state: StateDirectory,
    file: String,
    /// Whose certificate it must be.
    label: Value,
    lock: Option<Arc<Lock>>,
}

impl Machine {
    /// The file of an identity's certificate, where there is a folder for it; another process that mints is waited for.
    pub(super) async fn kept(
        &self,
        name: &Name,
        metadata: &PlatformMetadata,
    ) -> Result<Option<Kept>, PlatformError> {
        let Some(state) = self.certificates.state() else { return Ok(None) };
        let (base, identity, attested) = name;
        let label = json!({
            "version": VERSION, "machine": base, "compute_unit": metadata.cu_id.to_json(),
            "identity": identity, "attested": attested,
        });
        let hash = digest::digest(&digest::SHA256, label.to_string().as_bytes());
        let hash: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut kept =
            Kept { state: state.clone(), file: format!("certificate-{hash}.json"), label, lock: None };
        for _ in 0..LOOKS {
            let (state, file) = (state.clone(), kept.file.clone());
            let locked = blocking(move || state.check().and_then(|()| state.try_lock(&file))).await?;
            if let Some(lock) = locked? {
                kept.lock = Some(Arc::new(lock));
                return Ok(Some(kept));
            }
            self.clock.wait(LOOK).await;
        }
        // One that hangs must not stop everybody; what is minted now stays in memory.
        kept.state.ignored(&kept.file, &"another process has held its lock for a minute");
        Ok(Some(kept))
    }
}

impl Kept {
    /// What it holds, and since when.
    pub(super) async fn read(&self) -> Result<Option<(IssuedCredential, UnixTime)>, PlatformError> {
        let (state, file) = (self.state.clone(), self.file.clone());
        let Some(content) = blocking(move || state.read(&file)).await? else { return Ok(None) };
        let read = self.parse(&content);
        if read.is_none() {
            self.ignored(&"it is damaged, or of another version or machine");
        }
        Ok(read)
    }

    /// Says that what it holds is not used.
    pub(super) fn ignored(&self, why: &dyn std::fmt::Display) {
        self.state.ignored(&self.file, why);
    }

    fn parse(&self, content: &[u8]) -> Option<(IssuedCredential, UnixTime)> {
        let mut members: Value = serde_json::from_slice(content).ok()?;
        let members = members.as_object_mut()?;
        let minted_at = members.remove("minted_at")?.as_u64()?;
        let credential = members.remove("credential")?;
        let ours = self.label.as_object() == Some(members);
        let credential = IssuedCredential::parse(credential.to_string().as_bytes()).ok()?;
        ours.then_some((credential, UnixTime::from_secs(minted_at)))
    }

    /// Keeps a certificate. A failure is logged: the certificate is as good in memory.
    pub(super) async fn write(
        &self,
        credential: &IssuedCredential,
        minted_at: UnixTime,
    ) -> Result<(), PlatformError> {
        let Some(lock) = self.lock.clone() else { return Ok(()) };
        let mut content = self.label.clone();
        content["minted_at"] = minted_at.as_secs().into();
        content["credential"] = json!({
            "client_id": credential.client_id, "tenant_id": credential.tenant_id,
            "certificate": STANDARD.encode(&credential.certificate), "identity_type": credential.identity_type,
            "mtls_authentication_endpoint": credential.mtls_endpoint,
        });
        let (state, file) = (self.state.clone(), self.file.clone());
        blocking(move || state.write(&file, content.to_string().as_bytes(), &lock)).await?;
        Ok(())
    }
}

/// Files are not for the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PlatformError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| PlatformError::ShuttingDown)
}
