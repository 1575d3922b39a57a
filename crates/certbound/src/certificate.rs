//! The binding certificate: a chain with the private key of its leaf. Loading checks that the chain and the key belong
//! together.

mod blame;
mod encrypted;
mod file;
mod key_place;
mod key_spec;
mod observed;
mod opened;
mod pem;
#[cfg(feature = "pfx")]
mod pfx;
mod request;
mod rotating;
mod signer;
mod source;
#[cfg(feature = "watch")]
mod watched;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certbound_core::cause::Cause;
pub use certbound_core::certificate::{CertificateChain, CertificateUsage, Thumbprint};
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme as TlsScheme};

pub use self::blame::Blame;
use self::file::{Files, read_file};
pub(crate) use self::key_place::KeyPlace;
#[cfg(feature = "foreign-tls")]
pub use self::key_place::PrivateKey;
pub use self::key_spec::KeySpec;
pub(crate) use self::observed::observe;
use self::opened::Opened;
pub(crate) use self::opened::{ForgetKey, KeyId};
pub use self::request::{CertificateRequest, CertificateRequestError};
pub use self::rotating::RotatingCertificate;
pub use self::signer::{SignatureScheme, Signer};
pub(crate) use self::signer::{SignerKey, signer_error};
pub use self::source::CertificateSource;
pub(crate) use self::source::ClientCertificate;
#[cfg(feature = "watch")]
pub use self::watched::{CertificateEvent, CertificateWatch, WatchError, WatchedCertificate};
use crate::crypto::provider;
use crate::error::{BindingCertificateError, CertificateNotValid};

/// The hash of the chain that TLS presents: the leaf and its issuers. The same leaf can have different issuers later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChainHash(Thumbprint);

/// A certificate chain with the private key of its leaf. A token is bound to the certificate, and TLS presents the
/// certificate.
///
/// A clone is cheap. The certificate never changes: a rotation creates a new certificate. Loading checks that the key
/// belongs to the certificate. Loading does not check the dates: the client checks them before each token request. No
/// function returns the key, except in a build with the cargo feature `foreign-tls`. RSA and EC keys (P-256, P-384,
/// P-521) can be used for bound tokens. Only an RSA key can sign an assertion for a Bearer token.
///
/// The idle connections of the certificate are closed when its last clone is dropped. A certificate that is loaded
/// again has its own connections.
///
/// ```no_run
/// use certbound::BindingCertificate;
///
/// let from_one_file = BindingCertificate::from_pem_file("app.pem")?;
/// println!("{}", from_one_file.thumbprint());
/// # Ok::<(), certbound::error::BindingCertificateError>(())
/// ```
#[derive(Clone)]
pub struct BindingCertificate {
    inner: Arc<Inner>,
}

struct Inner {
    chain: CertificateChain,
    /// The cache keys of tokens share this thumbprint.
    thumbprint: Arc<Thumbprint>,
    chain_hash: ChainHash,
    key: Arc<CertifiedKey>,
    place: KeyPlace,
    /// The file from which the certificate was loaded, for errors.
    file: Option<PathBuf>,
    opened: Opened,
}

