//! Certificates that were issued to this machine: where they are kept, and by which names they are found.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::digest;
use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use super::attestation::Attested;
use super::certificate_cell::CertificateCell;
use super::issued_certificate::IssuedCertificate;
use super::keys::{MachineKey, ProviderId};
use crate::cache::single_flight::SingleFlight;
use crate::certificate::Blame;
use crate::error::{KeyStrength, PlatformError};
use crate::state::StateDirectory;

/// The certificates of a machine's identities. Clones are one store; the default one is the process's.
///
/// One certificate for an identity and a key, however the identity is named and however many ask. It is renewed in the
/// background once half of its life is over; a token keeps the certificate that it came with. They are in memory only,
/// unless they are [`kept_in`](MachineCertificates::kept_in) a folder.
#[derive(Clone, Default)]
pub struct MachineCertificates {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Where they outlive the process.
    state: Option<StateDirectory>,
    /// By who the platform says it is, and by the key itself.
    issued: Mutex<HashMap<Name, Arc<CertificateCell>>>,
    /// The same, by the names they were asked for.
    names: Mutex<HashMap<Name, Arc<CertificateCell>>>,
    /// Who mints: one for each identity and key.
    minting: Mutex<HashMap<Name, Weak<tokio::sync::Mutex<()>>>>,
    mints: Mints,
    attested: Attested,
}

/// Requests for certificates that are under way: by the name that was asked for, the certificate that is to be replaced, and
/// why.
pub(super) type Mints = SingleFlight<MintKey, Result<Arc<IssuedCertificate>, PlatformError>>;

type MintKey = (Name, Option<Thumbprint>, Option<Blame>);

/// What makes the certificate of one identity another than the rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    /// Where the machine is asked.
    pub(super) machine: String,
    pub(super) identity: String,
    /// Whether its key was attested.
    pub(super) attested: bool,
    pub(super) strength: KeyStrength,
    pub(super) key: KeyName,
}

/// A key, before and after it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyName {
    Of(ProviderId),
    Public([u8; 32]),
}

impl KeyName {
    pub(super) fn of(key: &MachineKey) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, key.public_key()).as_ref());
        Self::Public(hash)
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
        lock(&self.inner.issued).values().filter(|cell| cell.current().is_some()).count()
    }

    /// Whether no identity has one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The place of an identity's certificate, as far as the name it is asked for tells.
    pub(super) fn find(&self, asked: &Name) -> Option<Arc<CertificateCell>> {
        lock(&self.inner.names).get(asked).cloned()
    }

    /// The place of an identity's certificate, from now on found by the name it was asked for.
    pub(super) fn cell(&self, asked: &Name, canonical: &Name, now: UnixTime) -> Arc<CertificateCell> {
        let mut issued = lock(&self.inner.issued);
        // Keys come and go with their providers, and nobody asks for their places again.
        issued.retain(|_, cell| Arc::strong_count(cell) > 1 || cell.lasting(now).is_some());
        let cell = Arc::clone(issued.entry(canonical.clone()).or_default());
        drop(issued);
        // A provider of one's own is known by its one identity only, which remembers the place itself.
        if asked.key == KeyName::Of(ProviderId::PROCESS) {
            lock(&self.inner.names).insert(asked.clone(), Arc::clone(&cell));
        }
        cell
    }

    /// The right to mint; whoever waits for it looks again afterwards.
    pub(super) fn turn(&self, canonical: &Name) -> Arc<tokio::sync::Mutex<()>> {
        let mut minting = lock(&self.inner.minting);
        minting.retain(|_, turn| turn.strong_count() > 0);
        let turn = minting.get(canonical).and_then(Weak::upgrade).unwrap_or_default();
        minting.insert(canonical.clone(), Arc::downgrade(&turn));
        turn
    }

    pub(super) fn mints(&self) -> &Mints {
        &self.inner.mints
    }

    pub(super) fn attested(&self) -> &Attested {
        &self.inner.attested
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing can panic while it is held, and every state it passes through is usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for MachineCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineCertificates").field("len", &self.len()).finish()
    }
}
