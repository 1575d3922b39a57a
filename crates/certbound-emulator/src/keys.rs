//! The keys and certificates of an emulator, and their source.

pub mod ca;
pub(crate) mod fabric;
pub(crate) mod machine_ca;
mod seed;
mod token_key;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use certbound_core::time::UnixTime;

use self::ca::{CertificateAuthority, ClientIdentity, IssueOptions, KeyKind};
use self::fabric::FabricCertificate;
use self::machine_ca::MachineAuthority;
use self::seed::KeySource;
pub(crate) use self::token_key::{SigningKeys, TokenKey};
use crate::error::EmulatorError;
use crate::world::{World, builtin, hosts};

/// The keys of the external issuers that the emulator serves, by `iss`.
pub(crate) type IssuerKeys = BTreeMap<String, SigningKeys>;

/// The key material of an emulator: its certificate authorities, the first token key, the client certificate, and the
/// certificate of Service Fabric's server.
///
/// A clone is cheap. Generating new keys takes the time of two RSA keys. Emulators whose worlds have the same host
/// names may share them.
#[derive(Clone)]
pub struct EmulatorKeys(Arc<Keys>);

struct Keys {
    authority: CertificateAuthority,
    first: Arc<TokenKey>,
    client: ClientIdentity,
    machines: MachineAuthority,
    fabric: FabricCertificate,
    /// The source of keys for rotations and for served issuers.
    source: Mutex<KeySource>,
}

impl EmulatorKeys {
    /// Generates keys for the hosts of `world`. The certificates are valid for seven days from `now`.
    ///
    /// # Errors
    /// [`EmulatorError`] if a key or certificate cannot be made.
    pub fn generate(world: &World, now: UnixTime) -> Result<Self, EmulatorError> {
        Self::from(world, now, KeySource::Chance)
    }

    /// Generates the same keys for the same `seed`, so that a test can name them. The certificates have the dates of
    /// `now`. Service Fabric's server has a new key each time. A person who knows the seed has the keys, so a seed is
    /// for tests only.
    ///
    /// # Errors
    /// As [`EmulatorKeys::generate`].
    pub fn from_seed(world: &World, now: UnixTime, seed: &str) -> Result<Self, EmulatorError> {
        Self::from(world, now, KeySource::of_seed(seed))
    }

    fn from(world: &World, now: UnixTime, mut source: KeySource) -> Result<Self, EmulatorError> {
        let authority = CertificateAuthority::new(&hosts::domains(world), now, &mut source)?;
        let key = KeyKind::Existing(source.rsa()?.serialize_pem());
        let client = authority.issue(&IssueOptions::new(builtin::CLIENT_COMMON_NAME).with_key(key))?;
        let first = Arc::new(TokenKey::generate(now, &mut source)?);
        let machines = MachineAuthority::new(now, &mut source)?;
        let fabric = FabricCertificate::new(now)?;
        Ok(Self(Arc::new(Keys { authority, first, client, machines, fabric, source: Mutex::new(source) })))
    }

    pub(crate) fn authority(&self) -> &CertificateAuthority {
        &self.0.authority
    }

    /// Returns the key that signs tokens until the first rotation.
    pub(crate) fn first(&self) -> Arc<TokenKey> {
        Arc::clone(&self.0.first)
    }

    pub(crate) fn client(&self) -> &ClientIdentity {
        &self.0.client
    }

    pub(crate) fn machines(&self) -> &MachineAuthority {
        &self.0.machines
    }

    pub(crate) fn fabric(&self) -> &FabricCertificate {
        &self.0.fabric
    }

    /// Generates keys for the external issuers that the emulator serves.
    pub(crate) fn of_served_issuers(
        &self,
        world: &World,
        now: UnixTime,
    ) -> Result<IssuerKeys, EmulatorError> {
        let served = world.external_issuers.iter().filter(|it| it.served);
        served.map(|it| Ok((it.issuer.clone(), SigningKeys::new(Arc::new(self.another(now)?))))).collect()
    }

    /// Generates a key that signs tokens.
    pub(crate) fn another(&self, now: UnixTime) -> Result<TokenKey, EmulatorError> {
        TokenKey::generate(now, &mut self.0.source.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for EmulatorKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmulatorKeys(..)")
    }
}
