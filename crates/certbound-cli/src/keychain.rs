//! The storage of the key that seals stored tokens: the session's keychain, or a file in the folder of the tokens.

#[cfg(target_os = "linux")]
mod secret_service;

use std::time::Duration;

use certbound::cache::{SealedStore, SealingKey, StoreError};
use certbound::state::StateDirectory;

use crate::flags::CacheKeyFlag;

/// The keychain of this system.
#[cfg(target_os = "linux")]
pub(crate) use self::secret_service::SecretServiceKeychain as SystemKeychain;

/// The time limit for a keychain that the user did not request. The keychain is local, so it answers at once or is
/// absent.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time limit for a keychain that the user requested.
const LONG_PATIENCE: Duration = Duration::from_secs(10);

/// A store of one key for later commands. It never prompts the user: a locked keychain is an error.
pub(crate) trait Keychain {
    /// Returns the key. If the keychain has no key, the function creates a key.
    ///
    /// # Errors
    /// The reason, as a sentence.
    fn key(&self) -> impl Future<Output = Result<SealingKey, String>> + Send;
}

/// This system has no supported keychain.
#[cfg(not(target_os = "linux"))]
pub(crate) struct SystemKeychain;

#[cfg(not(target_os = "linux"))]
impl Keychain for SystemKeychain {
    async fn key(&self) -> Result<SealingKey, String> {
        Err("certbound supports no keychain on this system".to_owned())
    }
}

/// Returns the store in this folder. Each kind of key has its own token file. While the keychain is unavailable, the
/// tokens under its key remain in their file, and the command cannot use them.
///
/// # Errors
/// [`StoreError`] if the key is unavailable. An unavailable keychain is an error only if the user requested it.
pub(crate) async fn store(
    folder: &StateDirectory,
    wanted: CacheKeyFlag,
    keychain: &impl Keychain,
) -> Result<SealedStore, StoreError> {
    let patience = match wanted {
        CacheKeyFlag::File => return SealedStore::with_key_file(folder),
        CacheKeyFlag::Auto => PATIENCE,
        CacheKeyFlag::Keychain => LONG_PATIENCE,
    };
    match key(keychain, patience).await {
        Ok(key) => Ok(SealedStore::with_key(folder, key)),
        Err(_) if wanted == CacheKeyFlag::Auto => SealedStore::with_key_file(folder),
        Err(reason) => Err(StoreError::new(reason)),
    }
}

async fn key(keychain: &impl Keychain, patience: Duration) -> Result<SealingKey, String> {
    match tokio::time::timeout(patience, keychain.key()).await {
        Ok(key) => key,
        Err(_) => Err(format!("the keychain did not answer within {} s", patience.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A keychain that returns a key, or an error.
    struct Fake(Result<SealingKey, String>);

    impl Keychain for Fake {
        async fn key(&self) -> Result<SealingKey, String> {
            self.0.clone()
        }
    }

    /// A keychain without an answer, as if it waited for the user.
    struct Silent;

    impl Keychain for Silent {
        async fn key(&self) -> Result<SealingKey, String> {
            std::future::pending().await
        }
    }

    /// Returns the kind of the file that a store writes.
    fn file(store: &SealedStore) -> &'static str {
        if format!("{store:?}").contains("tokens-by-other-key.sealed") { "keychain" } else { "file" }
    }

    #[tokio::test]
    async fn a_keychain_that_answers_is_used_and_another_one_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = StateDirectory::open(folder.path().join("tokens")).unwrap();
        let has = Fake(Ok(SealingKey::random().unwrap()));
        let locked = Fake(Err("it is locked".to_owned()));
        for (wanted, keychain, expected) in [
            (CacheKeyFlag::Auto, &has, Ok("keychain")),
            (CacheKeyFlag::Auto, &locked, Ok("file")),
            (CacheKeyFlag::File, &has, Ok("file")),
            (CacheKeyFlag::Keychain, &has, Ok("keychain")),
            (CacheKeyFlag::Keychain, &locked, Err("the token store failed: it is locked".to_owned())),
        ] {
            let found = store(&folder, wanted, keychain).await;
            assert_eq!(found.as_ref().map(file).map_err(ToString::to_string), expected, "{wanted:?}");
        }
    }

    #[tokio::test]
    async fn a_keychain_that_waits_for_somebody_is_not_waited_for() {
        let waited = key(&Silent, Duration::ZERO).await;
        assert!(waited.unwrap_err().contains("did not answer"));
    }
}
