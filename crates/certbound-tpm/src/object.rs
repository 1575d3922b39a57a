//! Keys in the TPM: found by their handles, checked, and generated.

use aws_lc_rs::rand;
use certbound::certificate::{KeySpec, SignatureScheme};
use certbound_core::certificate::Curve;
use certbound_core::key_encoding;
use tss_esapi::Context;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::{ObjectHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    CapabilityData, EccParameter, EccPoint, EccScheme, HashScheme, Public, PublicBuilder,
    PublicEccParametersBuilder, PublicKeyRsa, PublicRsaParametersBuilder, RsaExponent, RsaScheme,
};

use crate::error::TpmError;
use crate::handle::KeyHandle;

/// The public exponent of an RSA key whose public area has the exponent 0.
const DEFAULT_EXPONENT: u32 = 65537;

/// The fault of a key without the attribute userWithAuth.
const ONLY_BY_POLICY: &str = "it can be used only by a policy";

/// A key at a persistent handle.
pub(crate) struct FoundKey {
    /// The name that the TPM computes from the public area (TPM 2.0 Library, Part 1, section 16).
    pub(crate) name: Vec<u8>,
    /// The public area as the TPM returned it.
    pub(crate) public: Public,
    pub(crate) kind: Option<KeyKind>,
}

/// The kind of a key, with the values of the public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Rsa { modulus: Vec<u8>, exponent: u32 },
    Ec { curve: Curve, point: Vec<u8> },
}

impl FoundKey {
    /// Returns the `SubjectPublicKeyInfo`.
    pub(crate) fn public_key(&self) -> Option<Vec<u8>> {
        match self.kind.as_ref()? {
            KeyKind::Rsa { modulus, exponent } => {
                let exponent = exponent.to_be_bytes();
                let zeros = exponent.iter().take_while(|byte| **byte == 0).count();
                key_encoding::rsa_public_key(modulus, exponent.get(zeros..)?)
            }
            KeyKind::Ec { curve, point } => key_encoding::ec_public_key(*curve, point),
        }
    }

    /// Returns the schemes by which the key signs, in the order of preference.
    pub(crate) fn schemes(&self) -> Vec<SignatureScheme> {
        let both = || vec![SignatureScheme::RsaPssSha256, SignatureScheme::RsaPkcs1Sha256];
        let is_sha256 = |hash: HashingAlgorithm| hash == HashingAlgorithm::Sha256;
        match (&self.public, &self.kind) {
            (Public::Rsa { parameters, .. }, _) => match parameters.rsa_scheme() {
                RsaScheme::Null => both(),
                RsaScheme::RsaPss(scheme) if is_sha256(scheme.hashing_algorithm()) => {
                    vec![SignatureScheme::RsaPssSha256]
                }
                RsaScheme::RsaSsa(scheme) if is_sha256(scheme.hashing_algorithm()) => {
                    vec![SignatureScheme::RsaPkcs1Sha256]
                }
                _ => Vec::new(),
            },
            (Public::Ecc { parameters, .. }, Some(KeyKind::Ec { curve, .. })) => {
                let (scheme, hash) = match curve {
                    Curve::P256 => (SignatureScheme::EcdsaP256Sha256, HashingAlgorithm::Sha256),
                    Curve::P384 => (SignatureScheme::EcdsaP384Sha384, HashingAlgorithm::Sha384),
                    Curve::P521 => (SignatureScheme::EcdsaP521Sha512, HashingAlgorithm::Sha512),
                    _ => return Vec::new(),
                };
                match parameters.ecc_scheme() {
                    EccScheme::Null => vec![scheme],
                    EccScheme::EcDsa(fixed) if fixed.hashing_algorithm() == hash => vec![scheme],
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        }
    }

    /// Returns the reason why the key cannot attest another key. The result is `None` if the key can attest.
    pub(crate) fn fault_of_attester(&self) -> Option<&'static str> {
        let attributes = self.public.object_attributes();
        match () {
            () if !attributes.sign_encrypt() => Some("it may not sign"),
            () if !attributes.user_with_auth() => Some(ONLY_BY_POLICY),
            () => None,
        }
    }

    /// Returns the reason why certbound cannot sign with the key. The result is `None` if certbound can sign with the
    /// key.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let attributes = self.public.object_attributes();
        match () {
            () if self.kind.is_none() => {
                Some("it is neither an RSA key nor an EC key on P-256, P-384 or P-521")
            }
            () if !attributes.sign_encrypt() => Some("it may not sign"),
            () if attributes.restricted() => Some("it is restricted: it signs only data that the TPM made"),
            () if !attributes.user_with_auth() => Some(ONLY_BY_POLICY),
            () if self.schemes().is_empty() => {
                Some("its scheme is fixed, and is not RSA-PSS, RSASSA or ECDSA with the hash that TLS needs")
            }
            () => None,
        }
    }

