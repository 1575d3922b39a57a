//! The directory: the credentials of the applications, which Microsoft Graph can change.
//!
//! The directory begins with the credentials of the world. A change takes effect at the token service after the world's
//! `propagation_seconds`. Graph itself shows the change at once.

mod history;
mod id;
mod key_credential;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use certbound_core::time::UnixTime;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use self::history::History;
pub(crate) use self::id::derived;
pub(crate) use self::key_credential::KeyCredential;
use crate::world::{Application, FederatedCredential, World};

/// A federated credential, with the properties that only Graph shows.
#[derive(Clone, Debug)]
pub(crate) struct NamedCredential {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) credential: FederatedCredential,
}

/// The credentials of all applications.
pub(crate) struct Directory {
    /// The time from a change to its effect at the token service.
    delay: Duration,
    /// The credentials of each application, by its client id as the world spells it.
    applications: RwLock<HashMap<String, Credentials>>,
}

struct Credentials {
    federated: History<NamedCredential>,
    keys: History<KeyCredential>,
}

impl Directory {
    /// Creates the directory of a world. The world's federated credentials take effect after the delay. The world's
    /// certificates take effect at once.
    pub(crate) fn new(world: &World, now: UnixTime) -> Self {
        Self {
            delay: Duration::from_secs(world.propagation_seconds),
            applications: RwLock::new(credentials(world, now)),
        }
    }

    /// Discards all changes. The delay of the world's federated credentials begins again.
    pub(crate) fn reset(&self, world: &World, now: UnixTime) {
        *self.applications.write().unwrap_or_else(PoisonError::into_inner) = credentials(world, now);
    }

    /// Returns the federated credentials that the token service accepts at the time `now`.
    pub(crate) fn effective_federated(&self, application: &str, now: UnixTime) -> Vec<Arc<NamedCredential>> {
        self.read(application, |it| it.federated.effective(now, self.delay))
    }

    /// Returns the present federated credentials that the token service does not accept yet.
    pub(crate) fn pending_federated(&self, application: &str, now: UnixTime) -> Vec<Arc<NamedCredential>> {
        self.read(application, |it| it.federated.pending(now, self.delay))
    }

    /// Returns the certificates whose registration is in effect at the token service at the time `now`. Some of these
    /// certificates may have expired.
    pub(crate) fn effective_keys(&self, application: &str, now: UnixTime) -> Vec<Arc<KeyCredential>> {
        self.read(application, |it| it.keys.effective(now, self.delay))
    }

    /// Returns the federated credentials that Graph shows.
    pub(crate) fn federated(&self, application: &str) -> Vec<Arc<NamedCredential>> {
        self.read(application, |it| it.federated.current())
    }

    /// Returns the certificates that Graph shows.
    pub(crate) fn keys(&self, application: &str) -> Vec<Arc<KeyCredential>> {
        self.read(application, |it| it.keys.current())
    }

    /// Replaces the federated credentials of an application by the result of `change`, which gets the present
    /// credentials. A lock keeps other changes out until `change` returns. If `change` fails, nothing changes.
    ///
    /// # Errors
    /// The error of `change`.
    pub(crate) fn change_federated<E>(
        &self,
        application: &str,
        now: UnixTime,
        change: impl FnOnce(&[Arc<NamedCredential>]) -> Result<Vec<Arc<NamedCredential>>, E>,
    ) -> Result<(), E> {
        self.change(application, |it| {
            let after = change(&it.federated.current())?;
            it.federated.replace(after, now, self.delay);
            Ok(())
        })
    }

    /// Replaces the certificates of an application, as [`Directory::change_federated`] does.
    ///
    /// # Errors
    /// The error of `change`.
    pub(crate) fn change_keys<E>(
        &self,
        application: &str,
        now: UnixTime,
        change: impl FnOnce(&[Arc<KeyCredential>]) -> Result<Vec<Arc<KeyCredential>>, E>,
    ) -> Result<(), E> {
        self.change(application, |it| {
            let after = change(&it.keys.current())?;
            it.keys.replace(after, now, self.delay);
            Ok(())
        })
    }

    fn read<T>(&self, application: &str, read: impl FnOnce(&Credentials) -> Vec<T>) -> Vec<T> {
        let applications = self.applications.read().unwrap_or_else(PoisonError::into_inner);
        applications.get(application).map(read).unwrap_or_default()
    }

    fn change<E>(
        &self,
        application: &str,
        change: impl FnOnce(&mut Credentials) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut applications = self.applications.write().unwrap_or_else(PoisonError::into_inner);
        // Every application of the world has an entry, and callers pass only applications of the world.
        applications.get_mut(application).map_or(Ok(()), change)
    }
}

fn credentials(world: &World, now: UnixTime) -> HashMap<String, Credentials> {
    let of = |application: &Application| {
        let federated = application.federated_credentials.iter().enumerate();
        let federated = federated.map(|(index, it)| named(application, index, it));
        let mut ids = HashSet::new();
        let keys = application.registered_certificates.iter().filter_map(|pem| {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
            let key = KeyCredential::of_world(&application.id, der.to_vec())?;
            // The id is derived from the certificate, so a certificate that the world repeats has the same id again.
            ids.insert(key.id.clone()).then_some(key)
        });
        Credentials { federated: History::new(federated, Some(now)), keys: History::new(keys, None) }
    };
    world.applications.iter().map(|application| (application.id.clone(), of(application))).collect()
}

/// Returns a credential of the world. Its name contains its position, and its id depends only on the world.
fn named(application: &Application, index: usize, credential: &FederatedCredential) -> NamedCredential {
    let name = format!("credential-{}", index + 1);
    NamedCredential {
        id: derived("federatedIdentityCredential", &[&application.id, &name]),
        name,
        description: None,
        credential: credential.clone(),
    }
}
