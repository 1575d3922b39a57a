//! The binding certificate: a chain with the private key of its leaf. Loading checks that they belong together.

mod binding;
mod encrypted;
mod observed;
mod opened;
mod pem;
#[cfg(feature = "pfx")]
mod pfx;
mod source;
mod watched;

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use certbound_core::cause::Cause;
pub use certbound_core::certificate::{CertificateChain, Thumbprint};
use certbound_core::secret::Secret;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use zeroize::Zeroizing;

pub use self::binding::Binding;
pub(crate) use self::binding::ChainHash;
pub(crate) use self::observed::observe;
use self::opened::Opened;
pub(crate) use self::opened::{ForgetKey, KeyId};
pub(crate) use self::source::is_blamed;
pub use self::source::{Blame, CertificateSource};
pub use self::watched::{CertificateEvent, CertificateWatch, WatchError, WatchedCertificate};
use crate::crypto::provider;
use crate::error::BindingCertificateError;

/// The maximum size of a certificate or key file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A certificate chain with the private key of its leaf, for use in TLS.
///
/// Loading checks that the key belongs to the certificate. It does not check dates: each acquisition checks them. No
/// function returns the key. RSA and EC keys (P-256, P-384, P-521) can be used for bound tokens. A Bearer token by
/// certificate needs an RSA key.
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
    chain: Arc<CertificateChain>,
    key: Arc<CertifiedKey>,
    opened: Arc<Opened>,
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

    /// Reads the chain from one PEM text and the key from another.
    ///
    /// # Errors
    /// The errors of [`BindingCertificate::from_pem`].
    pub fn from_pem_pair(chain: &[u8], key: &[u8]) -> Result<Self, BindingCertificateError> {
        Self::new(pem::chain(chain)?, pem::key(key, None)?)
    }

    /// Reads a chain, and a key that is encrypted as PKCS#8 (`BEGIN ENCRYPTED PRIVATE KEY`). Both may be in one PEM
    /// text.
    ///
    /// It supports PBES2 with PBKDF2 or scrypt, and AES or 3DES, which is what `openssl pkcs8 -topk8` writes. It also
    /// accepts a key that is not encrypted. Deriving the key from the password is slow on purpose.
    ///
    /// # Errors
    /// The errors of [`BindingCertificate::from_pem`]. A wrong password is
    /// [`WrongPassword`](BindingCertificateError::WrongPassword).
    pub fn from_encrypted_pem(
        chain: &[u8],
        key: &[u8],
        password: &Secret,
    ) -> Result<Self, BindingCertificateError> {
        Self::new(pem::chain(chain)?, pem::key(key, Some(password))?)
    }

    /// Reads a PFX (PKCS#12) with its password. `None` is the same as an empty password. The cargo feature `pfx` adds
    /// this function.
    ///
    /// # Errors
    /// The errors of [`BindingCertificate::from_pem`]. A wrong password is
    /// [`WrongPassword`](BindingCertificateError::WrongPassword).
    #[cfg(feature = "pfx")]
    pub fn from_pfx(pfx: &[u8], password: Option<&Secret>) -> Result<Self, BindingCertificateError> {
        let (chain, key) = pfx::read(pfx, password.map_or("", Secret::expose))?;
        Self::new(chain, key)
    }

    /// Does the same as [`BindingCertificate::from_pem`] with a file.
    ///
    /// # Errors
    /// The same errors, and [`Unreadable`](BindingCertificateError::Unreadable) if the file cannot be read.
    pub fn from_pem_file(path: impl AsRef<Path>) -> Result<Self, BindingCertificateError> {
        Self::from_pem(&read_file(path.as_ref())?)
    }

    /// Does the same as [`BindingCertificate::from_pem_pair`] with two files.
    ///
    /// # Errors
    /// The same errors, and [`Unreadable`](BindingCertificateError::Unreadable) if the file cannot be read.
    pub fn from_pem_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, BindingCertificateError> {
        Self::from_pem_pair(&read_file(chain.as_ref())?, &read_file(key.as_ref())?)
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
        Self::from_encrypted_pem(&read_file(chain.as_ref())?, &read_file(key.as_ref())?, password)
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
        Self::from_pfx(&read_file(path.as_ref())?, password)
    }

    /// Reads a chain and its key from one PEM file. The password is for an encrypted key.
    ///
    /// It refuses a PFX in every build, with and without the cargo feature `pfx`.
    ///
    /// # Errors
    /// The errors of [`BindingCertificate::from_encrypted_pem`], [`Unreadable`](BindingCertificateError::Unreadable)
    /// and [`PfxInsteadOfPem`](BindingCertificateError::PfxInsteadOfPem).
    pub fn from_file(
        path: impl AsRef<Path>,
        password: Option<&Secret>,
    ) -> Result<Self, BindingCertificateError> {
        let bytes = read_file(path.as_ref())?;
        Self::from_maybe_encrypted_pem(&bytes, &bytes, password)
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
        Self::from_pem_or_pfx(&read_file(path.as_ref())?, password)
    }

    #[cfg(feature = "pfx")]
    fn from_pem_or_pfx(bytes: &[u8], password: Option<&Secret>) -> Result<Self, BindingCertificateError> {
        if pem::looks_like_pem(bytes) {
            Self::from_maybe_encrypted_pem(bytes, bytes, password)
        } else {
            Self::from_pfx(bytes, password)
        }
    }

    fn from_maybe_encrypted_pem(
        chain: &[u8],
        key: &[u8],
        password: Option<&Secret>,
    ) -> Result<Self, BindingCertificateError> {
        Self::new(pem::chain(chain)?, pem::key(key, password)?)
    }

    fn new(ders: Vec<Vec<u8>>, key: PrivateKeyDer<'static>) -> Result<Self, BindingCertificateError> {
        let chain = CertificateChain::from_der(ders).map_err(BindingCertificateError::Certificate)?;
        let signing_key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|_| BindingCertificateError::KeyUnusable)?;
        // The token service accepts only these two kinds of keys.
        if !matches!(signing_key.algorithm(), SignatureAlgorithm::RSA | SignatureAlgorithm::ECDSA) {
            return Err(BindingCertificateError::KeyUnusable);
        }
        Self::joined(chain, signing_key)
    }

    /// Creates a certificate without issuers from its DER and the key that it was issued for.
    pub(crate) fn from_der_and_key(
        der: Vec<u8>,
        key: &Arc<dyn SigningKey>,
    ) -> Result<Self, BindingCertificateError> {
        let chain = CertificateChain::from_der(vec![der]).map_err(BindingCertificateError::Certificate)?;
        Self::joined(chain, Arc::clone(key))
    }

    fn joined(chain: CertificateChain, key: Arc<dyn SigningKey>) -> Result<Self, BindingCertificateError> {
        if !belongs(&*key, &chain) {
            return Err(BindingCertificateError::KeyMismatch);
        }
        let certificates = chain.ders().iter().map(|der| CertificateDer::from(der.clone())).collect();
        let opened = Arc::new(Opened::new(chain.thumbprint()));
        Ok(Self { chain: Arc::new(chain), key: Arc::new(CertifiedKey::new(certificates, key)), opened })
    }

    /// Returns the same certificate with a different key object.
    #[cfg(test)]
    pub(crate) fn with_key(&self, key: Arc<dyn SigningKey>) -> Self {
        let key = CertifiedKey { key, ..(*self.key).clone() };
        let opened = Arc::new(Opened::new(self.thumbprint()));
        Self { chain: Arc::clone(&self.chain), key: Arc::new(key), opened }
    }

    /// Returns the public chain, leaf first.
    pub fn chain(&self) -> &CertificateChain {
        &self.chain
    }

    /// Returns the `x5t#S256` of the leaf.
    pub fn thumbprint(&self) -> Thumbprint {
        self.chain.thumbprint()
    }

    /// Returns whether the key is RSA. A signed assertion needs an RSA key.
    pub fn is_rsa(&self) -> bool {
        self.key.key.algorithm() == SignatureAlgorithm::RSA
    }

    /// Returns the chain and key that TLS uses.
    pub(crate) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Returns the number of this opening of the key.
    pub(crate) fn key_id(&self) -> KeyId {
        self.opened.key()
    }

    /// Notifies `keeper` when the last handle of the key is dropped.
    pub(crate) fn when_key_is_dropped<K: ForgetKey + 'static>(&self, keeper: &Arc<K>) {
        let keeper = Arc::downgrade(keeper);
        self.opened.tell(keeper);
    }

    #[cfg(test)]
    pub(crate) fn who_waits_for_the_key(&self) -> usize {
        self.opened.told()
    }

    /// Signs with RSA-PSS and SHA-256. The salt is as long as the hash: `PS256` (RFC 7518, section 3.5).
    pub(crate) fn sign_ps256(&self, message: &[u8]) -> Result<Vec<u8>, BindingCertificateError> {
        self.sign_rsa(SignatureScheme::RSA_PSS_SHA256, message)
    }

    /// Signs with RSA PKCS #1 v1.5 and SHA-256: `RS256` (RFC 7518, section 3.3).
    pub(crate) fn sign_rs256(&self, message: &[u8]) -> Result<Vec<u8>, BindingCertificateError> {
        self.sign_rsa(SignatureScheme::RSA_PKCS1_SHA256, message)
    }

    fn sign_rsa(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, BindingCertificateError> {
        if !self.is_rsa() {
            return Err(BindingCertificateError::NotRsa);
        }
        self.key
            .key
            .choose_scheme(&[scheme])
            .and_then(|signer| signer.sign(message).ok())
            .ok_or(BindingCertificateError::KeyUnusable)
    }
}

