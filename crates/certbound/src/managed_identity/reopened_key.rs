//! The same key of a machine with a new handle, such as the key of a hardware token that was taken out and put back.

use std::sync::Arc;

use super::Machine;
use super::issued_certificate::IssuedCertificate;
use super::mint_reason::MintReason;
use crate::certificate::BindingCertificate;
use crate::correlation::CorrelationId;

impl Machine {
    /// Returns the certificate `known` with a new handle of its key, after the handle of `known` did not sign. If the
    /// provider has another key, the result is a new certificate. The result is `None` if the provider returns no key, or
    /// the handle that did not sign.
    pub(super) async fn with_new_handle(
        self: &Arc<Self>,
        known: &BindingCertificate,
        correlation_id: CorrelationId,
    ) -> Option<Arc<IssuedCertificate>> {
        let (cell, thumbprint) = (self.known_cell()?, known.thumbprint());
        let find = || cell.find(thumbprint, self.context.clock.now());
        // Another caller may have opened the key in the meantime.
        let other = |found: &Arc<IssuedCertificate>| found.binding.key_id() != known.key_id();
        if let Some(found) = find().filter(other) {
            return Some(found);
        }
        let key = self.key().await;
        let key =
            key.inspect_err(|error| tracing::warn!(%error, "the key could not be opened again")).ok()?;
        let Some(found) = find() else { return self.certificate(None, correlation_id).await.ok() };
        if key.is_same_handle(found.key()) {
            return None;
        }
        if key.public_key() == found.key().public_key() {
            cell.reopen(&key);
            return find();
        }
        self.shared_mint(Some(thumbprint), MintReason::Needed, correlation_id).await.ok()
    }
}
