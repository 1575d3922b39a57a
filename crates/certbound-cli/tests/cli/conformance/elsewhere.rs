//! A private key that only another program has.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use certbound::certificate::{SignatureScheme, Signer};
use certbound::error::KeyError;

/// A key in a process of OpenSSL. The process of the library never has the key.
pub(super) struct Elsewhere {
    key_file: String,
    signatures: Arc<AtomicUsize>,
}

impl Elsewhere {
    /// `signatures` counts the signatures.
    pub(super) fn new(key_file: String, signatures: Arc<AtomicUsize>) -> Self {
        Self { key_file, signatures }
    }
}

impl Signer for Elsewhere {
    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::RsaPssSha256]
    }

    fn sign(&self, _: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha256", "-sign", &self.key_file]);
        openssl.args(["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]);
        let mut openssl =
            openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(KeyError::new)?;
        openssl.stdin.take().unwrap().write_all(message).map_err(KeyError::new)?;
        let output = openssl.wait_with_output().map_err(KeyError::new)?;
        self.signatures.fetch_add(1, Ordering::SeqCst);
        Ok(output.stdout)
    }
}