impl fmt::Debug for BindingCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindingCertificate")
            .field("subject", &self.chain.subject())
            .field("x5t#S256", &self.thumbprint().x5t_s256())
            .finish_non_exhaustive()
    }
}

/// Returns whether the key belongs to the certificate. A key that cannot return its public key is refused, because
/// nothing proves that it belongs.
///
/// The public keys are compared as bytes, because the check of the TLS library also refuses X.509 version 1.
fn belongs(key: &dyn SigningKey, chain: &CertificateChain) -> bool {
    key.public_key().is_some_and(|public| public.as_ref() == chain.public_key_info())
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, BindingCertificateError> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    read_all(path, file)
}

/// Reads a regular file only. A pipe with that name would block the reader.
fn read_regular_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, BindingCertificateError> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    let file = options.open(path).map_err(|error| unreadable(path, error))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(unreadable(path, "it is not a file"));
    }
    read_all(path, file)
}

fn read_all(path: &Path, file: File) -> Result<Zeroizing<Vec<u8>>, BindingCertificateError> {
    // The buffer has its full size from the start. A growing buffer would leave copies of the key in memory that are
    // not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES as usize + 1));
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(path, format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, reason: impl Into<Cause>) -> BindingCertificateError {
    BindingCertificateError::Unreadable { path: path.display().to_string(), reason: reason.into() }
}
