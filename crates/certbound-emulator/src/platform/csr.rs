//! The checks of a certificate request and of an attestation.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound_core::certificate::KeyAlgorithm;
use certbound_core::jws::{Algorithm, UnverifiedJws};
use serde_json::{Value, json};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::Utf8StringRef;
use x509_cert::request::CertReq;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

use super::Platform;
use crate::keys::RSA_BITS;
use crate::paths::ATTESTATION_SERVICE;
use crate::world::World;

/// Microsoft's attribute for the compute unit.
const COMPUTE_UNIT: &str = "1.3.6.1.4.1.311.90.2.10";
const DOMAIN_COMPONENT: &str = "0.9.2342.19200300.100.1.25";
const COMMON_NAME: &str = "2.5.4.3";
const MGF1: &str = "1.2.840.113549.1.1.8";
const SHA_256: &str = "2.16.840.1.101.3.4.2.1";

/// Checks that a request is for this identity on this machine, and that the key in the request signed the request.
/// Returns the public key (DER).
pub(super) fn check(der: &[u8], client_id: &str, tenant: &str, world: &World) -> Result<Vec<u8>, String> {
    let (rest, request) = X509CertificationRequest::from_der(der)
        .map_err(|_| "The certificate request cannot be read.".to_owned())?;
    if !rest.is_empty() {
        return Err("The certificate request has extra bytes at its end.".to_owned());
    }
    let info = &request.certification_request_info;
    if !names(&info.subject, tenant, client_id) {
        let expected = format!("DC={tenant}, CN={client_id}");
        return Err(format!("The request's subject is '{}', not '{expected}'.", info.subject));
    }
    let key = &info.subject_pki;
    if !matches!(KeyAlgorithm::of_public_key(key.raw), Some(KeyAlgorithm::Rsa { bits }) if RSA_BITS.contains(&bits))
    {
        return Err("The request's key is not RSA of 2048 to 8192 bits.".to_owned());
    }
    if compute_unit(der)? != Some(unit_of(world)) {
        return Err("The compute unit is not this machine.".to_owned());
    }
    let signature = request.signature_value.data.as_ref();
    let right = is_pss_of_sha_256(&request.signature_algorithm)
        && UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.raw).verify(info.raw, signature).is_ok();
    if !right {
        return Err("The request is not signed by its key, by RSA-PSS with SHA-256.".to_owned());
    }
    Ok(key.raw.to_vec())
}

/// Returns the compute unit of the machine (`cuId`). An id that is empty is absent.
pub(super) fn unit_of(world: &World) -> Value {
    let ids = [("vmId", &world.machine.vm_id), ("vmssId", &world.machine.vmss_id)];
    ids.into_iter().filter(|(_, id)| !id.is_empty()).map(|(name, id)| (name, json!(id))).collect()
}

/// Returns whether the subject consists of two relative distinguished names with one attribute each: the tenant as DC,
/// then the client id as CN. The parsed subject is compared, because in its text form one name can look like two names.
fn names(subject: &X509Name<'_>, tenant: &str, client_id: &str) -> bool {
    let mut names = subject.iter_rdn().map(|rdn| {
        let mut parts = rdn.iter();
        let only = parts.next().filter(|_| rdn.iter().count() == 1)?;
        Some((only.attr_type().to_id_string(), only.as_str().ok()?))
    });
    let mut is = |oid: &str, value: &str| {
        names.next().flatten().is_some_and(|(found, text)| found == oid && text == value)
    };
    is(DOMAIN_COMPONENT, tenant) && is(COMMON_NAME, client_id) && names.next().is_none()
}

/// Returns whether the algorithm is RSASSA-PSS with SHA-256, MGF1 of SHA-256 and a salt of 32 bytes (RFC 4055, section
/// 3.1). Parameters that are absent mean SHA-1 and 20 bytes.
fn is_pss_of_sha_256(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    let Ok(SignatureAlgorithm::RSASSA_PSS(pss)) = SignatureAlgorithm::try_from(algorithm) else {
        return false;
    };
    let mask = pss.mask_gen_algorithm();
    pss.hash_algorithm_oid().to_id_string() == SHA_256
        && mask.is_ok_and(|it| it.mgf.to_id_string() == MGF1 && it.hash.to_id_string() == SHA_256)
        && pss.salt_length() == 32
        && pss.trailer_field() == 1
}

/// Returns the value of the compute unit, the only attribute that a request may have. [`X509CertificationRequest`]
/// skips the values of attributes that it does not know.
fn compute_unit(der: &[u8]) -> Result<Option<Value>, String> {
    let request = CertReq::from_der(der).map_err(|_| "The certificate request is not DER.".to_owned())?;
    let [attribute] = request.info.attributes.as_slice() else {
        return Err("The request must have one attribute, the compute unit.".to_owned());
    };
    let [value] = attribute.values.as_slice() else {
        return Err("The compute unit is not one value.".to_owned());
    };
    if attribute.oid.to_string() != COMPUTE_UNIT {
        return Err("The request's attribute is not the compute unit.".to_owned());
    }
    let text = value
        .decode_as::<Utf8StringRef<'_>>()
        .map_err(|_| "The compute unit is not a UTF-8 text.".to_owned())?;
    Ok(certbound_core::json::parse_object(text.as_str().as_bytes()).ok().map(Value::Object))
}

/// Returns the AADSTS number for this attestation, or `None` if the attestation is valid. The token service refuses a
/// certificate that was issued with an invalid attestation, and its answer contains this number.
///
/// A valid attestation is a JWT that the emulator's own key signed. Its claim `key` contains the SHA-256 of the
/// request's public key.
pub(super) fn attestation_fault(token: &str, public_key: &[u8], platform: &Platform<'_>) -> Option<u32> {
    const BAD_TIME: u32 = 1_000_610;
    const BAD_ISSUER: u32 = 1_000_611;
    const BAD_CLAIM: u32 = 1_000_612;
    const BAD_JKU: u32 = 1_000_613;
    const BAD_SIGNATURE: u32 = 1_000_614;

    let Ok(jws) = UnverifiedJws::parse(token) else { return Some(BAD_SIGNATURE) };
    let foreign_keys =
        certbound_core::jws::unverified_header(token).is_ok_and(|header| header.contains_key("jku"));
    if foreign_keys {
        return Some(BAD_JKU);
    }
    let key = jws.header().kid().and_then(|kid| platform.keys.by_kid(kid));
    let Some(key) = key else { return Some(BAD_SIGNATURE) };
    let Ok(verified) = jws.verify(key.public(), &[Algorithm::Rs256]) else { return Some(BAD_SIGNATURE) };
    let claims = verified.claims();
    if claims.string("iss") != Some(ATTESTATION_SERVICE) {
        return Some(BAD_ISSUER);
    }
    if claims.time("exp").ok().flatten().is_none_or(|until| until <= platform.now) {
        return Some(BAD_TIME);
    }
    let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, public_key));
    (claims.string("key") != Some(thumbprint.as_str())).then_some(BAD_CLAIM)
}
