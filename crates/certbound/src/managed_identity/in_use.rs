//! The certificate that a machine uses: found, renewed before its time, replaced where it is refused.

use std::sync::Arc;

use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use super::Machine;
use super::blame::{blame_of, blames_attestation};
use super::call::blame;
use super::certificates::{KeyName, Name};
use super::keys::MachineKey;
use super::minted::Minted;
use super::slot::Slot;
use crate::background::Background;
use crate::cache::flight::single::{Load, Panicked};
use crate::cache::flight::this_runtime;
use crate::certificate::Blame;
use crate::correlation::CorrelationId;
use crate::error::{Error, Leg};
use crate::error::{KeyError, PlatformError};

impl Machine {
    /// The certificate that cached tokens are looked up by, when it can be told without waiting, and its renewal begun when it
    /// is time. Every hit asks for it: no lock is taken once the identity is known.
    pub(crate) fn at_hand(self: &Arc<Self>, now: UnixTime) -> Option<Thumbprint> {
        self.check_binds().ok()?;
        match self.slot.look(|slot| self.in_slot(slot, now)) {
            Some(at_hand) => at_hand,
            None => self.in_slot(&*self.find_slot()?, now),
        }
    }

    fn in_slot(self: &Arc<Self>, slot: &Slot, now: UnixTime) -> Option<Thumbprint> {
        let current = slot.current();
        let minted = current.as_ref().filter(|minted| minted.lasts(now))?;
        if minted.is_to_be_renewed(now) {
            self.renew(slot, minted, now);
        }
        Some(minted.binding.thumbprint())
    }

    /// The same as a whole, for what is not a hit.
    pub(super) fn lasting(self: &Arc<Self>, now: UnixTime) -> Option<Arc<Minted>> {
        self.at_hand(now)?;
        self.known_slot()?.lasting(now)
    }

    /// The certificate for new tokens, if there is one, and its renewal begun when it is time.
    ///
    /// # Errors
    /// As [`Machine::check_binds`].
    pub(super) fn ready(self: &Arc<Self>) -> Result<Option<Arc<Minted>>, PlatformError> {
        self.check_binds()?;
        let now = self.clock.now();
        let Some(slot) = self.known_slot() else { return Ok(None) };
        let minted = slot.in_use(now);
        if let Some(minted) = minted.as_ref().filter(|minted| minted.is_to_be_renewed(now)) {
            self.renew(&slot, minted, now);
        }
        Ok(minted)
    }

    /// The very certificate of this name, while it may be used.
    pub(super) fn minted_before(&self, thumbprint: Thumbprint) -> Option<Arc<Minted>> {
        self.known_slot()?.named(thumbprint, self.clock.now())
    }

    /// Certificates before the present one, newest first: their tokens may still live.
    pub(super) fn earlier(&self) -> Vec<Thumbprint> {
        self.known_slot().map(|slot| slot.earlier(self.clock.now())).unwrap_or_default()
    }

    /// The certificate for new tokens, issued if there is none; `not` is one that was refused. While none can be had, the
    /// present one, to its very end.
    pub(super) async fn minted(
        self: &Arc<Self>,
        not: Option<(Thumbprint, Blame)>,
        correlation_id: CorrelationId,
    ) -> Result<Arc<Minted>, PlatformError> {
        let (not, blame) = not.unzip();
        let fits = |minted: &Arc<Minted>| not != Some(minted.binding.thumbprint());
        if let Some(minted) = self.ready()?.filter(fits) {
            return Ok(minted);
        }
        // Whoever finds it too old joins its renewal.
        let present = self.known_slot().and_then(|slot| slot.lasting(self.clock.now()));
        let old = not.or_else(|| Some(present.as_ref()?.binding.thumbprint()));
        match self.fly(old, blame, correlation_id).await {
            Err(error) if error.is_transient() => present.filter(fits).ok_or(error),
            result => result,
        }
    }

    /// One mint, however many wait for it, and one answer to all of them.
    async fn fly(
        self: &Arc<Self>,
        not: Option<Thumbprint>,
        blame: Option<Blame>,
        correlation_id: CorrelationId,
    ) -> Result<Arc<Minted>, PlatformError> {
        let machine = Arc::clone(self);
        let load =
            move || -> Load<_> { Box::pin(async move { machine.mint(not, blame, correlation_id).await }) };
        let panicked = |_: Panicked| KeyError::new("the key provider or the attestation hook panicked");
        let key = (self.asked(), not, blame, this_runtime());
        let landed = self.certificates.flights().board(key, load).await;
        landed.unwrap_or_else(|error| Err(panicked(error).into()))
    }

