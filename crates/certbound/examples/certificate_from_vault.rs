//! A certificate from a vault. Its private key never leaves the vault. The program replaces the certificate while
//! clients use it.
//!
//! Here the vault is a struct that reads a PEM file. A service uses a key vault, a PKCS#11 session or a TPM instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use certbound::certificate::{
    Blame, CertificateSource, RotatingCertificate, SignatureScheme, Signer, Thumbprint,
};
use certbound::error::{KeyError, ProviderError};
use certbound::{Authority, BindingCertificate, Client, Cloud, Region, ResourceScope, TenantId};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::SigningKey;

/// A handle of a key in the vault.
struct KeyInVault {
    key: Arc<dyn SigningKey>,
    signatures: Arc<AtomicUsize>,
}

impl Signer for KeyInVault {
    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::RsaPssSha256]
    }

    /// Blocks until the vault has signed.
    fn sign(&self, _: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.signatures.fetch_add(1, Ordering::Relaxed);
        let signer = self.key.choose_scheme(&[rustls::SignatureScheme::RSA_PSS_SHA256]);
        signer.ok_or_else(|| KeyError::new("not an RSA key"))?.sign(message).map_err(KeyError::new)
    }
}

struct Vault {
    path: String,
    signatures: Arc<AtomicUsize>,
}

impl Vault {
    /// Returns the newest certificate of the vault.
    fn newest(&self) -> Result<BindingCertificate, Box<dyn std::error::Error + Send + Sync>> {
        let pem = std::fs::read(&self.path)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(PrivateKeyDer::from_pem_slice(&pem)?)?;
        let signer = KeyInVault { key, signatures: Arc::clone(&self.signatures) };
        Ok(BindingCertificate::from_signer(&pem, signer)?)
    }
}

/// The vault as the source of a client's certificate.
struct FromVault {
    certificate: RotatingCertificate,
    vault: Vault,
}

impl CertificateSource for FromVault {
    fn current(&self) -> BindingCertificate {
        self.certificate.current()
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        self.certificate.earlier_thumbprints()
    }

    /// Gets the newest certificate from the vault after the token service refused the current certificate.
    async fn replace(&self, _: &BindingCertificate, _: Blame) -> Result<(), ProviderError> {
        self.certificate.rotate(self.vault.newest().map_err(ProviderError::new)?);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let tenant = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?;
    let authority = Authority::public(tenant).with_region(Region::parse("westus3")?);
    let app = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";

    let signatures = Arc::new(AtomicUsize::new(0));
    let vault = Vault { path: certificate_path(), signatures: Arc::clone(&signatures) };
    let certificate = RotatingCertificate::new(vault.newest()?);
    let source = FromVault { certificate: certificate.clone(), vault };
    let leg1 = Client::builder(authority.clone(), app).with_certificate(source).build()?;
    let leg2 = Client::builder(authority, app).with_assertions(leg1).build()?;

    let scope = ResourceScope::key_vault(Cloud::Public);
    let token = leg2.bound_token(&scope).await?;
    println!("bound to     {}", token.binding().thumbprint());
    println!("expires at   {}", token.expires_at());
    println!("the vault signed {} times", signatures.load(Ordering::Relaxed));

    // When the vault announces a renewed certificate, a task of the service calls
    // `certificate.rotate(..)`. The next acquisition uses that certificate.
    drop(certificate);
    Ok(())
}

/// Returns the first argument, or the path of the emulator's certificate.
fn certificate_path() -> String {
    let emulator = || std::env::var("CERTBOUND_EMULATOR_CERTIFICATE").ok();
    std::env::args().nth(1).or_else(emulator).unwrap_or_else(|| "app.pem".to_owned())
}
