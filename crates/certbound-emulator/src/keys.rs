//! The keys and certificates of an emulator, and their source.

pub mod ca;
pub(crate) mod fabric;
pub(crate) mod machine_ca;
mod public_key;
mod seed;
mod token_key;
pub(crate) mod vault;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use certbound_core::time::UnixTime;
use rcgen::{CertifiedKey, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use self::ca::{CertificateAuthority, ClientIdentity, IssueOptions, KeyKind};
use self::machine_ca::MachineAuthority;
pub(crate) use self::public_key::RSA_BITS;
use self::seed::KeySource;
pub(crate) use self::token_key::{SigningKeys, TokenKey};
use self::vault::VaultKeys;
use crate::error::EmulatorError;
use crate::world::{World, builtin, hosts};

/// The keys of the external issuers that the emulator serves, by `iss`.
pub(crate) type IssuerKeys = BTreeMap<String, Arc<SigningKeys>>;

/// The certificate chain and the key of a server, for rustls.
pub(crate) type ServerCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The key material of an emulator: its certificate authorities, the first token key, the client certificate, and the
/// certificate of Service Fabric's server.
///
/// A clone is cheap. The generation of random keys takes about as long as that of two RSA keys; keys from a seed take
/// longer. Emulators whose worlds have the same host names may share keys.
#[derive(Clone)]
pub struct EmulatorKeys {
    pub(crate) authority: Arc<CertificateAuthority>,
    /// The domains for which the authority can issue certificates.
    pub(crate) domains: Arc<[String]>,
    /// The key that signs tokens until the first rotation.
    pub(crate) first: Arc<TokenKey>,
    pub(crate) client: Arc<ClientIdentity>,
    pub(crate) machines: Arc<MachineAuthority>,
    pub(crate) fabric: Arc<CertifiedKey<KeyPair>>,
    /// The source of keys for rotations and for served issuers.
    source: Arc<Mutex<KeySource>>,
    /// The keys and certificates of vaults.
    pub(crate) vault: Arc<VaultKeys>,
}

impl EmulatorKeys {
    /// Generates keys for the hosts of `world`. The certificates are valid for seven days from `now`, except that of
    /// the machine's authority, which is valid for ten years.
    ///
    /// # Errors
    /// [`EmulatorError`] if a key or certificate cannot be made.
    pub fn generate(world: &World, now: UnixTime) -> Result<Self, EmulatorError> {
        Self::from(world, now, KeySource::Chance, None)
    }

    /// Generates the same keys for the same `seed`, so that a test can rely on them. `now` determines the dates of the
    /// certificates. Service Fabric's server has a new key each time. Anyone who knows the seed can compute the keys,
    /// so use a seed only in tests.
    ///
    /// # Errors
    /// The errors of [`EmulatorKeys::generate`].
    pub fn from_seed(world: &World, now: UnixTime, seed: &str) -> Result<Self, EmulatorError> {
        Self::from(world, now, KeySource::of_seed(seed), Some(seed))
    }

    fn from(
        world: &World,
        now: UnixTime,
        mut source: KeySource,
        seed: Option<&str>,
    ) -> Result<Self, EmulatorError> {
        let domains = hosts::domains(world);
        let authority = CertificateAuthority::new(&domains, now, &mut source)?;
        let key = KeyKind::Existing(source.rsa()?.serialize_pem());
        let client = authority.issue(&IssueOptions::new(builtin::CLIENT_COMMON_NAME).with_key(key))?;
        let authority = Arc::new(authority);
        Ok(Self {
            client: Arc::new(client),
            first: Arc::new(TokenKey::generate(now, &mut source)?),
            machines: Arc::new(MachineAuthority::new(now, &mut source)?),
            fabric: Arc::new(fabric::certificate(now)?),
            vault: Arc::new(VaultKeys::new(Arc::clone(&authority), seed)),
            authority,
            domains: domains.into(),
            source: Arc::new(Mutex::new(source)),
        })
    }

    /// Returns the keys of the external issuers that the emulator serves. An issuer in `earlier` keeps its keys; other
    /// issuers get new keys.
    pub(crate) fn of_served_issuers(
        &self,
        world: &World,
        earlier: &IssuerKeys,
        now: UnixTime,
    ) -> Result<IssuerKeys, EmulatorError> {
        let served = world.external_issuers.iter().filter(|it| it.served);
        let keys = |issuer: &str| match earlier.get(issuer) {
            Some(keys) => Ok(Arc::clone(keys)),
            None => self.another(now).map(|first| Arc::new(SigningKeys::new(Arc::new(first)))),
        };
        served.map(|it| Ok((it.issuer.clone(), keys(&it.issuer)?))).collect()
    }

    /// Generates a key that signs tokens.
    pub(crate) fn another(&self, now: UnixTime) -> Result<TokenKey, EmulatorError> {
        TokenKey::generate(now, &mut self.source.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for EmulatorKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmulatorKeys(..)")
    }
}
