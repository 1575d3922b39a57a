//! Certificates that were issued to this machine: each minted once, renewed before its time, kept in memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::endpoint::TokenEndpoint;
use certbound_core::time::UnixTime;

use super::Machine;
use super::error::PlatformError;
use crate::background::Background;
use crate::binding::Binding;
use crate::correlation::CorrelationId;
use crate::state::StateDirectory;

/// With this much left or less, a certificate is not used for new tokens: none may outlive it.
const LAST_DAY: Duration = Duration::from_secs(24 * 3600);

/// The certificates of a machine's identities. Clones are one store; the default one is the process's.
///
/// One certificate for an identity, however it is named and however many ask. It is renewed in the background once half
/// of its life is over; a token keeps the certificate that it came with. They are in memory only, unless they are
/// [`kept_in`](MachineCertificates::kept_in) a folder.
#[derive(Clone, Default)]
pub struct MachineCertificates {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Where they outlive the process.
    state: Option<StateDirectory>,
    /// By the canonical name.
    issued: Mutex<HashMap<Name, Arc<Slot>>>,
    /// The same, by the names they were asked for.
    names: Mutex<HashMap<Name, Arc<Slot>>>,
    /// Who mints: one for each name, asked for or canonical.
    minting: Mutex<HashMap<Name, Weak<tokio::sync::Mutex<()>>>>,
}

/// The place of an identity's certificate, the newest one.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<Arc<Minted>>>);

impl Slot {
    pub(super) fn put(&self, minted: &Arc<Minted>) {
        *lock(&self.0) = Some(Arc::clone(minted));
    }

    pub(super) fn kept(&self, now: UnixTime) -> Option<Arc<Minted>> {
        lock(&self.0).as_ref().filter(|minted| minted.is_good_at(now)).cloned()
    }
}

/// Machine, identity, and whether its key was attested.
pub(super) type Name = (String, String, bool);

/// A certificate with what it is for.
pub(crate) struct Minted {
    pub(crate) binding: Binding,
    pub(crate) client_id: String,
    pub(crate) endpoint: TokenEndpoint,
    pub(super) minted_at: UnixTime,
}

impl Minted {
    /// Half of its life is over.
    fn is_half_over(&self, now: UnixTime) -> bool {
        let end = self.binding.chain().not_after().as_secs();
        let life = end.saturating_sub(self.minted_at.as_secs());
        now.as_secs() >= self.minted_at.as_secs() + life / 2
    }

    pub(super) fn is_good_at(&self, now: UnixTime) -> bool {
        self.binding.chain().not_after() > now.plus(LAST_DAY)
    }
}

impl MachineCertificates {
    /// A store of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store of its own, whose certificates the next process finds in a folder.
    ///
    /// A certificate is found again with its key only: keep the key too, in hardware or by
    /// [`SoftwareKeys::kept_in`](crate::SoftwareKeys::kept_in). Processes that share the folder mint once for an identity.
    /// No private key is written by this.
    pub fn kept_in(state: &StateDirectory) -> Self {
        Self { inner: Arc::new(Inner { state: Some(state.clone()), ..Inner::default() }) }
    }

    pub(super) fn state(&self) -> Option<&StateDirectory> {
        self.inner.state.as_ref()
    }

    /// The process's store.
    pub(super) fn shared() -> Self {
        static SHARED: std::sync::OnceLock<MachineCertificates> = std::sync::OnceLock::new();
        SHARED.get_or_init(Self::default).clone()
    }

    /// How many identities have a certificate.
    pub fn len(&self) -> usize {
        lock(&self.inner.issued).values().filter(|slot| lock(&slot.0).is_some()).count()
    }

    /// Whether no identity has one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The place of an identity's certificate, from now on found by the name it was asked for.
    pub(super) fn slot(&self, asked: &Name, canonical: &Name) -> Arc<Slot> {
        let slot = Arc::clone(lock(&self.inner.issued).entry(canonical.clone()).or_default());
        lock(&self.inner.names).insert(asked.clone(), Arc::clone(&slot));
        slot
    }

