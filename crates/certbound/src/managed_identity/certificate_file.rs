//! A file with an issued certificate, which the next process reads.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_core::certificate::Thumbprint;
use certbound_core::managed_identity::{IssuedCredential, PlatformMetadata};
use certbound_core::time::UnixTime;
use serde_json::{Value, json};

use super::Machine;
use super::certificates::Name;
use crate::clock::Clock;
use crate::error::{PlatformError, StateError};
use crate::state::{Lock, StateDirectory};

/// The version of the form. Files of other versions are not used.
const VERSION: u64 = 1;
/// The interval and the number of attempts to take the lock while another process requests a certificate. All attempts
/// take one minute.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 1200;

/// The number of attempts to take the lock when a refused certificate must be removed from the file. All attempts take
/// one second. A process that holds the lock for longer writes a new certificate.
const LOOKS_TO_FORGET: u32 = 20;

/// The file of one identity's certificate.
pub(super) struct CertificateFile {
    state: StateDirectory,
    file: String,
    /// The facts that the certificate in the file must have.
    label: Value,
}

/// The file with its lock. Without the lock nothing is written to the file.
pub(super) struct StoredCertificate {
    at: Arc<CertificateFile>,
    lock: Option<Arc<Lock>>,
}

impl Machine {
    /// Returns the file of an identity's certificate, if a folder is set. The function waits at most one minute while
    /// another process holds the lock.
    pub(super) async fn stored_certificate(
        &self,
        name: &Name,
        metadata: &PlatformMetadata,
    ) -> Result<Option<StoredCertificate>, PlatformError> {
        let Some(state) = self.certificates.state() else { return Ok(None) };
        let label = json!({
            "version": VERSION, "machine": name.machine, "compute_unit": metadata.cu_id.to_json(),
            "identity": name.identity, "attested": name.attested, "strength": name.strength.to_string(),
        });
        let hash = digest::digest(&digest::SHA256, label.to_string().as_bytes());
        let hash: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let file = format!("certificate-{hash}.json");
        let at = Arc::new(CertificateFile { state: state.clone(), file, label });
        for _ in 0..LOOKS {
            let file = Arc::clone(&at);
            let locked = blocking(move || file.state.check().and_then(|()| file.state.try_lock(&file.file)));
            if let Some(lock) = locked.await?? {
                return Ok(Some(StoredCertificate { at, lock: Some(Arc::new(lock)) }));
            }
            self.context.clock.wait(LOOK).await;
        }
        // If the other process hangs, this process must continue. A certificate that it requests now is not written to
        // the file.
        at.ignored(&"another process has held the lock of the file for a minute");
        Ok(Some(StoredCertificate { at, lock: None }))
    }
}

impl CertificateFile {
    /// Removes the file if it contains the refused certificate. An error is only logged, because the next reader with
    /// the lock refuses the certificate again.
    pub(super) async fn forget(self: &Arc<Self>, refused: Thumbprint, clock: &dyn Clock) {
        for _ in 0..LOOKS_TO_FORGET {
            let this = Arc::clone(self);
            match blocking(move || this.forget_now(refused)).await {
                Ok(Ok(false)) => clock.wait(LOOK).await,
                Ok(Ok(true)) | Err(_) => return,
                Ok(Err(error)) => return self.ignored(&error),
            }
        }
    }

    /// Removes the file if it contains the refused certificate. Returns false if another process holds the
    /// lock.
    fn forget_now(&self, refused: Thumbprint) -> Result<bool, StateError> {
        self.state.check()?;
        let Some(lock) = self.state.try_lock(&self.file)? else { return Ok(false) };
        let held = self.state.read(&self.file).and_then(|content| self.parse(&content));
        if held.is_some_and(|(credential, _)| Thumbprint::of_der(&credential.certificate) == refused) {
            self.state.remove(&self.file, &lock);
        }
        Ok(true)
    }

    fn ignored(&self, why: &dyn std::fmt::Display) {
        self.state.ignored(&self.file, why);
    }

    fn parse(&self, content: &[u8]) -> Option<(IssuedCredential, UnixTime)> {
        let mut members: Value = serde_json::from_slice(content).ok()?;
        let members = members.as_object_mut()?;
        let issued_at = members.remove("minted_at")?.as_u64()?;
        let credential = members.remove("credential")?;
        let ours = self.label.as_object() == Some(members);
        let credential = IssuedCredential::parse(credential.to_string().as_bytes()).ok()?;
        ours.then_some((credential, UnixTime::from_secs(issued_at)))
    }
}

impl StoredCertificate {
    pub(super) fn file(&self) -> Arc<CertificateFile> {
        Arc::clone(&self.at)
    }

    /// Returns the certificate of the file, and the time at which it was issued.
    pub(super) async fn read(&self) -> Result<Option<(IssuedCredential, UnixTime)>, PlatformError> {
        let at = self.file();
        let Some(content) = blocking(move || at.state.read(&at.file)).await? else { return Ok(None) };
        let read = self.at.parse(&content);
        if read.is_none() {
            self.ignored(&"it is damaged, has a different version, or belongs to a different machine");
        }
        Ok(read)
    }

    /// Logs that the content of the file is not used.
    pub(super) fn ignored(&self, why: &dyn std::fmt::Display) {
        self.at.ignored(why);
    }

    /// Removes the file.
    pub(super) async fn remove(&self) -> Result<(), PlatformError> {
        let Some(lock) = self.lock.clone() else { return Ok(()) };
        let at = self.file();
        blocking(move || at.state.remove(&at.file, &lock)).await
    }

    /// Writes a certificate to the file. A failure is only logged, because the certificate in memory can be used.
    pub(super) async fn write(
        &self,
        credential: &IssuedCredential,
        issued_at: UnixTime,
    ) -> Result<(), PlatformError> {
        let Some(lock) = self.lock.clone() else { return Ok(()) };
        let mut content = self.at.label.clone();
        content["minted_at"] = issued_at.as_secs().into();
        content["credential"] = json!({
            "client_id": credential.client_id, "tenant_id": credential.tenant_id,
            "certificate": STANDARD.encode(&credential.certificate), "identity_type": credential.identity_type,
            "mtls_authentication_endpoint": credential.mtls_endpoint,
        });
        let at = self.file();
        blocking(move || at.state.write(&at.file, content.to_string().as_bytes(), &lock)).await
    }
}

/// Runs `work` on a thread for blocking work, such as reading files and signing.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PlatformError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| PlatformError::ShuttingDown)
}
