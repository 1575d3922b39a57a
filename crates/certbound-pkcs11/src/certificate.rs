//! A binding certificate whose private key is in a token.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use certbound::BindingCertificate;
use certbound::certificate::{Blame, CertificateSource, RotatingCertificate, Thumbprint};
use certbound::error::ProviderError;

use crate::error::Pkcs11Error;
use crate::key::{TokenKey, only_one};
use crate::objects::{self, FoundCertificate, FoundKey, Selector};
use crate::token::{Opened, Token, TokenOptions};
use crate::uri::Pkcs11Uri;

/// The longest chain that is built from the certificates of a token.
const MAX_CHAIN: usize = 10;

/// A certificate with its key in a PKCS#11 token. Give it to a client as its certificate. Clones share its sessions and
/// its handle of the key.
///
/// If the token is taken out and put back, the source opens the key again. Its next certificate has a new handle of the
/// key, and the client opens new connections for the new handle. If the token has a new certificate for the key, the
/// source uses it after a refusal of the old certificate.
///
/// ```no_run
/// use certbound::{Authority, Client, TenantId};
/// use certbound_pkcs11::{Pkcs11Uri, TokenCertificate, TokenOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let uri = Pkcs11Uri::parse("pkcs11:token=app;object=binding?module-name=softhsm2&pin-source=file:/run/app/pin")?;
/// let certificate = TokenCertificate::open(uri, TokenOptions::default())?;
/// let authority = Authority::public(TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?);
/// let client = Client::builder(authority, "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e").with_certificate(certificate).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenCertificate {
    inner: Arc<Inner>,
}

struct Inner {
    place: Place,
    current: RotatingCertificate,
    /// The handle of the current certificate's key. The lock is held while the token is read.
    key: Mutex<TokenKey>,
}

/// The place of the certificate and its key.
struct Place {
    token: Token,
    selector: Selector,
    /// The chain in PEM, if it is not in the token.
    chain: Option<Vec<u8>>,
    forbids_extractable: bool,
}

impl TokenCertificate {
    /// Opens the key of the URI, and reads its certificate and the issuers from the token.
    ///
    /// The function blocks while it loads the module, logs in and signs once. In an async function call it on a thread
    /// for blocking work.
    ///
    /// # Errors
    /// [`Pkcs11Error`], for example if no key or several keys match, if the token has no certificate for the key, or if
    /// the certificate is for a different key.
    pub fn open(uri: Pkcs11Uri, options: TokenOptions) -> Result<Self, Pkcs11Error> {
        Self::at(uri, options, None)
    }

    /// Opens the key of the URI. `chain` is the certificate with its issuers in PEM, leaf first.
    ///
    /// # Errors
    /// The errors of [`TokenCertificate::open`].
    pub fn open_with_chain(uri: Pkcs11Uri, chain: &[u8], options: TokenOptions) -> Result<Self, Pkcs11Error> {
        Self::at(uri, options, Some(chain.to_vec()))
    }

    fn at(uri: Pkcs11Uri, options: TokenOptions, chain: Option<Vec<u8>>) -> Result<Self, Pkcs11Error> {
        let selector = Selector { label: uri.object.clone(), id: uri.id.clone() };
        let forbids_extractable = options.forbids_extractable;
        let place = Place { token: Token::of(uri, options)?, selector, chain, forbids_extractable };
        let (certificate, key) = place.open()?;
        let (current, key) = (RotatingCertificate::new(certificate), Mutex::new(key));
        let inner = Arc::new(Inner { place, current, key });
        Ok(Self { inner })
    }

    /// Returns the certificate in use. If the token is taken out and put back, a kept clone of this certificate cannot
    /// sign any more.
    pub fn current(&self) -> BindingCertificate {
        self.inner.current.current()
    }
}

impl Place {
    /// Opens the key and reads its certificate.
    fn open(&self) -> Result<(BindingCertificate, TokenKey), Pkcs11Error> {
        let (token, selector) = (self.token.clone(), self.selector.clone());
        let in_token = self.chain.is_none();
        let (key, found, chain) = self.token.run_anew(move |opened| {
            let (found, chain) = match in_token {
                true => key_and_chain(opened, &selector).map(|(key, chain)| (key, Some(chain)))?,
                false => (only_one(opened, objects::keys(opened, &selector)?, &selector)?, None),
            };
            Ok((TokenKey::new(&token, opened, &found)?, found, chain))
        })?;
        if let Some(reason) = found.leaves {
            match self.forbids_extractable {
                true => return Err(Pkcs11Error::Extractable { key: found.shown(), reason }),
                false => tracing::warn!(
                    key = found.shown(),
                    reason,
                    "the private key can be copied out of its token"
                ),
            }
        }
        let certificate = match (chain, &self.chain) {
            (Some(chain), _) => BindingCertificate::from_der_and_signer(chain, key.clone()),
            (None, pem) => BindingCertificate::from_signer(pem.as_deref().unwrap_or_default(), key.clone()),
        };
        Ok((certificate?, key))
    }
}