    /// Returns the property by which the private key can exist outside of this TPM. The result is `None` if the key has
    /// no property of this kind.
    pub(crate) fn leaves(&self) -> Option<&'static str> {
        let attributes = self.public.object_attributes();
        match () {
            () if !attributes.sensitive_data_origin() => {
                Some("it was imported: sensitiveDataOrigin is not set")
            }
            () if !attributes.fixed_tpm() => Some("it can be duplicated: fixedTPM is not set"),
            () if !attributes.fixed_parent() => Some("it can be duplicated: fixedParent is not set"),
            () => None,
        }
    }
}

fn in_tss(handle: KeyHandle) -> Result<PersistentTpmHandle, TpmError> {
    PersistentTpmHandle::new(handle.number())
        .map_err(|error| TpmError::of("the conversion of the handle", error))
}

/// Returns whether there is an object at the handle.
pub(crate) fn exists(context: &mut Context, handle: KeyHandle) -> Result<bool, TpmError> {
    Ok(handles_from(context, handle, 1)?.first() == Some(&handle))
}

/// Returns the handles of the owner's objects, at most `count`, from `first` on.
pub(crate) fn handles_from(
    context: &mut Context,
    first: KeyHandle,
    count: u32,
) -> Result<Vec<KeyHandle>, TpmError> {
    let list = context.get_capability(CapabilityType::Handles, first.number(), count);
    match list.map_err(|error| TpmError::of("TPM2_GetCapability", error))?.0 {
        CapabilityData::Handles(list) => {
            let numbers = list.into_inner().into_iter().map(u32::from);
            Ok(numbers.filter_map(|number| KeyHandle::new(number).ok()).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// Reads the object at a handle, and calls `work` with it.
///
/// The TPM Software Stack writes an error into its log when a handle has no object, so the handle is looked up first.
pub(crate) fn with<T>(
    context: &mut Context,
    handle: KeyHandle,
    work: impl FnOnce(&mut Context, ObjectHandle, FoundKey) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    if !exists(context, handle)? {
        return Err(TpmError::NoKey { handle });
    }
    let persistent = TpmHandle::Persistent(in_tss(handle)?);
    let opened = context.tr_from_tpm_public(persistent);
    let mut object = opened.map_err(|error| TpmError::of("TPM2_ReadPublic", error))?;
    let result = read(context, object).and_then(|found| work(context, object, found));
    let closed = context.tr_close(&mut object).map_err(|error| TpmError::of("Esys_TR_Close", error));
    result.and_then(|value| closed.map(|()| value))
}

/// Returns the key at a handle.
pub(crate) fn find(context: &mut Context, handle: KeyHandle) -> Result<FoundKey, TpmError> {
    with(context, handle, |_, _, found| Ok(found))
}

fn read(context: &mut Context, object: ObjectHandle) -> Result<FoundKey, TpmError> {
    let read = context.read_public(object.into());
    let (public, name, _) = read.map_err(|error| TpmError::of("TPM2_ReadPublic", error))?;
    let kind = kind(&public);
    Ok(FoundKey { name: name.value().to_vec(), public, kind })
}

fn kind(public: &Public) -> Option<KeyKind> {
    match public {
        Public::Rsa { parameters, unique, .. } => {
            let exponent = match parameters.exponent().value() {
                0 => DEFAULT_EXPONENT,
                exponent => exponent,
            };
            Some(KeyKind::Rsa { modulus: unique.value().to_vec(), exponent })
        }
        Public::Ecc { parameters, unique, .. } => {
            let curve = match parameters.ecc_curve() {
                EccCurve::NistP256 => Curve::P256,
                EccCurve::NistP384 => Curve::P384,
                EccCurve::NistP521 => Curve::P521,
                _ => return None,
            };
            let mut point = vec![4];
            for coordinate in [unique.x().value(), unique.y().value()] {
                // Some TPMs leave out leading zeros.
                point.extend(std::iter::repeat_n(0, curve.coordinate_bytes().checked_sub(coordinate.len())?));
                point.extend(coordinate);
            }
            Some(KeyKind::Ec { curve, point })
        }
        _ => None,
    }
}

/// Generates a key of the owner and puts it at the handle.
///
/// The key is a primary key with a random template, so it exists nowhere else. After the TPM has removed the key from
/// its handle, nobody can make it again. The key has no authorization, and wrong authorizations of other keys do not
/// lock it. The function writes the name of the key into `made` before the TPM stores the key.
pub(crate) fn generate(
    context: &mut Context,
    handle: KeyHandle,
    spec: KeySpec,
    made: &mut Option<Vec<u8>>,
) -> Result<FoundKey, TpmError> {
    let template = template(spec);
    let template = template.map_err(|error| TpmError::of("the creation of the key's template", error))?;
    let created = context.execute_with_session(Some(AuthSession::Password), |context| {
        context.create_primary(Hierarchy::Owner, template, None, None, None, None)
    });
    let created = created
        .map_err(|error| TpmError::of_owner("TPM2_CreatePrimary", "generate a key", error))?
        .key_handle;
    let name = context.tr_get_name(created.into());
    *made = name.ok().map(|name| name.value().to_vec());
    let persistent = Persistent::Persistent(in_tss(handle)?);
    let kept = context.execute_with_session(Some(AuthSession::Password), |context| {
        context.evict_control(Provision::Owner, created.into(), persistent)
    });
    let flushed = context.flush_context(created.into());
    let mut object = kept.map_err(|error| TpmError::of_owner("TPM2_EvictControl", "keep a key", error))?;
    let found = read(context, object);
    let closed = context.tr_close(&mut object);
    flushed.map_err(|error| TpmError::of("TPM2_FlushContext", error))?;
    closed.map_err(|error| TpmError::of("Esys_TR_Close", error))?;
    found
}

/// Returns the attributes of keys that sign and cannot leave the TPM. The keys have no authorization, and refused
/// authorizations of other keys do not lock them.
pub(crate) fn attributes() -> ObjectAttributesBuilder {
    ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_sign_encrypt(true)
}

fn template(spec: KeySpec) -> tss_esapi::Result<Public> {
    let attributes = attributes().build()?;
    let mut random = [0; 32];
    rand::fill(&mut random)
        .map_err(|_| tss_esapi::Error::WrapperError(tss_esapi::WrapperErrorKind::InternalError))?;
    let builder = PublicBuilder::new()
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes);
    let rsa = |bits| -> tss_esapi::Result<Public> {
        let parameters = PublicRsaParametersBuilder::new_unrestricted_signing_key(
            RsaScheme::Null,
            bits,
            RsaExponent::default(),
        );
        builder
            .clone()
            .with_public_algorithm(PublicAlgorithm::Rsa)
            .with_rsa_parameters(parameters.build()?)
            .with_rsa_unique_identifier(PublicKeyRsa::try_from(random.to_vec())?)
            .build()
    };
    let ec = |curve, hash| -> tss_esapi::Result<Public> {
        let scheme = EccScheme::EcDsa(HashScheme::new(hash));
        let parameters = PublicEccParametersBuilder::new_unrestricted_signing_key(scheme, curve);
        let unique = EccPoint::new(EccParameter::try_from(random.to_vec())?, EccParameter::default());
        builder
            .clone()
            .with_public_algorithm(PublicAlgorithm::Ecc)
            .with_ecc_parameters(parameters.build()?)
            .with_ecc_unique_identifier(unique)
            .build()
    };
    match spec {
        KeySpec::Rsa2048 => rsa(RsaKeyBits::Rsa2048),
        KeySpec::Rsa3072 => rsa(RsaKeyBits::Rsa3072),
        KeySpec::Rsa4096 => rsa(RsaKeyBits::Rsa4096),
        KeySpec::P256 => ec(EccCurve::NistP256, HashingAlgorithm::Sha256),
        KeySpec::P384 => ec(EccCurve::NistP384, HashingAlgorithm::Sha384),
    }
}
