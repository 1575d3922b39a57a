//! Slow work for a machine's certificate does not run on the async threads.

use std::sync::{Arc, Mutex, mpsc};
use std::thread::ThreadId;

use certbound::certificate::{SignatureScheme, Signer};
use certbound::error::KeyError;
use certbound::managed_identity::{IdentityId, KeyProvider, KeyStrength, MachineKey, SoftwareKeys};
use certbound_testkit::Pair;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

use crate::two_leg::vault;

/// The only blocking thread is in use, so a key that is created there is not ready yet.
#[test]
fn a_key_is_made_on_a_blocking_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (release, released) = mpsc::channel::<()>();
        let taken = tokio::task::spawn_blocking(move || released.recv());
        let keys = SoftwareKeys::new();
        let mut key = std::pin::pin!(keys.key());
        assert!(futures_util::poll!(&mut key).is_pending(), "the key was generated on the worker");
        release.send(()).unwrap();
        taken.await.unwrap().unwrap();
        key.await.unwrap();
    });
}

#[tokio::test]
async fn a_certificate_request_is_signed_on_a_blocking_thread() {
    let pair = Pair::new();
    let key = RecordingKey::new();
    let builder = pair.managed_identity(IdentityId::System).with_keys(key.clone());
    builder.build().unwrap().bound_token(&vault()).await.unwrap();
    // There is no handshake in memory, so the only signature is the signature of the certificate request.
    let signed = key.signed.lock().unwrap().clone();
    assert_eq!(signed.len(), 1);
    assert_ne!(signed[0], std::thread::current().id(), "the request was signed on the worker");
}

/// Records the thread of each signature.
#[derive(Clone, Debug)]
struct RecordingKey {
    key: Arc<dyn SigningKey>,
    signed: Arc<Mutex<Vec<ThreadId>>>,
}

impl RecordingKey {
    fn new() -> Self {
        let der = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_der();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(PrivateKeyDer::try_from(der).unwrap()).unwrap();
        Self { key, signed: Arc::default() }
    }
}

impl KeyProvider for RecordingKey {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        MachineKey::new(&self.key.public_key().unwrap(), self.clone())
    }
}

impl Signer for RecordingKey {
    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::RsaPssSha256]
    }

    fn sign(&self, _: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.signed.lock().unwrap().push(std::thread::current().id());
        let signer = self.key.choose_scheme(&[rustls::SignatureScheme::RSA_PSS_SHA256]).unwrap();
        signer.sign(message).map_err(|error| KeyError::new(error.to_string()))
    }
}
