//! The certificate that a machine uses: its lookup, its renewal, and its replacement after a refusal.

use std::sync::Arc;

use certbound_core::certificate::Thumbprint;
use certbound_core::refusal::recovery::CertificateAction;
use certbound_core::time::UnixTime;
use tracing::Instrument as _;

use super::Machine;
use super::call::blame;
use super::certificate_cell::CertificateCell;
use super::certificates::{KeyName, Name};
use super::issued_certificate::IssuedCertificate;
use super::keys::MachineKey;
use super::mint_reason::MintReason;
use crate::acquire::issuer::Wish;
use crate::background::Background;
use crate::cache::Kind;
use crate::cache::single_flight::{Load, LoadFailure, this_runtime};
use crate::certificate::{BindingCertificate, Blame};
use crate::correlation::CorrelationId;
use crate::error::{Error, KeyError, Leg, PlatformError};
use crate::span;

impl Machine {
    /// Returns the thumbprint of the certificate for a cache lookup, if it is known without waiting. Starts the renewal
    /// if the renewal is due. Every cache hit with a certificate calls this function. After the cell was found once,
    /// the function takes no lock.
    pub(crate) fn current_thumbprint(self: &Arc<Self>, now: UnixTime) -> Option<Thumbprint> {
        self.check_binds().ok()?;
        match self.cell.load().as_deref() {
            Some(cell) => self.thumbprint_in_cell(cell, now),
            None => self.thumbprint_in_cell(&*self.find_cell()?, now),
        }
    }

    fn thumbprint_in_cell(self: &Arc<Self>, cell: &CertificateCell, now: UnixTime) -> Option<Thumbprint> {
        let current = cell.current();
        let certificate = current.as_ref().filter(|certificate| certificate.is_usable(now))?;
        if certificate.is_to_be_renewed(now) {
            self.renew(cell, certificate, now);
        }
        Some(certificate.binding.thumbprint())
    }

