//! The key of a managed identity, generated and kept in a token.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use certbound::certificate::SignatureScheme;
use certbound::error::KeyError;
use certbound::managed_identity::{KeyProvider, KeyStrength, MachineKey};

use crate::error::Pkcs11Error;
use crate::generate::{KeySpec, generate, remove};
use crate::key::{TokenKey, only_one};
use crate::mechanism::KeyKind;
use crate::objects::{self, FoundKey, Selector};
use crate::token::{Opened, Token, TokenOptions};
use crate::uri::Pkcs11Uri;

/// The label of a key whose URI has none.
const LABEL: &str = "certbound machine key";

/// The time limit for finding or generating the key. A client waits for a key provider for one minute.
const GENERATION: Duration = Duration::from_secs(50);

/// The message of the signature that shows that the key still works.
const PROBE: &[u8] = b"certbound: probe of the key of a machine";

/// The key provider of a managed identity whose key is in a PKCS#11 token.
///
/// The key is found by the label and the id of the URI. The default of the label is `certbound machine key`. If the token
/// has no such key, the provider generates an RSA-2048 key in it, which is sensitive and not extractable. A key that could
/// leave the token is refused. If the token is missing or refuses the PIN, the provider returns an error: it never uses a
/// software key instead.
///
/// The strength is [`KeyStrength::Hardware`] if the module says that the token is hardware, or if
/// [`TokenOptions::trust_as_hardware`] is set, and otherwise [`KeyStrength::Software`]: SoftHSM keeps its keys in files.
pub struct TokenKeys {
    inner: Arc<Inner>,
    strength: KeyStrength,
}

struct Inner {
    token: Token,
    selector: Selector,
    /// The key that was returned last. The lock is held while the token is asked, by threads for blocking work only.
    made: Mutex<Option<(TokenKey, MachineKey)>>,
}

impl TokenKeys {
    /// Opens the token and logs in. The key is found or generated when it is needed for the first time.
    ///
    /// The function blocks. In an async function call it on a thread for blocking work.
    ///
    /// # Errors
    /// [`Pkcs11Error`], if the token cannot be used.
    pub fn open(uri: Pkcs11Uri, options: TokenOptions) -> Result<Self, Pkcs11Error> {
        let label = uri.object.clone().or_else(|| uri.id.is_none().then(|| LABEL.to_owned()));
        let selector = Selector { label, id: uri.id.clone() };
        let trusted = options.trusted_as_hardware;
        let token = Token::of(uri, options)?;
        let is_hardware = token.run_anew(|opened| Ok(opened.is_hardware()))?;
        let strength = if is_hardware || trusted { KeyStrength::Hardware } else { KeyStrength::Software };
        Ok(Self { inner: Arc::new(Inner { token, selector, made: Mutex::default() }), strength })
    }
}

impl KeyProvider for TokenKeys {
    fn strength(&self) -> KeyStrength {
        self.strength
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        let inner = Arc::clone(&self.inner);
        let key = tokio::task::spawn_blocking(move || inner.key().map_err(KeyError::new)).await;
        key.unwrap_or_else(|_| Err(KeyError::new("the runtime is shutting down")))
    }

    /// Returns true: the key stays in the token.
    fn is_persistent(&self) -> bool {
        true
    }
}

impl Inner {
    /// Finds or generates the key, and proves by one signature that it works. If the token was taken out and put back, the
    /// second attempt opens the key anew.
    fn key(&self) -> Result<MachineKey, Pkcs11Error> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match self.find() {
            Err(error) if error.is_gone() => self.find(),
            found => found,
        };
        let (key, machine) = found.inspect_err(|_| *made = None)?;
        // The same handle keeps its connections.
        if let Some((known, handle)) = &*made
            && known.opening() == key.opening()
            && known.public_key() == key.public_key()
        {
            return Ok(handle.clone());
        }
        *made = Some((key, machine.clone()));
        Ok(machine)
    }

    fn find(&self) -> Result<(TokenKey, MachineKey), Pkcs11Error> {
        let (token, selector) = (self.token.clone(), self.selector.clone());
        let key = self.token.run_long(GENERATION, move |opened| {
            let found = find_or_generate(opened, &selector)?;
            if let Some(reason) = found.leaves {
                return Err(Pkcs11Error::Extractable { key: found.shown(), reason });
            }
            TokenKey::new(&token, opened, &found)
        })?;
        let unusable = |reason: String| Pkcs11Error::KeyUnusable { key: key.uri().to_owned(), reason };
        let public = key.public_key().ok_or_else(|| unusable("it is not an RSA key".to_owned()))?;
        let machine = MachineKey::new(public, key.clone()).map_err(|error| unusable(error.to_string()))?;
        let signature = key.sign_message(SignatureScheme::RsaPssSha256, PROBE)?;
        let verified = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, public).verify(PROBE, &signature);
        verified.map_err(|_| unusable("its signature is not valid for its public key".to_owned()))?;
        Ok((key, machine))
    }
}

fn find_or_generate(opened: &Opened, selector: &Selector) -> Result<FoundKey, Pkcs11Error> {
    let found = objects::keys(opened, selector)?;
    if !found.is_empty() {
        return only_one(opened, found, selector);
    }
    // The request for a certificate is signed by RSA-PSS. A key that cannot do this would only fill the token.
    if !KeyKind::Rsa.schemes(&opened.mechanisms).contains(&SignatureScheme::RsaPssSha256) {
        let reason =
            "the token lacks RSA-PSS with SHA-256 (CKM_SHA256_RSA_PKCS_PSS or CKM_RSA_PKCS_PSS)".to_owned();
        return Err(Pkcs11Error::KeyUnusable { key: selector.shown(), reason });
    }
    let label = selector.label.as_deref().unwrap_or(LABEL);
    let generated = generate(opened, KeySpec::Rsa2048, label, selector.id.as_deref())?;
    tracing::info!(
        key = generated.shown(),
        token = opened.label,
        "a key of the machine was generated in its token"
    );
    // Another process may have generated a key at the same time. All processes keep the key with the smallest id.
    let mut all = objects::keys(opened, selector)?;
    all.sort_by(|one, other| one.id.cmp(&other.id));
    match all.into_iter().next() {
        Some(first) if first.id != generated.id => {
            remove(opened, &generated)?;
            Ok(first)
        }
        _ => Ok(generated),
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys")
            .field("token", &self.inner.token)
            .field("key", &self.inner.selector.shown())
            .field("strength", &self.strength)
            .finish()
    }
}
