//! The secrets of all vaults. Each host is a separate vault. A vault begins with the items of its resource in the
//! world.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use certbound_core::time::UnixTime;

use super::created;
use super::refusal::VaultRefusal;
use super::secret::{Deleted, Secret};
use crate::resource::ResourceServer;

/// The largest number of vaults that requests have changed.
const MAX_VAULTS: usize = 100;
/// If the changed vaults together have this number of versions of secrets, no request can add a version.
pub(super) const MAX_VERSIONS: usize = 2_000;

/// The vaults that requests have changed, by host. The state of every other vault is that of the world.
#[derive(Debug, Default)]
pub(crate) struct Vaults(Mutex<HashMap<String, Vault>>);

/// The secrets of one vault, by their names in lower case.
#[derive(Debug, Default)]
pub(super) struct Vault {
    pub(super) secrets: BTreeMap<String, Secret>,
    pub(super) deleted: BTreeMap<String, Deleted>,
}

impl Vaults {
    /// Discards all changes.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Calls `read` with the vault of this request.
    pub(super) fn read<T>(&self, server: &ResourceServer<'_>, read: impl FnOnce(&Vault) -> T) -> T {
        let mut vaults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match vaults.get_mut(server.host) {
            Some(vault) => {
                vault.purge_expired(server.now);
                read(vault)
            }
            None => read(&Vault::of(server)),
        }
    }

    /// Calls `change` with the vault of this request. The second argument is true if the emulator can store one more
    /// version. `change` must not change anything if it returns a refusal.
    pub(super) fn change<T>(
        &self,
        server: &ResourceServer<'_>,
        change: impl FnOnce(&mut Vault, bool) -> Result<T, VaultRefusal>,
    ) -> Result<T, VaultRefusal> {
        let mut vaults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        vaults.values_mut().for_each(|vault| vault.purge_expired(server.now));
        let has_room = vaults.values().map(Vault::versions).sum::<usize>() < MAX_VERSIONS;
        if let Some(vault) = vaults.get_mut(server.host) {
            return change(vault, has_room);
        }
        if vaults.len() >= MAX_VAULTS {
            return Err(VaultRefusal::full(&format!("{MAX_VAULTS} vaults with changes")));
        }
        let mut vault = Vault::of(server);
        let result = change(&mut vault, has_room)?;
        vaults.insert(server.host.to_owned(), vault);
        Ok(result)
    }
}

impl Vault {
    /// Returns the vault as the world declares it.
    fn of(server: &ResourceServer<'_>) -> Self {
        let created = created(server);
        let items = server.resource.items.iter();
        let secrets =
            items.map(|(name, value)| (name.to_ascii_lowercase(), Secret::declared(name, value, created)));
        Self { secrets: secrets.collect(), deleted: BTreeMap::new() }
    }

    /// Removes the deleted secrets whose recovery period has ended.
    fn purge_expired(&mut self, now: UnixTime) {
        self.deleted.retain(|_, deleted| now < deleted.purge_at);
    }

    fn versions(&self) -> usize {
        let deleted = self.deleted.values().map(|deleted| &deleted.secret);
        self.secrets.values().chain(deleted).map(|secret| secret.versions.len()).sum()
    }
}
