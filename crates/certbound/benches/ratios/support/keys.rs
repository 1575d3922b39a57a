//! Keys that are created beforehand and that record the cost of their signatures.

use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use certbound::certificate::{SignatureScheme, Signer};
use certbound::error::KeyError;
use certbound::managed_identity::{KeyProvider, KeyStrength, MachineKey};
use rustls::SignatureScheme as TlsScheme;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;

use super::Cpu;

/// A key that was created beforehand. The creation time differs by a factor of five between keys and would hide the
/// other costs.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) key: Arc<dyn SigningKey>,
    signed: Arc<Mutex<Vec<Signed>>>,
}

/// One signature: its thread and the CPU time that it took there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed {
    pub(crate) thread: ThreadId,
    pub(crate) took: Duration,
}

impl Prepared {
    /// Creates an RSA-2048 key with the cryptography library that the client uses.
    pub(crate) fn new() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_ref().to_vec()));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Self { key: provider.key_provider.load_private_key(der).unwrap(), signed: Arc::default() }
    }

    /// Returns the signatures since the last call.
    pub(crate) fn take_signed(&self) -> Vec<Signed> {
        std::mem::take(&mut self.signed.lock().unwrap())
    }

    /// Returns the public half as DER.
    pub(crate) fn public(&self) -> Vec<u8> {
        self.key.public_key().unwrap().as_ref().to_vec()
    }

    /// Signs in the same way as the client signs a certificate request.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.choose_scheme(&[TlsScheme::RSA_PSS_SHA256]).unwrap().sign(message).unwrap()
    }
}

impl KeyProvider for Prepared {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        MachineKey::new(&self.public(), self.clone())
    }
}

impl Signer for Prepared {
    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::RsaPssSha256]
    }

    fn sign(&self, _: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let before = Cpu::THREAD.used();
        let signature = Self::sign(self, message);
        let took = Cpu::THREAD.used() - before;
        self.signed.lock().unwrap().push(Signed { thread: std::thread::current().id(), took });
        Ok(signature)
    }
}
