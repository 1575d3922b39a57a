//! Where the key that seals kept tokens is: in the session's keychain, or in a file beside them.

#[cfg(target_os = "linux")]
mod secret_service;

use std::time::Duration;

use certbound::{SealedStore, SealingKey, StateDirectory, StoreError};

use crate::flags::CacheKeyFlag;

/// The keychain of this system.
#[cfg(target_os = "linux")]
pub(crate) use self::secret_service::SecretServiceKeychain as SystemKeychain;

/// How long a keychain may take that nobody asked for by name. It is next door, or not there.
const PATIENCE: Duration = Duration::from_secs(1);
/// And one that was.
const LONG_PATIENCE: Duration = Duration::from_secs(10);

/// Keeps a key from one command to the next. It never asks a person anything: one that is locked has no key.
pub(crate) trait Keychain {
    /// The key; a new one, if there is none yet.
    ///
    /// # Errors
    /// Why it cannot be had, as a sentence.
    fn key(&self) -> impl Future<Output = Result<SealingKey, String>> + Send;
}

/// No keychain is known of this system.
#[cfg(not(target_os = "linux"))]
pub(crate) struct SystemKeychain;

#[cfg(not(target_os = "linux"))]
impl Keychain for SystemKeychain {
    async fn key(&self) -> Result<SealingKey, String> {
        Err("this program knows no keychain of this system".to_owned())
    }
}

/// The store in this folder. Tokens of either key are in a file of their own, so a keychain that comes and goes costs
/// a question to the token service and nothing else.
///
/// # Errors
/// When the key cannot be had: of a keychain only where that was asked for.
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

    /// Has a key, or says why not.
    struct Fake(Result<SealingKey, String>);

    impl Keychain for Fake {
        async fn key(&self) -> Result<SealingKey, String> {
            self.0.clone()
        }
    }

    /// Waits for somebody.
    struct Silent;

    impl Keychain for Silent {
        async fn key(&self) -> Result<SealingKey, String> {
            std::future::pending().await
        }
    }

    /// The name of the file that a store writes.
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
