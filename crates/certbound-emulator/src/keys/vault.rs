//! The keys and certificates of vaults. The emulator makes a key or a certificate at the first request for it, and
//! keeps it until the emulator ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256,
    UnparsedPublicKey,
};
use rcgen::{KeyPair, PublicKeyData as _};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::ca::{CertificateAuthority, ClientIdentity, IssueOptions, KeyKind};
use super::seed::KeySource;
use crate::error::EmulatorError;
use crate::world::{VaultCertificate, VaultKeyKind};

/// A signature algorithm (RFC 7518, section 3.1). Each algorithm signs a SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "UPPERCASE")]
pub(crate) enum Algorithm {
    Rs256,
    Ps256,
    Es256,
}

/// A key of a vault.
pub(crate) struct VaultKey {
    private: PrivateKey,
    public: PublicParts,
    /// The private key, PKCS#8 PEM, for a certificate of this key.
    pem: String,
}

enum PrivateKey {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

/// The public key in the parts of a JSON Web Key (RFC 7518, section 6), big-endian.
#[derive(Clone, Debug)]
pub(crate) enum PublicParts {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256 { x: Vec<u8>, y: Vec<u8> },
}

impl VaultKey {
    fn generate(kind: VaultKeyKind, source: &mut KeySource) -> Result<Self, EmulatorError> {
        let pair = match kind {
            VaultKeyKind::Rsa2048 => source.rsa()?,
            VaultKeyKind::P256 => source.p256()?,
        };
        Self::of(kind, &pair)
    }

    fn of(kind: VaultKeyKind, pair: &KeyPair) -> Result<Self, EmulatorError> {
        let der = pair.serialized_der();
        let private = match kind {
            VaultKeyKind::Rsa2048 => {
                PrivateKey::Rsa(RsaKeyPair::from_pkcs8(der).map_err(EmulatorError::key_material)?)
            }
            VaultKeyKind::P256 => PrivateKey::P256(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
                    .map_err(EmulatorError::key_material)?,
            ),
        };
        let public =
            PublicParts::of(pair).ok_or_else(|| EmulatorError::key_material("unknown kind of key"))?;
        Ok(Self { private, public, pem: pair.serialize_pem() })
    }

    /// Signs a SHA-256 digest. Returns `None` if the algorithm does not fit this kind of key, or if the digest does not
    /// have 32 bytes.
    pub(crate) fn sign(&self, algorithm: Algorithm, digest: &[u8]) -> Option<Vec<u8>> {
        let digest = Digest::import_less_safe(digest, &SHA256).ok()?;
        let rsa = |padding, key: &RsaKeyPair| {
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign_digest(padding, &digest, &mut signature).ok()?;
            Some(signature)
        };
        match (&self.private, algorithm) {
            (PrivateKey::Rsa(key), Algorithm::Rs256) => rsa(&RSA_PKCS1_SHA256, key),
            (PrivateKey::Rsa(key), Algorithm::Ps256) => rsa(&RSA_PSS_SHA256, key),
            (PrivateKey::P256(key), Algorithm::Es256) => {
                key.sign_digest(&digest).ok().map(|signature| signature.as_ref().to_vec())
            }
            _ => None,
        }
    }

    /// Returns whether the signature of a SHA-256 digest is valid. Returns `None` in the same cases as
    /// [`VaultKey::sign`].
    pub(crate) fn verify(&self, algorithm: Algorithm, digest: &[u8], signature: &[u8]) -> Option<bool> {
        let digest = Digest::import_less_safe(digest, &SHA256).ok()?;
        let verified = match (&self.private, algorithm) {
            (PrivateKey::Rsa(key), Algorithm::Rs256) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key())
                    .verify_digest(&digest, signature)
            }
            (PrivateKey::Rsa(key), Algorithm::Ps256) => {
                UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.public_key())
                    .verify_digest(&digest, signature)
            }
            (PrivateKey::P256(key), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key())
                    .verify_digest(&digest, signature)
            }
            _ => return None,
        };
        Some(verified.is_ok())
    }

    pub(crate) fn public(&self) -> &PublicParts {
        &self.public
    }
}