    /// The right to mint for a name; whoever waits for it looks again afterwards.
    pub(super) fn turn(&self, name: &Name) -> Arc<tokio::sync::Mutex<()>> {
        let mut minting = lock(&self.inner.minting);
        minting.retain(|_, turn| turn.strong_count() > 0);
        let turn = minting.get(name).and_then(Weak::upgrade).unwrap_or_default();
        minting.insert(name.clone(), Arc::downgrade(&turn));
        turn
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing can panic while it is held, and every state it passes through is usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    pub(super) fn name(&self, identity: String) -> Name {
        (self.place.base().to_owned(), identity, self.attestation.is_some())
    }

    fn asked(&self) -> Name {
        self.name(self.id.to_string())
    }

    /// The certificate in use, when it can be told without waiting.
    pub(crate) fn minted_now(&self) -> Option<Arc<Minted>> {
        let mut slot = lock(&self.slot);
        if slot.is_none() {
            *slot = lock(&self.certificates.inner.names).get(&self.asked()).cloned();
        }
        slot.as_ref()?.kept(self.clock.now())
    }

    /// The certificate in use, if there is one that need not be renewed yet.
    pub(crate) fn minted_and_young(&self) -> Option<Arc<Minted>> {
        self.minted_now().filter(|minted| !minted.is_half_over(self.clock.now()))
    }

    /// The certificate in use, if there is one, and its renewal begun when it is time.
    ///
    /// # Errors
    /// As [`Machine::check_binds`].
    pub(crate) fn ready(self: &Arc<Self>) -> Result<Option<Arc<Minted>>, PlatformError> {
        self.check_binds()?;
        let minted = self.minted_now();
        if let Some(minted) = &minted {
            self.renew_in_time(minted);
        }
        Ok(minted)
    }

    /// The certificate in use, issued if there is none; `not` is one that was refused.
    pub(crate) async fn minted(
        self: &Arc<Self>,
        not: Option<Thumbprint>,
        correlation_id: CorrelationId,
    ) -> Result<Arc<Minted>, PlatformError> {
        let fits = |minted: &Arc<Minted>| not != Some(minted.binding.thumbprint());
        if let Some(minted) = self.ready()?.filter(fits) {
            return Ok(minted);
        }
        let asked = self.asked();
        let turn = self.certificates.turn(&asked);
        let _mine = turn.lock().await;
        if let Some(minted) = self.minted_now().filter(fits) {
            return Ok(minted);
        }
        self.mint(&asked, not, not.is_some(), correlation_id).await
    }

    /// Refuses what can be refused before any byte.
    pub(crate) fn check_binds(&self) -> Result<(), PlatformError> {
        let origin = self.place.origin();
        if !origin.binds() {
            return Err(PlatformError::SourceCannotBind { origin });
        }
        let actual = self.keys.strength();
        match self.min_strength.filter(|required| actual < *required) {
            Some(required) => Err(PlatformError::Strength { actual, required }),
            None => Ok(()),
        }
    }

    /// Renews in the background once half of the life is over. Who asks meanwhile has the old one; a failure shows when
    /// there is none any more.
    fn renew_in_time(self: &Arc<Self>, minted: &Arc<Minted>) {
        if !minted.is_half_over(self.clock.now()) {
            return;
        }
        let asked = self.asked();
        let turn = self.certificates.turn(&asked);
        // Somebody else does it already.
        let Ok(mine) = turn.try_lock_owned() else { return };
        let (machine, old) = (Arc::clone(self), minted.binding.thumbprint());
        Background::spawn(&self.background, async move {
            let _mine = mine;
            if let Err(error) = machine.mint(&asked, Some(old), false, CorrelationId::random()).await {
                tracing::warn!(%error, "the machine's certificate could not be renewed yet");
            }
        });
    }
}

impl fmt::Debug for MachineCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineCertificates").field("len", &self.len()).finish()
    }
}
