//! The tokens of a module, and the keys and certificates of a token, for tools.

use std::path::PathBuf;
use std::time::Duration;

use certbound::certificate::KeySpec;
use certbound_core::certificate::Curve;

use crate::error::Pkcs11Error;
use crate::generate::generate;
use crate::key::{TokenKey, only_one};
use crate::mechanism::KeyKind;
use crate::module;
use crate::objects::{self, FoundKey, Selector};
use crate::token::{Token, TokenOptions, tokens};
use crate::uri::Pkcs11Uri;
use crate::workers::{NoResult, Workers};

/// The time limit for the generation of a key. A smart card needs minutes for a large RSA key.
const GENERATION: Duration = Duration::from_secs(300);

/// A token in a slot of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenFacts {
    /// The number of the slot. It can change when tokens are added or removed.
    pub slot: u64,
    /// The label.
    pub label: String,
    /// The manufacturer.
    pub manufacturer: String,
    /// The model.
    pub model: String,
    /// The serial number.
    pub serial: String,
    /// Whether the module reports that the slot is hardware.
    pub is_hardware: bool,
}

/// A private key in a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyFacts {
    /// The label, with replacements for bytes that are not UTF-8.
    pub label: String,
    /// The id.
    pub id: Vec<u8>,
    /// The kind, for example `RSA` or `EC P-256`.
    pub kind: &'static str,
    /// The public key as DER of a `SubjectPublicKeyInfo`, if the token reports it.
    pub public_key: Option<Vec<u8>>,
    /// The attribute by which the key can leave the token, or could leave it before. The field is `None` if the key
    /// could never leave the token.
    pub leaves: Option<&'static str>,
    /// Whether the token has a certificate for the key.
    pub has_certificate: bool,
}

/// A token that a tool has opened.
#[derive(Debug)]
pub struct OpenToken {
    token: Token,
    selector: Selector,
}

/// Returns the tokens of the module that a URI names. The function uses no PIN, and it does not compare the tokens with
/// the properties of the URI.
///
/// # Errors
/// [`Pkcs11Error`], if the module cannot be used.
pub fn list_tokens(uri: &Pkcs11Uri) -> Result<Vec<TokenFacts>, Pkcs11Error> {
    let path = module::path_of(uri.module.as_ref())?;
    let limit = TokenOptions::default().limit;
    let read = |path: PathBuf| {
        let (module, tokens) = tokens(&path)?;
        let facts = tokens.into_iter().map(|(slot, info)| TokenFacts {
            slot: slot.id(),
            label: info.label().trim_end().to_owned(),
            manufacturer: info.manufacturer_id().trim_end().to_owned(),
            model: info.model().trim_end().to_owned(),
            serial: info.serial_number().trim_end().to_owned(),
            is_hardware: module.get_slot_info(slot).is_ok_and(|slot| slot.hardware_slot()),
        });
        Ok(facts.collect())
    };
    let shown = path.display().to_string();
    Workers::<()>::new(1, limit).run(move |()| read(path)).unwrap_or_else(|failure| match failure {
        NoResult::TimedOut => Err(Pkcs11Error::TimedOut { module: shown, limit }),
        NoResult::Failed => Err(Pkcs11Error::Module { module: shown, reason: "its thread failed".into() }),
    })
}

impl OpenToken {
    /// Opens the token of a URI and logs in. The function blocks.
    ///
    /// # Errors
    /// [`Pkcs11Error`], if the token cannot be used.
    pub fn open(uri: Pkcs11Uri, options: TokenOptions) -> Result<Self, Pkcs11Error> {
        let selector = Selector { label: uri.object.clone(), id: uri.id.clone() };
        let token = Token::of(uri, options)?;
        token.run_anew(|_| Ok(()))?;
        Ok(Self { token, selector })
    }

    /// Returns the private keys that match the URI.
    ///
    /// # Errors
    /// [`Pkcs11Error`], if the token cannot be read.
    pub fn keys(&self) -> Result<Vec<KeyFacts>, Pkcs11Error> {
        let selector = self.selector.clone();
        self.token.run_anew(move |opened| {
            let certificates = objects::certificates(opened, &Selector::default())?;
            let keys = objects::keys(opened, &selector)?.into_iter();
            let facts = keys.map(|key| {
                let has_certificate = certificates.iter().any(|it| it.is_for(&key));
                facts(key, has_certificate)
            });
            Ok(facts.collect())
        })
    }

    /// Generates a key with the label and the id of the URI. If the URI has no id, the id is random.
    ///
    /// # Errors
    /// [`Pkcs11Error`], if the URI has no label, if a key with this name exists, or if the token cannot generate the
    /// key.
    pub fn generate(&self, spec: KeySpec) -> Result<KeyFacts, Pkcs11Error> {
        let Some(label) = self.selector.label.clone() else {
            return Err(Pkcs11Error::Uri {
                reason: "it has no `object`, which is the label of the new key".into(),
            });
        };
        let selector = self.selector.clone();
        self.token.run_long(GENERATION, move |opened| {
            if let Some(known) = objects::keys(opened, &selector)?.first() {
                let reason = "a key with this name exists already".to_owned();
                return Err(Pkcs11Error::KeyUnusable { key: known.shown(), reason });
            }
            let key = generate(opened, spec, &label, selector.id.as_deref())?.key;
            match key.leaves {
                Some(reason) => Err(Pkcs11Error::Extractable { key: key.shown(), reason }),
                None => Ok(facts(key, false)),
            }
        })
    }

    /// Returns the signing handle of the only key that matches the URI.
    ///
    /// # Errors
    /// [`Pkcs11Error`], if no key or several keys match, or if the key cannot sign.
    pub fn key(&self) -> Result<TokenKey, Pkcs11Error> {
        let (token, selector) = (self.token.clone(), self.selector.clone());
        self.token.run_anew(move |opened| {
            let found = only_one(opened, objects::keys(opened, &selector)?, &selector)?;
            TokenKey::new(&token, opened, &found)
        })
    }
}

fn facts(key: FoundKey, has_certificate: bool) -> KeyFacts {
    KeyFacts {
        label: String::from_utf8_lossy(&key.label).into_owned(),
        kind: match key.kind {
            Some(KeyKind::Rsa) => "RSA",
            Some(KeyKind::Ec(Curve::P256)) => "EC P-256",
            Some(KeyKind::Ec(Curve::P384)) => "EC P-384",
            Some(KeyKind::Ec(Curve::P521)) => "EC P-521",
            _ => "other",
        },
        id: key.id,
        public_key: key.public,
        leaves: key.leaves,
        has_certificate,
    }
}