impl PublicParts {
    fn of(pair: &KeyPair) -> Option<Self> {
        let der = pair.subject_public_key_info();
        let (_, info) = SubjectPublicKeyInfo::from_der(&der).ok()?;
        match info.parsed().ok()? {
            PublicKey::RSA(key) => Some(Self::Rsa { n: unsigned(key.modulus), e: unsigned(key.exponent) }),
            PublicKey::EC(point) => {
                // An uncompressed point has a leading byte and two coordinates of equal length.
                let coordinates = point.data().get(1..)?;
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                Some(Self::P256 { x: x.to_vec(), y: y.to_vec() })
            }
            _ => None,
        }
    }
}

/// Returns a number without leading zeros. DER adds a zero so that the number is positive.
fn unsigned(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default().to_vec()
}

/// The keys and certificates that exist so far. A key is identified by the application id of its resource, its kind and
/// its name. A certificate is identified by its key and its common name.
pub(crate) struct VaultKeys {
    authority: Arc<CertificateAuthority>,
    /// The seed from which the keys are derived. Without a seed, the keys are random.
    seed: Option<String>,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    keys: HashMap<Place, Arc<VaultKey>>,
    /// The certificates. The keys of this map contain the common name, because emulators with different worlds can
    /// share the map.
    certificates: HashMap<(Place, String), Arc<ClientIdentity>>,
}

/// The application id of a resource, the kind of the key, and the name of the key.
type Place = (String, VaultKeyKind, String);

impl VaultKeys {
    pub(super) fn new(authority: Arc<CertificateAuthority>, seed: Option<&str>) -> Self {
        Self { authority, seed: seed.map(str::to_owned), made: Mutex::default() }
    }