impl Inner {
    /// Reads the token again, and uses the certificate and the key that the token has now. If both are unchanged, the
    /// handle and its connections stay in use. The caller holds the lock of `in_use`, so only one caller reads the
    /// token at a time.
    fn read_again(&self, in_use: &mut TokenKey) -> Result<(), Pkcs11Error> {
        let (certificate, key) = self.place.open()?;
        let is_same_chain = certificate.chain().ders() == self.current.current().chain().ders();
        if is_same_chain && key.is_same_handle(in_use) {
            return Ok(());
        }
        *in_use = key;
        let thumbprint = certificate.thumbprint();
        self.current.rotate(certificate);
        tracing::info!(%thumbprint, "the key in the token was opened anew");
        Ok(())
    }
}

impl CertificateSource for TokenCertificate {
    fn current(&self) -> BindingCertificate {
        self.inner.current.current()
    }

    fn current_thumbprint(&self) -> Thumbprint {
        self.inner.current.current_thumbprint()
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        self.inner.current.earlier_thumbprints()
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.inner.current.reopened(known)
    }

    /// Reads the token again: opens the key if its handle is no longer valid, and otherwise looks for a new
    /// certificate. If a key with an open handle did not sign, the method does nothing.
    async fn replace(&self, _: &BindingCertificate, blame: Blame) -> Result<(), ProviderError> {
        let inner = Arc::clone(&self.inner);
        let read = tokio::task::spawn_blocking(move || {
            // The handle under the lock is usable even after a panic.
            let mut key = inner.key.lock().unwrap_or_else(PoisonError::into_inner);
            let is_open = key.opening() == inner.place.token.opening();
            match blame {
                Blame::NotSigned { .. } if is_open => Ok(()),
                _ => inner.read_again(&mut key),
            }
        });
        read.await.map_err(ProviderError::new)?.map_err(|error| match error.is_transient() {
            true => ProviderError::new(error),
            false => ProviderError::permanent(error),
        })
    }
}

impl fmt::Debug for TokenCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenCertificate").field(&self.inner.place.token).field(&self.current()).finish()
    }
}

/// Returns the key that matches, and its chain. Keys and certificates often have different labels. If no key matches,
/// the function returns the key with the id of a matching certificate.
fn key_and_chain(opened: &Opened, selector: &Selector) -> Result<(FoundKey, Vec<Vec<u8>>), Pkcs11Error> {
    let all = objects::certificates(opened, &Selector::default())?;
    let named = match selector {
        Selector { label: None, id: None } => Vec::new(),
        selector => objects::certificates(opened, selector)?,
    };
    let mut keys = objects::keys(opened, selector)?;
    if keys.is_empty() {
        let everything = objects::keys(opened, &Selector::default())?;
        let fits = |key: &FoundKey| named.iter().any(|it| it.id == key.id && !it.id.is_empty());
        keys = everything.into_iter().filter(fits).collect();
    }
    if selector.label.is_none() && selector.id.is_none() && keys.len() > 1 {
        // If the URI has neither label nor id, it means the only key with a certificate.
        keys.retain(|key| all.iter().any(|it| it.is_for(key)));
    }
    let key = only_one(opened, keys, selector)?;
    let leaf = leaf(opened, &key, &all, &named)?;
    Ok((key, chain_of(leaf, &all)))
}

/// Returns the certificate of the key. With several certificates for the key, the function returns the certificate that
/// the URI names.
fn leaf(
    opened: &Opened,
    key: &FoundKey,
    all: &[FoundCertificate],
    named: &[FoundCertificate],
) -> Result<FoundCertificate, Pkcs11Error> {
    let (token, shown) = (opened.label.clone(), key.shown());
    let of = |list: &[FoundCertificate]| -> Vec<FoundCertificate> {
        list.iter().filter(|it| it.is_for(key)).cloned().collect()
    };
    let (all_of_key, named_of_key) = (of(all), of(named));
    let mut found = if named_of_key.len() == 1 { named_of_key } else { all_of_key };
    match (found.len(), found.pop()) {
        (1, Some(leaf)) => Ok(leaf),
        (0, _) if all.iter().any(|it| it.id == key.id && !key.id.is_empty()) => {
            Err(Pkcs11Error::OtherKey { token, key: shown })
        }
        (0, _) => Err(Pkcs11Error::NoCertificate { token, key: shown }),
        (count, last) => {
            let names = found.iter().chain(last.as_ref()).take(8);
            let names = names.map(|it| format!("`{}`", String::from_utf8_lossy(&it.label)));
            let found = names.collect::<Vec<_>>().join(", ");
            Err(Pkcs11Error::SeveralCertificates { token, key: shown, count, found })
        }
    }
}

/// Returns the leaf with the issuers that the token has. The function omits the root of the chain, because each server
/// already has its trusted roots.
fn chain_of(leaf: FoundCertificate, all: &[FoundCertificate]) -> Vec<Vec<u8>> {
    let is_root = |it: &FoundCertificate| it.parsed.issuer() == it.parsed.subject();
    let mut chain = vec![leaf.der.clone()];
    let mut last = leaf;
    while chain.len() < MAX_CHAIN && !is_root(&last) {
        let issuer = all.iter().find(|it| it.parsed.subject() == last.parsed.issuer() && !is_root(it));
        let Some(issuer) = issuer.filter(|it| !chain.contains(&it.der)) else { break };
        chain.push(issuer.der.clone());
        last = issuer.clone();
    }
    chain
}
