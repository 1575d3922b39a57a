//! The Secret Service of a Linux session: GNOME Keyring, KWallet, KeePassXC.

use std::collections::HashMap;

use certbound::cache::SealingKey;
use secret_service::{EncryptionType, Error, SecretService};
use zeroize::Zeroizing;

use super::Keychain;

const LABEL: &str = "certbound: the key that encrypts cached tokens";
const CONTENT_TYPE: &str = "application/octet-stream";

/// The session's default collection. certbound does not use a locked collection, because a person would have to unlock
/// it.
pub(crate) struct SecretServiceKeychain;

impl Keychain for SecretServiceKeychain {
    async fn key(&self) -> Result<SealingKey, String> {
        found_or_made().await.map_err(|error| match error {
            Error::Locked => "the keychain is locked".to_owned(),
            Error::NoResult => "the keychain has no default collection".to_owned(),
            Error::Unavailable => "this session has no keychain".to_owned(),
            error => format!("the keychain failed: {error}"),
        })
    }
}

async fn found_or_made() -> Result<SealingKey, Error> {
    // The bus belongs to the user. The key is encrypted on the bus, so that other processes on the bus cannot read the
    // key.
    let service = SecretService::connect(EncryptionType::Dh).await?;
    let collection = service.get_default_collection().await?;
    collection.ensure_unlocked().await?;
    let attributes = || HashMap::from([("application", "certbound"), ("purpose", "kept tokens")]);
    let found = || async {
        for item in collection.search_items(attributes()).await? {
            if item.is_locked().await? {
                return Err(Error::Locked);
            }
            let secret = Zeroizing::new(item.get_secret().await?);
            if let Ok(bytes) = <[u8; 32]>::try_from(secret.as_slice()) {
                return Ok(Some(SealingKey::from_bytes(Zeroizing::new(bytes))));
            }
        }
        Ok(None)
    };
    if let Some(key) = found().await? {
        return Ok(key);
    }
    let key = SealingKey::random().map_err(|_| Error::Crypto("the system returned no random bytes"))?;
    collection.create_item(LABEL, attributes(), key.expose(), true, CONTENT_TYPE).await?;
    // Another process may have stored its own key in the meantime. All processes use the key that is stored now.
    found().await?.ok_or(Error::NoResult)
}
