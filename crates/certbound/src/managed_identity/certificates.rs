//! The certificates that were issued to this machine, by the names of their identities.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use super::attestation::Attested;
use super::certificate_cell::CertificateCell;
use super::issued_certificate::IssuedCertificate;
use super::keys::{MachineKey, ProviderId};
use super::mint_reason::MintReason;
use super::reopened_key::Openings;
use crate::cache::single_flight::SingleFlight;
use crate::error::{KeyStrength, PlatformError};
use crate::state::StateDirectory;

/// The certificates of a machine's identities. Clones share them. By default all identities of the process share them.
///
/// There is one certificate for each identity and key, even if the identity has several names and several callers need
/// the certificate. The certificate is renewed in the background after half of its lifetime. A token remains bound to
/// the certificate for which it was issued. The certificates are only in memory, unless they are
/// [`kept_in`](MachineCertificates::kept_in) a folder.
#[derive(Clone, Default)]
pub struct MachineCertificates {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The folder in which the certificates remain after the end of the process.
    state: Option<StateDirectory>,
    /// The cells, by the platform's name of the identity and the public key.
    issued: Mutex<HashMap<Name, Arc<CertificateCell>>>,
    /// The same cells, by the application's name of the identity.
    names: Mutex<HashMap<Name, Arc<CertificateCell>>>,
    mints: Mints,
    openings: Openings,
    attested: Attested,
}

/// Running requests for certificates. Callers share a request if the identity's name, the certificate to replace, the
/// reason and the runtime are equal.
pub(super) type Mints = SingleFlight<MintKey, Result<Arc<IssuedCertificate>, PlatformError>>;

/// The runtime is part of the key: the default certificates are shared by all identities of the process, and a runtime
/// whose tasks are not polled must not delay the identities of a different runtime.
type MintKey = (Name, Option<Thumbprint>, MintReason, Option<tokio::runtime::Id>);

/// The facts that distinguish the certificate of an identity from other certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    /// The base URL of the machine's endpoint.
    pub(super) machine: String,
    pub(super) identity: String,
    /// Whether the identity has an attestation hook.
    pub(super) attested: bool,
    pub(super) strength: KeyStrength,
    pub(super) key: KeyName,
}

/// A key, or the provider of the key before the key is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyName {
    Provider(ProviderId),
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
    /// Returns a store without certificates, in memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a store that writes its certificates to a folder for the next process.
    ///
    /// A certificate is usable only with its key. Therefore store the key too, in hardware or by
    /// [`SoftwareKeys::kept_in`](super::SoftwareKeys::kept_in). Processes that share the folder and the key also share
    /// the certificate of each identity. This store writes no private keys.
    pub fn kept_in(state: &StateDirectory) -> Self {
        Self { inner: Arc::new(Inner { state: Some(state.clone()), ..Inner::default() }) }
    }

    pub(super) fn state(&self) -> Option<&StateDirectory> {
        self.inner.state.as_ref()
    }

    /// Returns the store of the process.
    pub(super) fn shared() -> Self {
        static SHARED: std::sync::OnceLock<MachineCertificates> = std::sync::OnceLock::new();
        SHARED.get_or_init(Self::default).clone()
    }

    /// Returns the number of identities with a certificate.
    pub fn len(&self) -> usize {
        lock(&self.inner.issued).values().filter(|cell| cell.current().is_some()).count()
    }

    /// Returns whether no identity has a certificate.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the cell of an identity's certificate, if the cell is known by the application's name of the identity.
    pub(super) fn find(&self, asked: &Name) -> Option<Arc<CertificateCell>> {
        lock(&self.inner.names).get(asked).cloned()
    }

    /// Returns the cell of an identity's certificate. If the key is from the provider of the process,
    /// [`MachineCertificates::find`] then finds the cell by the name `asked`.
    pub(super) fn cell(&self, asked: &Name, canonical: &Name, now: UnixTime) -> Arc<CertificateCell> {
        let mut issued = lock(&self.inner.issued);
        // Unused cells without a usable certificate are removed. For example, a key in memory is dropped with its
        // provider, and then its cell is never used again.
        issued.retain(|_, cell| Arc::strong_count(cell) > 1 || cell.usable(now).is_some());
        let cell = Arc::clone(issued.entry(canonical.clone()).or_default());
        drop(issued);
        // The id of any other provider belongs to one identity, which stores the cell itself.
        if asked.key == KeyName::Provider(ProviderId::PROCESS) {
            lock(&self.inner.names).insert(asked.clone(), Arc::clone(&cell));
        }
        cell
    }

    pub(super) fn mints(&self) -> &Mints {
        &self.inner.mints
    }

    pub(super) fn openings(&self) -> &Openings {
        &self.inner.openings
    }

    pub(super) fn attested(&self) -> &Attested {
        &self.inner.attested
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // No code panics while the lock is held, and every intermediate state is usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for MachineCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineCertificates").field("len", &self.len()).finish()
    }
}
