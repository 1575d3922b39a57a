//! The same key of a machine with a new handle, such as the key of a hardware token that was taken out and put back.

use std::sync::Arc;

use super::Machine;
use super::issued_certificate::IssuedCertificate;
use super::mint_reason::MintReason;
use crate::correlation::CorrelationId;
use crate::error::Error;

impl Machine {
    /// Returns the certificate with a key that the provider opened anew, if `error` says that the handle of the key in
    /// `certificate` does not sign any more. If the provider has another key, the result is a new certificate. The
    /// result is `None` if the provider returns the handle that failed.
    pub(super) async fn reopened_after(
        self: &Arc<Self>,
        certificate: &IssuedCertificate,
        error: &Error,
        correlation_id: CorrelationId,
    ) -> Option<Arc<IssuedCertificate>> {
        if !error.is_of_signer() {
            return None;
        }
        let (cell, thumbprint) = (self.known_cell()?, certificate.binding.thumbprint());
        // Another caller may have opened the key in the meantime.
        let now = self.context.clock.now();
        let other = |found: &Arc<IssuedCertificate>| found.binding.key_id() != certificate.binding.key_id();
        if let Some(found) = cell.find(thumbprint, now).filter(other) {
            return Some(found);
        }
        let key = self
            .key()
            .await
            .inspect_err(|error| tracing::warn!(%error, "the key could not be opened again"))
            .ok()?;
        if key.is_same_handle(certificate.key()) {
            return None;
        }
        if key.public_key() == certificate.key().public_key() {
            cell.reopen(&key);
            return cell.find(thumbprint, now);
        }
        self.shared_mint(Some(thumbprint), MintReason::Needed, correlation_id).await.ok()
    }
}
