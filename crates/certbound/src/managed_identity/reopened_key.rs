//! The same key of a machine with a new handle, such as the key of a hardware token that was taken out and put back.

use std::sync::Arc;

use certbound_core::certificate::Thumbprint;

use super::Machine;
use super::certificate_cell::CertificateCell;
use super::issued_certificate::IssuedCertificate;
use super::mint::TURN_LIMIT;
use super::mint_reason::MintReason;
use crate::certificate::BindingCertificate;
use crate::correlation::CorrelationId;
use crate::error::PlatformError;

impl Machine {
    /// Returns the certificate `known` with a new handle of its key, after the handle of `known` did not sign. If the
    /// provider has another key, the result is a new certificate. The result is `None` if the provider returns no key, or
    /// the handle that did not sign. An error is logged. All callers that wait share one request to the provider.
    pub(super) async fn with_new_handle(
        self: &Arc<Self>,
        known: &BindingCertificate,
        correlation_id: CorrelationId,
    ) -> Option<Arc<IssuedCertificate>> {
        let (cell, thumbprint) = (self.known_cell()?, known.thumbprint());
        let (begun, opening) = (cell.opened(), cell.opening());
        let turn = tokio::time::timeout(TURN_LIMIT, opening.lock()).await;
        if turn.is_err() {
            // The owner's runtime does not poll its tasks. The owner's lock must not block later callers.
            cell.give_up_opening(&opening);
        }
        // Another caller may have opened the key in the meantime.
        let other = |found: &Arc<IssuedCertificate>| found.binding.key_id() != known.key_id();
        if let Some(found) = cell.find(thumbprint, self.context.clock.now()).filter(other) {
            return Some(found);
        }
        if cell.opened() != begun {
            // What that caller found is valid for this caller too: a certificate for another key, or nothing.
            let key = known.chain().public_key_info();
            let fresh = self.known_cell()?.fresh(self.context.clock.now());
            return fresh.filter(|fresh| fresh.binding.chain().public_key_info() != key);
        }
        let found = self.opened_anew(&cell, thumbprint, correlation_id).await;
        cell.count_opening();
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "the key of the machine could not be opened again");
            None
        })
    }

    /// Asks the provider for its key. The result is `None` if the provider returns the same handle as before.
    async fn opened_anew(
        self: &Arc<Self>,
        cell: &CertificateCell,
        thumbprint: Thumbprint,
        correlation_id: CorrelationId,
    ) -> Result<Option<Arc<IssuedCertificate>>, PlatformError> {
        let find = || cell.find(thumbprint, self.context.clock.now());
        let key = self.key().await?;
        let Some(found) = find() else { return self.certificate(None, correlation_id).await.map(Some) };
        if key.is_same_handle(found.key()) {
            return Ok(None);
        }
        if key.public_key() == found.key().public_key() {
            cell.reopen(&key);
            return Ok(find());
        }
        self.shared_mint(Some(thumbprint), MintReason::Needed, correlation_id).await.map(Some)
    }
}