    pub(crate) fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// Returns a key of a resource. Generates the key at the first call, which takes about 0.1 seconds for an RSA key,
    /// and longer for an RSA key from a seed.
    pub(crate) fn key(
        &self,
        resource: &str,
        name: &str,
        kind: VaultKeyKind,
    ) -> Result<Arc<VaultKey>, EmulatorError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        self.key_in(&mut made, (resource.to_owned(), kind, name.to_owned()))
    }

    /// Returns a certificate of a resource. Issues the certificate at the first call.
    pub(crate) fn certificate(
        &self,
        resource: &str,
        name: &str,
        certificate: &VaultCertificate,
    ) -> Result<Arc<ClientIdentity>, EmulatorError> {
        let place = (resource.to_owned(), certificate.key, name.to_owned());
        let wanted = (place.clone(), certificate.common_name.clone());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(issued) = made.certificates.get(&wanted) {
            return Ok(Arc::clone(issued));
        }
        let key = self.key_in(&mut made, place)?;
        let options =
            IssueOptions::new(certificate.common_name.as_str()).with_key(KeyKind::Existing(key.pem.clone()));
        let issued = Arc::new(self.authority.issue(&options)?);
        made.certificates.insert(wanted, Arc::clone(&issued));
        Ok(issued)
    }

    fn key_in(&self, made: &mut Made, place: Place) -> Result<Arc<VaultKey>, EmulatorError> {
        if let Some(key) = made.keys.get(&place) {
            return Ok(Arc::clone(key));
        }
        let (resource, kind, name) = &place;
        let mut source = match &self.seed {
            None => KeySource::Chance,
            // Each key has its own seed, so a key does not depend on the order in which the keys are needed.
            Some(seed) => KeySource::of_seed(&format!("{seed}\n{resource}\n{kind:?}\n{name}")),
        };
        let key = Arc::new(VaultKey::generate(*kind, &mut source)?);
        made.keys.insert(place, Arc::clone(&key));
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::digest;
    use certbound_core::time::UnixTime;

    use super::*;

    fn keys(seed: Option<&str>) -> VaultKeys {
        let now = UnixTime::from_secs(1_785_000_000);
        let authority = CertificateAuthority::new(&[], now, &mut KeySource::Chance).unwrap();
        VaultKeys::new(Arc::new(authority), seed)
    }

    fn parts(key: &VaultKey) -> Vec<u8> {
        match key.public() {
            PublicParts::Rsa { n, e } => [n.as_slice(), e].concat(),
            PublicParts::P256 { x, y } => [x.as_slice(), y].concat(),
        }
    }

    #[test]
    fn each_kind_of_key_signs_with_its_own_algorithms_only() {
        let keys = keys(None);
        let text = digest(&SHA256, b"the text");
        let other = digest(&SHA256, b"another text");
        for (kind, allowed) in [
            (VaultKeyKind::Rsa2048, &[Algorithm::Rs256, Algorithm::Ps256][..]),
            (VaultKeyKind::P256, &[Algorithm::Es256]),
        ] {
            let key = keys.key("a", "b", kind).unwrap();
            for algorithm in [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256] {
                let signature = key.sign(algorithm, text.as_ref());
                assert_eq!(signature.is_some(), allowed.contains(&algorithm), "{kind:?} {algorithm:?}");
                let Some(mut signature) = signature else {
                    assert_eq!(key.verify(algorithm, text.as_ref(), b""), None);
                    continue;
                };
                assert_eq!(key.verify(algorithm, text.as_ref(), &signature), Some(true));
                assert_eq!(key.verify(algorithm, other.as_ref(), &signature), Some(false));
                signature[7] ^= 1;
                assert_eq!(key.verify(algorithm, text.as_ref(), &signature), Some(false));
                assert_eq!(key.sign(algorithm, b"too short"), None);
            }
        }
    }

    #[test]
    fn keys_from_a_seed_depend_on_seed_resource_kind_and_name_and_on_nothing_else() {
        let one = keys(Some("a seed"));
        let p256 =
            |keys: &VaultKeys, resource, name| parts(&keys.key(resource, name, VaultKeyKind::P256).unwrap());
        let first = p256(&one, "resource", "name");
        assert_ne!(first, p256(&one, "resource", "other"));
        assert_ne!(first, p256(&one, "other", "name"));
        // The keys are needed in a different order.
        let two = keys(Some("a seed"));
        p256(&two, "resource", "other");
        assert_eq!(first, p256(&two, "resource", "name"));
        assert_ne!(first, p256(&keys(Some("a different seed")), "resource", "name"));
        assert_ne!(first, p256(&keys(None), "resource", "name"));
        let rsa = |keys: &VaultKeys| parts(&keys.key("resource", "name", VaultKeyKind::Rsa2048).unwrap());
        assert_eq!(rsa(&one), rsa(&two));
    }

    #[test]
    fn a_certificate_is_issued_once_and_has_the_key_of_its_name() {
        let keys = keys(None);
        let wanted = VaultCertificate { common_name: "app".to_owned(), key: VaultKeyKind::P256 };
        let first = keys.certificate("a", "b", &wanted).unwrap();
        let again = keys.certificate("a", "b", &wanted).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let PublicParts::P256 { x, .. } = keys.key("a", "b", VaultKeyKind::P256).unwrap().public().clone()
        else {
            panic!("the key is not on P-256")
        };
        assert!(
            first.leaf_der().windows(x.len()).any(|part| part == x),
            "the certificate has a different key"
        );
        let renamed = VaultCertificate { common_name: "other".to_owned(), ..wanted.clone() };
        let other = keys.certificate("a", "b", &renamed).unwrap();
        assert_ne!(first.leaf_der(), other.leaf_der());
        // A world with a different common name does not replace the certificate.
        assert!(Arc::ptr_eq(&first, &keys.certificate("a", "b", &wanted).unwrap()));
    }
}
