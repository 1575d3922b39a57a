//! The key of a managed identity, generated and kept in a token.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use certbound::certificate::{KeySpec, SignatureScheme};
use certbound::error::KeyError;
use certbound::managed_identity::{KeyProvider, KeyStrength, MachineKey};

use crate::error::Pkcs11Error;
use crate::generate::generate;
use crate::key::TokenKey;
use crate::mechanism::KeyKind;
use crate::objects::{self, FoundKey, Selector};
use crate::token::{Opened, Token, TokenIdentity, TokenOptions, Work};
use crate::uri::Pkcs11Uri;

/// The label of a key whose URI has no label.
const LABEL: &str = "certbound machine key";

/// The time limit for finding or generating the key. A client waits for a key provider for one minute.
const GENERATION: Duration = Duration::from_secs(50);

/// The message of the test signature of the key.
const PROBE: &[u8] = b"certbound: probe of the key of a machine";

/// The key provider of a managed identity whose key is in a PKCS#11 token.
///
/// The provider finds the key by the label and the id of the URI. If the URI has neither, the label is `certbound
/// machine key`. If several keys match, the provider uses the key with the smallest id. If no key matches, the provider
/// generates an RSA-2048 key in the token. The new key is sensitive and not extractable. The provider refuses a key
/// that could leave the token. If the token is missing or refuses the PIN, the provider returns an error: it never uses
/// a software key instead.
///
/// The strength is [`KeyStrength::Hardware`] if the module reports the slot or the mechanism as hardware, or if
/// [`TokenOptions::trust_as_hardware`] is set. Otherwise it is [`KeyStrength::Software`]: SoftHSM, for example, keeps
/// its keys in files.
pub struct TokenKeys {
    inner: Arc<Inner>,
    strength: KeyStrength,
}

struct Inner {
    token: Token,
    /// The token that was opened first.
    identity: TokenIdentity,
    /// Whether the module reported the token as hardware at the start, and the key strength depends on this report.
    must_be_hardware: bool,
    selector: Selector,
    /// The key that was returned last. Only threads for blocking work take the lock, and they hold it while they call
    /// the module.
    made: Mutex<Option<(TokenKey, MachineKey)>>,
}

impl TokenKeys {
    /// Opens the token and logs in. The provider finds or generates the key when a client needs it for the first time.
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
        let (is_hardware, identity) =
            token.run_anew(|opened| Ok((opened.is_hardware(), opened.identity.clone())))?;
        let strength = if is_hardware || trusted { KeyStrength::Hardware } else { KeyStrength::Software };
        let must_be_hardware = is_hardware && !trusted;
        let inner = Inner { token, identity, must_be_hardware, selector, made: Mutex::default() };
        Ok(Self { inner: Arc::new(inner), strength })
    }
}

impl KeyProvider for TokenKeys {
    fn strength(&self) -> KeyStrength {
        self.strength
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        let inner = Arc::clone(&self.inner);
        let key = tokio::task::spawn_blocking(move || Ok(inner.key()?)).await;
        key.unwrap_or_else(|_| Err(KeyError::new("the runtime is shutting down")))
    }

    /// Returns true: the key stays in the token.
    fn is_persistent(&self) -> bool {
        true
    }
}

impl Inner {
    /// Finds or generates the key, and proves by one signature that it works. If the token was taken out and put back,
    /// the second attempt opens the key again.
    fn key(&self) -> Result<MachineKey, Pkcs11Error> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match self.find() {
            Err(error) if error.is_gone() => self.find(),
            found => found,
        };
        let (key, machine) = found?;
        // The same handle keeps its connections, even if a call of the module failed in the meantime.
        if let Some((known, handle)) = &*made
            && known.is_same_handle(&key)
        {
            return Ok(handle.clone());
        }
        *made = Some((key, machine.clone()));
        Ok(machine)
    }

    fn find(&self) -> Result<(TokenKey, MachineKey), Pkcs11Error> {
        let (token, selector) = (self.token.clone(), self.selector.clone());
        let (first, must_be_hardware) = (self.identity.clone(), self.must_be_hardware);
        let key = self.token.run_long(GENERATION, move |opened| {
            let reason = match () {
                () if !opened.identity.is_same_token(&first) => {
                    "the URI now leads to a token with a different serial number or manufacturer; restart this program to use this token"
                }
                () if must_be_hardware && !opened.is_hardware() => {
                    "the module does not say any more that the token is hardware"
                }
                () => "",
            };
            if !reason.is_empty() {
                return Err(Pkcs11Error::KeyUnusable { key: selector.shown(), reason: reason.to_owned() });
            }
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
    // A generation may continue after its caller stopped waiting. The turn prevents a second generation.
    let _turn = opened.turn(Work::MachineKey, GENERATION)?;
    if let Some(first) = first_of(objects::keys(opened, selector)?) {
        return Ok(first);
    }
    // The client signs the certificate request by RSA-PSS, so a key without this scheme would be useless.
    if !KeyKind::Rsa.schemes(&opened.mechanisms).contains(&SignatureScheme::RsaPssSha256) {
        let reason =
            "the token lacks RSA-PSS with SHA-256 (CKM_SHA256_RSA_PKCS_PSS or CKM_RSA_PKCS_PSS)".to_owned();
        return Err(Pkcs11Error::KeyUnusable { key: selector.shown(), reason });
    }
    let label = selector.label.as_deref().unwrap_or(LABEL);
    let generated = generate(opened, KeySpec::Rsa2048, label, selector.id.as_deref())?;
    tracing::info!(
        key = generated.key.shown(),
        token = opened.label,
        "a key of the machine was generated in its token"
    );
    // Another process may have generated a key at the same time.
    match first_of(objects::keys(opened, selector)?) {
        Some(first) if place(&first) < place(&generated.key) => {
            generated.remove()?;
            Ok(first)
        }
        _ => Ok(generated.key),
    }
}

/// Of several keys with the name, returns the key that every process chooses: the key with the smallest id.
fn first_of(all: Vec<FoundKey>) -> Option<FoundKey> {
    let count = all.len();
    let first = all.into_iter().min_by(|one, other| place(one).cmp(&place(other)))?;
    if count > 1 {
        tracing::warn!(
            key = first.shown(),
            count,
            "several keys have the name of the machine's key; the one with the smallest id is used"
        );
    }
    Some(first)
}

/// Returns the values by which keys are ordered: the id, then the public key. Two keys can have the same id.
fn place(key: &FoundKey) -> (&[u8], Option<&[u8]>) {
    (&key.id, key.public.as_deref())
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