impl BindingCertificate {
    /// Reads a chain (leaf first) and its key from one PEM text. The key may be before or after the chain.
    ///
    /// The key may be PKCS#8, PKCS#1 or SEC1, and must not be encrypted. For an encrypted key use
    /// [`BindingCertificate::from_encrypted_pem`].
    ///
    /// # Errors
    /// [`BindingCertificateError`], if there is not exactly one usable key, if there is no certificate, or if the key
    /// does not belong to the leaf.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BindingCertificateError> {
        Self::from_pem_pair(pem, pem)
    }

    /// Reads the chain from one PEM text and the key from another PEM text.
    ///
    /// # Errors
    /// The errors of [`BindingCertificate::from_pem`].
    pub fn from_pem_pair(chain: &[u8], key: &[u8]) -> Result<Self, BindingCertificateError> {
        Self::read_pem(chain, key, None, Files::default())
    }

    /// Reads a chain, and a key that is encrypted as PKCS#8 (`BEGIN ENCRYPTED PRIVATE KEY`). Both may be in one PEM
    /// text.
    ///
    /// The function supports PBES2 with PBKDF2 or scrypt, and AES or 3DES. `openssl pkcs8 -topk8` writes keys of this
    /// kind. The function also accepts a key that is not encrypted. Deriving the key from the password is slow on
    /// purpose.
    ///
    /// # Errors
    /// The errors of [`BindingCertificate::from_pem`]. A wrong password is
    /// [`WrongPassword`](BindingCertificateError::WrongPassword).
    pub fn from_encrypted_pem(
        chain: &[u8],
        key: &[u8],
        password: &Secret,
    ) -> Result<Self, BindingCertificateError> {
        Self::read_pem(chain, key, Some(password), Files::default())
    }

    /// Reads a PFX (PKCS#12) with its password. `None` opens a PFX with an empty password. The cargo feature `pfx` adds
    /// this function.
    ///
    /// # Errors
    /// The errors of [`BindingCertificate::from_pem`]. A wrong password is
    /// [`WrongPassword`](BindingCertificateError::WrongPassword), and a missing password is
    /// [`EncryptedKey`](BindingCertificateError::EncryptedKey).
    #[cfg(feature = "pfx")]
    pub fn from_pfx(pfx: &[u8], password: Option<&Secret>) -> Result<Self, BindingCertificateError> {
        Self::read_pfx(pfx, password, Files::default())
    }

    /// Reads a chain from PEM text. `signer` has the private key of the leaf, which remains in its vault or device.
    ///
    /// The function requests one signature from `signer` and verifies it with the public key of the leaf. [`Signer`]
    /// describes how a signer must behave.
    ///
    /// # Errors
    /// [`BindingCertificateError`], if there is no certificate, or if the signer fails
    /// ([`SignerFailed`](BindingCertificateError::SignerFailed)) or has a different key
    /// ([`SignerMismatch`](BindingCertificateError::SignerMismatch)).
    pub fn from_signer(chain: &[u8], signer: impl Signer) -> Result<Self, BindingCertificateError> {
        Self::from_der_and_signer(pem::chain(chain)?, signer)
    }

    /// Does the same as [`BindingCertificate::from_signer`] with certificates in DER, leaf first.
    ///
    /// # Errors
    /// The errors of [`BindingCertificate::from_signer`].
    pub fn from_der_and_signer(
        chain: Vec<Vec<u8>>,
        signer: impl Signer,
    ) -> Result<Self, BindingCertificateError> {
        let chain = CertificateChain::from_der(chain)?;
        let key = SignerKey::of_chain(Arc::new(signer), &chain)?;
        Self::new(chain, Arc::new(key), KeyPlace::Elsewhere, Files::default())
    }

    /// Does the same as [`BindingCertificate::from_pem`] with a file.
    ///
    /// # Errors
    /// The same errors, and [`Unreadable`](BindingCertificateError::Unreadable) if the file cannot be read.
    pub fn from_pem_file(path: impl AsRef<Path>) -> Result<Self, BindingCertificateError> {
        Self::from_file(path, None)
    }

    /// Does the same as [`BindingCertificate::from_pem_pair`] with two files.
    ///
    /// # Errors
    /// The same errors, and [`Unreadable`](BindingCertificateError::Unreadable) if the file cannot be read.
    pub fn from_pem_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, BindingCertificateError> {
        let files = Files::two(chain.as_ref(), key.as_ref());
        let key = read_file(key.as_ref())?;
        Self::read_pem(&read_file(chain.as_ref())?, &key, None, files)
    }

    /// Does the same as [`BindingCertificate::from_encrypted_pem`] with two files, which may be the same file.
    ///
    /// # Errors
    /// The same errors, and [`Unreadable`](BindingCertificateError::Unreadable) if the file cannot be read.
    pub fn from_encrypted_pem_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
        password: &Secret,
    ) -> Result<Self, BindingCertificateError> {
        let files = Files::two(chain.as_ref(), key.as_ref());
        let key = read_file(key.as_ref())?;
        Self::read_pem(&read_file(chain.as_ref())?, &key, Some(password), files)
    }

    /// Does the same as [`BindingCertificate::from_pfx`] with a file. The cargo feature `pfx` adds this function.
    ///
    /// # Errors
    /// The same errors, and [`Unreadable`](BindingCertificateError::Unreadable) if the file cannot be read.
    #[cfg(feature = "pfx")]
    pub fn from_pfx_file(
        path: impl AsRef<Path>,
        password: Option<&Secret>,
    ) -> Result<Self, BindingCertificateError> {
        let path = path.as_ref();
        Self::read_pfx(&read_file(path)?, password, Files::one(path))
    }

    /// Reads a chain and its key from one PEM file. The password is for an encrypted key.
    ///
    /// The function refuses a PFX in every build, with and without the cargo feature `pfx`.
    ///
    /// # Errors
    /// The errors of [`BindingCertificate::from_encrypted_pem`], [`Unreadable`](BindingCertificateError::Unreadable)
    /// and [`PfxInsteadOfPem`](BindingCertificateError::PfxInsteadOfPem).
    pub fn from_file(
        path: impl AsRef<Path>,
        password: Option<&Secret>,
    ) -> Result<Self, BindingCertificateError> {
        let path = path.as_ref();
        let bytes = read_file(path)?;
        Self::read_pem(&bytes, &bytes, password, Files::one(path))
    }

    /// Reads a PEM file or a PFX file, depending on the content. The password is for the PFX, or for an encrypted key
    /// in the PEM. The cargo feature `pfx` adds this function.
    ///
    /// # Errors
    /// The errors of [`BindingCertificate::from_file`] and [`BindingCertificate::from_pfx_file`].
    #[cfg(feature = "pfx")]
    pub fn from_pem_or_pfx_file(
        path: impl AsRef<Path>,
        password: Option<&Secret>,
    ) -> Result<Self, BindingCertificateError> {
        let path = path.as_ref();
        Self::read_pem_or_pfx(&read_file(path)?, password, Files::one(path))
    }

    #[cfg(feature = "pfx")]
    fn read_pem_or_pfx(
        bytes: &[u8],
        password: Option<&Secret>,
        files: Files<'_>,
    ) -> Result<Self, BindingCertificateError> {
        match pem::looks_like_pem(bytes) {
            true => Self::read_pem(bytes, bytes, password, files),
            false => Self::read_pfx(bytes, password, files),
        }
    }

    #[cfg(feature = "pfx")]
    fn read_pfx(
        pfx: &[u8],
        password: Option<&Secret>,
        files: Files<'_>,
    ) -> Result<Self, BindingCertificateError> {
        let (chain, key) = pfx::read(pfx, password).map_err(|error| error.in_file(files.key))?;
        Self::load(chain, key, files)
    }

    fn read_pem(
        chain: &[u8],
        key: &[u8],
        password: Option<&Secret>,
        files: Files<'_>,
    ) -> Result<Self, BindingCertificateError> {
        let chain = pem::chain(chain).map_err(|error| error.in_file(files.chain))?;
        let key = pem::key(key, password).map_err(|error| error.in_file(files.key))?;
        Self::load(chain, key, files)
    }

    fn load(
        ders: Vec<Vec<u8>>,
        key: PrivateKeyDer<'static>,
        files: Files<'_>,
    ) -> Result<Self, BindingCertificateError> {
        let chain = CertificateChain::from_der(ders)
            .map_err(|error| BindingCertificateError::from(error).in_file(files.chain))?;
        let place = KeyPlace::of(&key);
        let key = provider().key_provider.load_private_key(key).ok();
        // The token service accepts only these two kinds of keys.
        let key =
            key.filter(|key| matches!(key.algorithm(), SignatureAlgorithm::RSA | SignatureAlgorithm::ECDSA));
        let key = key.ok_or_else(|| BindingCertificateError::KeyUnusable.in_file(files.key))?;
        Self::new(chain, key, place, files)
    }

    /// Creates a certificate without issuers from its DER and the key that it was issued for.
    pub(crate) fn from_der_and_key(
        der: Vec<u8>,
        key: Arc<dyn SigningKey>,
        place: KeyPlace,
    ) -> Result<Self, BindingCertificateError> {
        Self::new(CertificateChain::from_der(vec![der])?, key, place, Files::default())
    }

    fn new(
        chain: CertificateChain,
        key: Arc<dyn SigningKey>,
        place: KeyPlace,
        files: Files<'_>,
    ) -> Result<Self, BindingCertificateError> {
        if !belongs(&*key, &chain) {
            return Err(BindingCertificateError::KeyMismatch.in_file(files.key));
        }
        if chain.version() == 1 {
            return Err(BindingCertificateError::Version1.in_file(files.chain));
        }
        Ok(Self::join(chain, key, place, files.chain))
    }

    fn join(chain: CertificateChain, key: Arc<dyn SigningKey>, place: KeyPlace, file: Option<&Path>) -> Self {
        let certificates = chain.ders().iter().map(|der| CertificateDer::from(der.clone())).collect();
        let inner = Inner {
            thumbprint: Arc::new(chain.thumbprint()),
            // DER contains its own length, so two different chains never have the same concatenation.
            chain_hash: ChainHash(Thumbprint::of_der(&chain.ders().concat())),
            key: Arc::new(CertifiedKey::new(certificates, key)),
            place,
            file: file.map(Path::to_owned),
            opened: Opened::new(chain.thumbprint()),
            chain,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns the same certificate with a different key object.
    #[cfg(test)]
    pub(crate) fn with_key(&self, key: Arc<dyn SigningKey>) -> Self {
        Self::join(self.chain().clone(), key, KeyPlace::memory(), None)
    }

    /// Returns the public chain, leaf first.
    pub fn chain(&self) -> &CertificateChain {
        &self.inner.chain
    }

    /// Returns the `x5t#S256`: the SHA-256 of the whole leaf certificate (RFC 8705, section 3.1).
    pub fn thumbprint(&self) -> Thumbprint {
        *self.inner.thumbprint
    }

    /// Returns whether the key is RSA. A signed assertion needs an RSA key.
    pub fn is_rsa(&self) -> bool {
        self.inner.key.key.algorithm() == SignatureAlgorithm::RSA
    }

    pub(crate) fn shared_thumbprint(&self) -> Arc<Thumbprint> {
        Arc::clone(&self.inner.thumbprint)
    }

    /// Returns the hash of the whole chain. Two certificates with the same leaf have different hashes if their issuers
    /// differ.
    pub(crate) fn chain_hash(&self) -> ChainHash {
        self.inner.chain_hash
    }

    /// Returns the chain and key that TLS uses.
    pub(crate) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.inner.key
    }

    /// Returns the place of the private key.
    pub(crate) fn key_place(&self) -> &KeyPlace {
        &self.inner.place
    }

    /// Returns the private key for a TLS library other than rustls. The result is `None` if a [`Signer`] has the key,
    /// or if the certificate was issued for a managed identity. The cargo feature `foreign-tls` adds this function.
    ///
    /// The key is a secret: the caller must not log it, and must wipe its own copies.
    #[cfg(feature = "foreign-tls")]
    pub fn dangerous_private_key(&self) -> Option<&PrivateKey> {
        self.inner.place.bytes()
    }

    /// Returns the number that identifies the opened key.
    pub(crate) fn key_id(&self) -> KeyId {
        self.inner.opened.key()
    }

    /// Returns whether this is the same certificate as `known` with a different handle of its key. The handle of
    /// `known` may no longer work.
    pub(crate) fn is_reopening_of(&self, known: &Self) -> bool {
        self.key_id() != known.key_id() && self.thumbprint() == known.thumbprint()
    }

    /// Notifies `keeper` when the last clone of this certificate is dropped.
    pub(crate) fn when_key_is_dropped<K: ForgetKey + 'static>(&self, keeper: &Arc<K>) {
        let keeper = Arc::downgrade(keeper);
        self.inner.opened.tell(keeper);
    }

    #[cfg(test)]
    pub(crate) fn who_waits_for_the_key(&self) -> usize {
        self.inner.opened.told()
    }

    /// Checks that the certificate is valid at the time `now`. The client makes this check before each token request.
    ///
    /// # Errors
    /// [`CertificateNotValid`] if the certificate has expired or is not valid yet.
    pub fn valid_at(&self, now: UnixTime) -> Result<(), CertificateNotValid> {
        let (not_before, not_after) = (self.chain().not_before(), self.chain().not_after());
        if now < not_before || now >= not_after {
            let file = self.inner.file.clone();
            return Err(CertificateNotValid { not_before, not_after, now, file });
        }
        Ok(())
    }

    /// Signs with RSA and SHA-256. Returns `None` if the key does not support the padding: PSS (`PS256` of RFC 7518,
    /// section 3.5) or PKCS #1 v1.5 (`RS256` of section 3.3).
    pub(crate) fn sign_rsa(
        &self,
        pss: bool,
        message: &[u8],
    ) -> Result<Option<Vec<u8>>, BindingCertificateError> {
        if !self.is_rsa() {
            return Err(BindingCertificateError::NotRsa);
        }
        let scheme = if pss { TlsScheme::RSA_PSS_SHA256 } else { TlsScheme::RSA_PKCS1_SHA256 };
        let Some(signer) = self.inner.key.key.choose_scheme(&[scheme]) else { return Ok(None) };
        let signature = signer.sign(message).map_err(|error| match signer_error(&error) {
            Some(error) => BindingCertificateError::SignerFailed { reason: Cause::new(error.clone()) },
            None => BindingCertificateError::KeyUnusable,
        });
        signature.map(Some)
    }
}

/// Two certificates are equal if their leaf certificates have the same bytes.
impl PartialEq for BindingCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.thumbprint() == other.thumbprint()
    }
}

impl Eq for BindingCertificate {}

impl fmt::Debug for BindingCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindingCertificate")
            .field("subject", &self.chain().subject())
            .field("x5t#S256", &self.thumbprint().x5t_s256())
            .field("not_after", &self.chain().not_after())
            .finish_non_exhaustive()
    }
}

/// Returns whether the key belongs to the certificate. A key without a public key is refused, because it may belong to
/// a different certificate.
fn belongs(key: &dyn SigningKey, chain: &CertificateChain) -> bool {
    key.public_key().is_some_and(|public| public.as_ref() == chain.public_key_info())
}