    /// Returns the certificate `known` with the current handle of its key, if `known` has a different handle. `known`
    /// can be an earlier certificate.
    pub(super) fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        let cell = self.cell.load();
        let cell = cell.as_ref()?;
        let reopened = |certificate: &IssuedCertificate| {
            let binding = &certificate.binding;
            binding.is_reopening_of(known).then(|| binding.clone())
        };
        if let Some(current) = cell.current().as_ref()
            && current.binding.thumbprint() == known.thumbprint()
        {
            return reopened(current);
        }
        // A valid token can be bound to an earlier certificate.
        reopened(&*cell.find(known.thumbprint(), self.context.clock.now())?)
    }

    /// Returns the certificate of [`Machine::current_thumbprint`].
    pub(super) fn usable_certificate(self: &Arc<Self>, now: UnixTime) -> Option<Arc<IssuedCertificate>> {
        self.current_thumbprint(now)?;
        self.known_cell()?.usable(now)
    }

    /// Returns the certificate for new tokens, if it is fresh. Starts the renewal if the renewal is due.
    ///
    /// # Errors
    /// The errors of [`Machine::check_binds`].
    pub(super) fn ready(self: &Arc<Self>) -> Result<Option<Arc<IssuedCertificate>>, PlatformError> {
        self.check_binds()?;
        let now = self.context.clock.now();
        let Some(cell) = self.known_cell() else { return Ok(None) };
        let certificate = cell.fresh(now);
        if let Some(certificate) =
            certificate.as_ref().filter(|certificate| certificate.is_to_be_renewed(now))
        {
            self.renew(&cell, certificate, now);
        }
        Ok(certificate)
    }

    /// Returns the certificate with this thumbprint until it expires.
    pub(super) fn find_certificate(&self, thumbprint: Thumbprint) -> Option<Arc<IssuedCertificate>> {
        self.known_cell()?.find(thumbprint, self.context.clock.now())
    }

    /// Returns the thumbprints of the earlier certificates, newest first. Their tokens can still be valid.
    pub(super) fn earlier(&self) -> Vec<Thumbprint> {
        self.known_cell().map(|cell| cell.earlier(self.context.clock.now())).unwrap_or_default()
    }

    /// Returns the fresh certificate for new tokens, or requests a new certificate. `not` names a certificate that is
    /// not returned, with the reason to replace it. During an outage, the result is the current certificate until it
    /// expires.
    pub(super) async fn certificate(
        self: &Arc<Self>,
        not: Option<(Thumbprint, MintReason)>,
        correlation_id: CorrelationId,
    ) -> Result<Arc<IssuedCertificate>, PlatformError> {
        let (not, reason) = not.unzip();
        let fits = |certificate: &Arc<IssuedCertificate>| not != Some(certificate.binding.thumbprint());
        if let Some(certificate) = self.ready()?.filter(fits) {
            return Ok(certificate);
        }
        // A caller whose certificate is not fresh any more joins the renewal of that certificate.
        let present = self.known_cell().and_then(|cell| cell.usable(self.context.clock.now()));
        let old = not.or_else(|| Some(present.as_ref()?.binding.thumbprint()));
        match self.shared_mint(old, reason.unwrap_or(MintReason::Needed), correlation_id).await {
            Err(error) if error.is_transient() => present.filter(fits).ok_or(error),
            result => result,
        }
    }

    /// Sends one request for a certificate for all callers that wait for the certificate.
    pub(super) async fn shared_mint(
        self: &Arc<Self>,
        not: Option<Thumbprint>,
        reason: MintReason,
        correlation_id: CorrelationId,
    ) -> Result<Arc<IssuedCertificate>, PlatformError> {
        let machine = Arc::clone(self);
        let load = move || -> Load<_> {
            Box::pin(async move {
                let span = span::certificate(correlation_id);
                let issued = machine.mint(not, reason, correlation_id).instrument(span.clone()).await;
                if let Err(error) = &issued {
                    span::failed(&span, error.code());
                }
                issued
            })
        };
        let key = (self.requested_name(), not, reason, this_runtime());
        let (issued, _) = self.certificates.mints().run(key, load).await;
        issued.unwrap_or_else(|failure| Err(without_result(failure)))
    }

    /// Returns whether a request for a token of this kind presents the certificate of the machine.
    pub(super) fn presents(&self, kind: Kind) -> bool {
        kind == Kind::Bound || self.bearer_over_mtls
    }

    /// Returns an error, before any request, if the source issues no certificates, if the environment disables version
    /// 2 of IMDS, or if the key is too weak.
    pub(crate) fn check_binds(&self) -> Result<(), PlatformError> {
        let origin = self.endpoint.origin();
        if !origin.binds() {
            return Err(PlatformError::SourceCannotBind { origin });
        }
        if self.imds_v2_disabled {
            return Err(PlatformError::ImdsV2Disabled { required: self.min_strength });
        }
        let actual = self.strength;
        match self.min_strength.filter(|required| actual < *required) {
            Some(required) => Err(PlatformError::Strength { actual, required }),
            None => Ok(()),
        }
    }

    /// Renews the certificate in the background. Until the renewal succeeds, callers use the old certificate. An error
    /// is only logged. Callers get an error when the old certificate can no longer be used.
    #[cold]
    fn renew(self: &Arc<Self>, cell: &CertificateCell, certificate: &IssuedCertificate, now: UnixTime) {
        if !cell.take_renewal(now) {
            return;
        }
        let (machine, old) = (Arc::clone(self), certificate.binding.thumbprint());
        Background::spawn(&self.context.background, async move {
            let Err(error) =
                machine.shared_mint(Some(old), MintReason::Needed, CorrelationId::random()).await
            else {
                return;
            };
            if let Some(cell) = machine.known_cell() {
                cell.renewal_failed(
                    machine.context.clock.now(),
                    machine.context.cache.begin_request().random,
                );
            }
            tracing::warn!(%error, "the machine's certificate could not be renewed yet");
        });
    }

    /// Returns a certificate other than `certificate`, if `error` blames `certificate`. If the handle of its key did
    /// not sign, the result is the same certificate with a new handle.
    ///
    /// # Errors
    /// `error` itself, if it does not blame the certificate, if the pause after a replacement allows no new
    /// certificate, or if the key has no new handle. Otherwise returns the error of the request for a new certificate.
    pub(super) async fn replacement_after(
        self: &Arc<Self>,
        certificate: &IssuedCertificate,
        error: Error,
        leg: Option<Leg>,
        correlation_id: CorrelationId,
    ) -> Result<Arc<IssuedCertificate>, Error> {
        let Some(why) = Blame::of_machine(&error) else { return Err(error) };
        // The future is boxed because this case is rare.
        let replacement = Box::pin(self.replacement(&certificate.binding, why, correlation_id));
        replacement.await.map_err(blame(leg))?.ok_or(error)
    }

    /// Returns a certificate other than the blamed certificate. The result is a certificate that another caller
    /// obtained in the meantime, or a new certificate. No new certificate is requested in the pause after a replacement
    /// (three minutes to one day). If only the handle of the key did not sign, the result is the same certificate with
    /// a different handle.
    pub(super) async fn replacement(
        self: &Arc<Self>,
        blamed: &BindingCertificate,
        blame: Blame,
        correlation_id: CorrelationId,
    ) -> Result<Option<Arc<IssuedCertificate>>, PlatformError> {
        let Some(reason) = MintReason::of(blame) else {
            return Ok(self.with_new_handle(blamed, correlation_id).await);
        };
        let blamed = blamed.thumbprint();
        // The pause is read before the certificate. Otherwise a certificate that another caller stores in between would
        // not be returned.
        let pauses =
            self.known_cell().is_some_and(|cell| cell.was_just_replaced(reason, self.context.clock.now()));
        if pauses {
            return Ok(self.ready()?.filter(|certificate| certificate.binding.thumbprint() != blamed));
        }
        self.certificate(Some((blamed, reason)), correlation_id).await.map(Some)
    }

    /// Returns a new certificate, if the table of recoveries demands it for `wish`. The result is `current` if it was
    /// issued during the acquisition, or if no certificate can be obtained because of an outage. A `current` that is
    /// not fresh proves an outage: the acquisition has just requested a new certificate without success. The result is
    /// also `current` if an earlier forced refresh requested it and no token was issued with it yet. Otherwise an
    /// outage of the token service would produce a certificate for each call, and the tokens of the first certificates
    /// would no longer be found.
    pub(super) async fn renewed_for(
        self: &Arc<Self>,
        wish: Wish,
        current: Arc<IssuedCertificate>,
        correlation_id: CorrelationId,
    ) -> Result<Arc<IssuedCertificate>, PlatformError> {
        let is_new = current.was_issued_after(wish.issued_before) || current.waits_for_token();
        let is_of_outage = !current.is_fresh(self.context.clock.now());
        if is_new || is_of_outage || wish.why.recovery().machine != CertificateAction::Renew {
            return Ok(current);
        }
        let old = current.binding.thumbprint();
        match self.shared_mint(Some(old), MintReason::Forced, correlation_id).await {
            Err(error) if error.is_transient() && current.is_usable(self.context.clock.now()) => {
                tracing::warn!(%error, "no new certificate was issued for a forced refresh; the certificate in use is used");
                Ok(current)
            }
            result => result,
        }
    }

    /// Handles the blame of an error. A refused certificate is not presented again, even if there is no other
    /// certificate.
    pub(super) async fn blamed(&self, certificate: &IssuedCertificate, error: &Error) {
        if error.failure().is_some_and(|failure| failure.recovery().attests_again) {
            self.certificates.attested().forget(certificate.binding.chain().public_key_info());
        }
        if let Some(Blame::Refused { .. }) = Blame::of_machine(error) {
            self.refuse(certificate.binding.thumbprint()).await;
        }
    }

    /// Removes a certificate from memory and from its file.
    pub(super) async fn refuse(&self, thumbprint: Thumbprint) {
        let refused = self.known_cell().and_then(|cell| cell.refuse(thumbprint));
        if let Some(file) = refused.and_then(|certificate| certificate.file.clone()) {
            file.forget(thumbprint, &*self.context.clock).await;
        }
    }

    /// Returns the cell of this identity's certificate, if it is known.
    pub(super) fn known_cell(&self) -> Option<Arc<CertificateCell>> {
        self.cell.load_full().or_else(|| self.find_cell())
    }

    #[cold]
    fn find_cell(&self) -> Option<Arc<CertificateCell>> {
        let cell = self.certificates.find(&self.requested_name())?;
        self.cell.store(Some(Arc::clone(&cell)));
        Some(cell)
    }

    pub(super) fn requested_name(&self) -> Name {
        self.name(self.id.to_string(), KeyName::Provider(self.provider))
    }

    pub(super) fn canonical(&self, client_id: &str, key: &MachineKey) -> Name {
        self.name(format!("={client_id}"), KeyName::of(key))
    }

    fn name(&self, identity: String, key: KeyName) -> Name {
        Name {
            machine: self.endpoint.base().to_owned(),
            identity,
            attested: self.attestation.is_some(),
            strength: self.strength,
            key,
        }
    }
}

/// Returns the error of a request for a key or a certificate that ended without a result.
pub(super) fn without_result(failure: LoadFailure) -> PlatformError {
    match failure {
        LoadFailure::Panicked => KeyError::new("the key provider or the attestation hook panicked").into(),
        LoadFailure::RuntimeEnded => PlatformError::ShuttingDown,
    }
}