    /// Refuses what can be refused before any byte.
    pub(crate) fn check_binds(&self) -> Result<(), PlatformError> {
        let origin = self.place.origin();
        if !origin.binds() {
            return Err(PlatformError::SourceCannotBind { origin });
        }
        let actual = self.strength;
        match self.min_strength.filter(|required| actual < *required) {
            Some(required) => Err(PlatformError::Strength { actual, required }),
            None => Ok(()),
        }
    }

    /// Renews in the background. Who asks meanwhile has the old one, also for some minutes after a failure, which shows when
    /// there is none any more.
    #[cold]
    fn renew(self: &Arc<Self>, slot: &Slot, minted: &Minted, now: UnixTime) {
        if !slot.take_renewal(now) {
            return;
        }
        let (machine, old) = (Arc::clone(self), minted.binding.thumbprint());
        Background::spawn(&self.background, async move {
            let Err(error) = machine.fly(Some(old), None, CorrelationId::random()).await else { return };
            if let Some(slot) = machine.known_slot() {
                slot.renewal_failed(machine.clock.now(), machine.cache.begin().random);
            }
            tracing::warn!(%error, "the machine's certificate could not be renewed yet");
        });
    }

    /// Another certificate than `minted`, where `error` blames that.
    ///
    /// # Errors
    /// `error` itself, where it does not, or another one was issued for the same reason just now; and why there is no other.
    pub(super) async fn instead_of(
        self: &Arc<Self>,
        minted: &Minted,
        error: Error,
        leg: Option<Leg>,
        correlation_id: CorrelationId,
    ) -> Result<Arc<Minted>, Error> {
        let Some(of_it) = blame_of(&error) else { return Err(error) };
        // Apart, since it is rare.
        let another = Box::pin(self.another(minted.binding.thumbprint(), of_it, correlation_id));
        another.await.map_err(blame(leg))?.ok_or(error)
    }

    /// Another certificate than one that was blamed: what others had issued for that already, or a new one. None for a while
    /// after it did not help.
    pub(super) async fn another(
        self: &Arc<Self>,
        blamed: Thumbprint,
        blame: Blame,
        correlation_id: CorrelationId,
    ) -> Result<Option<Arc<Minted>>, PlatformError> {
        // Before the certificate: what others put in its place in between is taken.
        let pauses = self.known_slot().is_some_and(|slot| slot.was_just_replaced(blame, self.clock.now()));
        if pauses {
            return Ok(self.ready()?.filter(|minted| minted.binding.thumbprint() != blamed));
        }
        self.minted(Some((blamed, blame)), correlation_id).await.map(Some)
    }

    /// What an error says of a certificate: one that was refused is not presented again, whether or not there is another.
    pub(super) async fn blamed(&self, minted: &Minted, error: &Error) {
        if blames_attestation(error) {
            self.certificates.attested().forget(minted.binding.chain().public_key_info());
        }
        if blame_of(error) == Some(Blame::Refused) {
            self.refuse(minted.binding.thumbprint()).await;
        }
    }

    /// Takes a certificate out of memory and out of its file.
    pub(super) async fn refuse(&self, thumbprint: Thumbprint) {
        let refused = self.known_slot().and_then(|slot| slot.refuse(thumbprint));
        if let Some(file) = refused.and_then(|minted| minted.file.clone()) {
            file.forget(thumbprint, &*self.clock).await;
        }
    }

    /// The place of this identity's certificate, once it is known.
    pub(super) fn known_slot(&self) -> Option<Arc<Slot>> {
        self.slot.get().or_else(|| self.find_slot())
    }

    #[cold]
    fn find_slot(&self) -> Option<Arc<Slot>> {
        let slot = self.certificates.find(&self.asked())?;
        self.slot.set(&slot);
        Some(slot)
    }

    pub(super) fn asked(&self) -> Name {
        self.name(self.id.to_string(), KeyName::Of(self.provider))
    }

    pub(super) fn canonical(&self, client_id: &str, key: &MachineKey) -> Name {
        self.name(format!("={client_id}"), KeyName::of(key))
    }

    fn name(&self, identity: String, key: KeyName) -> Name {
        Name {
            machine: self.place.base().to_owned(),
            identity,
            attested: self.attestation.is_some(),
            strength: self.strength,
            key,
        }
    }
}
