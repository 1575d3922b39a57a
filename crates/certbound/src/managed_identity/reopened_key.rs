//! The same key of a machine with a new handle, such as the key of a hardware token that was taken out and put back.

use std::sync::Arc;

use super::Machine;
use super::certificates::Name;
use super::in_use::without_result;
use super::issued_certificate::IssuedCertificate;
use super::mint_reason::MintReason;
use crate::cache::single_flight::{Load, SingleFlight, this_runtime};
use crate::certificate::{BindingCertificate, KeyId};
use crate::correlation::CorrelationId;
use crate::error::PlatformError;

/// Running requests to key providers for a different handle, by the identity's name and the handle that did not sign.
/// Callers in different runtimes do not share a request; `MintKey` explains the reason.
pub(super) type Openings =
    SingleFlight<(Name, KeyId, Option<tokio::runtime::Id>), Option<Arc<IssuedCertificate>>>;

impl Machine {
    /// Returns the certificate `known` with a new handle of its key, after the handle of `known` did not sign. If the
    /// provider has a different key, the result is a new certificate. The result is `None` if the provider returns no
    /// key, or the same handle again. An error is logged. All callers that wait share one request to the provider.
    pub(super) async fn with_new_handle(
        self: &Arc<Self>,
        known: &BindingCertificate,
        correlation_id: CorrelationId,
    ) -> Option<Arc<IssuedCertificate>> {
        if let Some(found) = self.find_certificate(known.thumbprint()).filter(|it| is_other(it, known)) {
            return Some(found);
        }
        let key = (self.requested_name(), known.key_id(), this_runtime());
        let (machine, known) = (Arc::clone(self), known.clone());
        let load = move || -> Load<_> {
            Box::pin(async move {
                let opened = machine.opened_anew(&known, correlation_id).await;
                opened.unwrap_or_else(|error| not_opened(&error))
            })
        };
        let (opened, _) = self.certificates.openings().run(key, load).await;
        opened.unwrap_or_else(|failure| not_opened(&without_result(failure)))
    }

    /// Asks the provider for its key. The result is `None` if the provider returns the same handle as before.
    async fn opened_anew(
        self: &Arc<Self>,
        known: &BindingCertificate,
        correlation_id: CorrelationId,
    ) -> Result<Option<Arc<IssuedCertificate>>, PlatformError> {
        let key = self.key().await?;
        let Some(cell) = self.known_cell() else { return Ok(None) };
        let find = || cell.find(known.thumbprint(), self.context.clock.now());
        let Some(found) = find() else { return self.certificate(None, correlation_id).await.map(Some) };
        // A request for another certificate, or a caller in another runtime, may have opened the key in the meantime.
        if is_other(&found, known) {
            return Ok(Some(found));
        }
        if key.is_same_handle(found.key()) {
            return Ok(None);
        }
        if key.public_key() == found.key().public_key() {
            cell.reopen(&key);
            return Ok(find());
        }
        self.shared_mint(Some(known.thumbprint()), MintReason::Needed, correlation_id).await.map(Some)
    }
}

/// Returns whether a certificate has a handle of the key other than the handle that did not sign.
fn is_other(found: &IssuedCertificate, known: &BindingCertificate) -> bool {
    found.binding.key_id() != known.key_id()
}

fn not_opened(error: &PlatformError) -> Option<Arc<IssuedCertificate>> {
    tracing::warn!(%error, "the key of the machine could not be opened again");
    None
}
