//! Certificate requests: right requests, and requests with one mistake each.

use std::sync::OnceLock;

use aws_lc_rs::signature::RsaEncoding;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_core::managed_identity::{CertificationRequest, CuId, PlatformMetadata};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng as _;
use rcgen::PublicKeyData as _;
use rsa::pkcs8::EncodePublicKey as _;
use x509_cert::attr::{Attribute, AttributeTypeAndValue};
use x509_cert::der::asn1::{Any, BitString, Ia5StringRef, PrintableStringRef, SetOfVec, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::request::{CertReq, CertReqInfo};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::*;
use crate::world::builtin::{OTHER_TENANT, SYSTEM_IDENTITY};

const DOMAIN_COMPONENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
const VM: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn key() -> KeyPair {
    let der = PrivatePkcs8KeyDer::from_pem_slice(unused_rsa().key_pem.as_bytes()).unwrap();
    KeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap()
}

fn sign(message: &[u8], padding: &'static dyn RsaEncoding) -> Vec<u8> {
    let mut signature = vec![0; key().public_modulus_len()];
    key().sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

/// Returns the request that the client makes for the machine's own identity.
pub(super) fn right() -> Vec<u8> {
    static ONE: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let metadata = PlatformMetadata {
            client_id: SYSTEM_IDENTITY.to_owned(),
            tenant_id: TENANT.to_owned(),
            cu_id: CuId { vm_id: Some(VM.to_owned()), vmss_id: None },
            attestation_endpoint: "https://certbound.attest.azure.net".to_owned(),
        };
        let spki = rcgen::KeyPair::from_pem(&unused_rsa().key_pem).unwrap().subject_public_key_info();
        let request = CertificationRequest::new(&metadata, &spki).unwrap();
        let signature = sign(request.to_be_signed(), &RSA_PSS_SHA256);
        request.with_signature(&signature).unwrap()
    };
    ONE.get_or_init(make).clone()
}

/// Returns the right request with a change, and signs the changed request.
fn changed(change: impl FnOnce(&mut CertReqInfo)) -> Vec<u8> {
    let mut request = CertReq::from_der(&right()).unwrap();
    change(&mut request.info);
    request.signature =
        BitString::from_bytes(&sign(&request.info.to_der().unwrap(), &RSA_PSS_SHA256)).unwrap();
    request.to_der().unwrap()
}

/// Returns the right request with a change of its algorithm or signature.
fn signed(change: impl FnOnce(&mut CertReq)) -> Vec<u8> {
    let mut request = CertReq::from_der(&right()).unwrap();
    change(&mut request);
    request.to_der().unwrap()
}

fn domain(text: &str) -> AttributeTypeAndValue {
    let value = Any::encode_from(&Ia5StringRef::new(text).unwrap()).unwrap();
    AttributeTypeAndValue { oid: DOMAIN_COMPONENT, value }
}

fn common(text: &str) -> AttributeTypeAndValue {
    let value = Any::encode_from(&PrintableStringRef::new(text).unwrap()).unwrap();
    AttributeTypeAndValue { oid: COMMON_NAME, value }
}

fn subject(rdns: Vec<Vec<AttributeTypeAndValue>>) -> Vec<u8> {
    let rdns = rdns.into_iter().map(|rdn| RelativeDistinguishedName::try_from(rdn).unwrap()).collect();
    let rdns: Vec<RelativeDistinguishedName> = rdns;
    let name = Name::from_der(&RdnSequence::from(rdns).to_der().unwrap()).unwrap();
    changed(|info| info.subject = name)
}

/// Returns the attribute of the compute unit, with this text.
fn unit(text: &str) -> Attribute {
    let value = Any::encode_from(&Utf8StringRef::new(text).unwrap()).unwrap();
    let oid = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.90.2.10");
    Attribute { oid, values: SetOfVec::try_from(vec![value]).unwrap() }
}

fn attributes(all: Vec<Attribute>) -> Vec<u8> {
    changed(|info| info.attributes = SetOfVec::try_from(all).unwrap())
}

/// Returns an attribute that requests basicConstraints CA:TRUE.
fn wants_to_be_an_authority() -> Attribute {
    let extensions = [
        0x30, 0x11, 0x30, 0x0f, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x05, 0x30, 0x03, 0x01,
        0x01, 0xff,
    ];
    let value = Any::from_der(&extensions).unwrap();
    Attribute { oid: EXTENSION_REQUEST, values: SetOfVec::try_from(vec![value]).unwrap() }
}

/// Returns the algorithm RSASSA-PSS. `hash` is the hash of the message, `mask` is the hash of the mask, and `salt` is
/// the length of the salt in bytes.
fn pss(hash: u8, mask: u8, salt: u8) -> AlgorithmIdentifierOwned {
    let sha2 = |which: u8| [0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, which];
    let mut der =
        vec![0x30, 0x3d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x30];
    der.extend([0xa0, 0x0d]);
    der.extend(sha2(hash));
    der.extend([0xa1, 0x1a, 0x30, 0x18, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08]);
    der.extend(sha2(mask));
    der.extend([0xa2, 0x03, 0x02, 0x01, salt]);
    AlgorithmIdentifierOwned::from_der(&der).unwrap()
}

/// Returns status and body of the answer to a request. `csr` is the base64 of the request, or an invalid text.
fn ask(emulator: &Emulator, more: &str, csr: &str) -> (u16, Value) {
    let request =
        bare(&Method::POST, &format!("{ISSUE}{more}")).header("host", HOST).header("metadata", "true");
    let response = send(emulator, request, json!({ "csr": csr }).to_string());
    (response.status().as_u16(), json_of(&response))
}

/// Returns the body of the answer to a right request.
pub(super) fn issued(emulator: &Emulator, more: &str, der: &[u8]) -> Value {
    let (status, body) = ask(emulator, more, &STANDARD.encode(der));
    assert_eq!(status, 200, "{body}");
    body
}

fn public_key(der: &[u8]) -> impl FnOnce(&mut CertReqInfo) {
    let key = SubjectPublicKeyInfoOwned::from_der(der).unwrap();
    |info| info.public_key = key
}

#[test]
fn s83_the_right_request_is_accepted_and_its_certificate_is_for_its_key() {
    let emulator = emulator();
    let body = issued(&emulator, "", &right());
    let der = STANDARD.decode(body["certificate"].as_str().unwrap()).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let request = CertReq::from_der(&right()).unwrap();
    assert_eq!(certificate.public_key().raw, request.info.public_key.to_der().unwrap());
    assert_eq!(certificate.subject().to_string(), format!("DC={TENANT}, CN={SYSTEM_IDENTITY}"));
    assert_eq!((&body["client_id"], &body["tenant_id"]), (&json!(SYSTEM_IDENTITY), &json!(TENANT)));
    assert_eq!(body["identity_type"], "SystemAssigned");
    assert_eq!(body["mtls_authentication_endpoint"], "https://westus3.mtlsauth.microsoft.com");
    // The helpers that change and sign a request do not make it wrong.
    for der in [
        changed(|_| {}),
        signed(|_| {}),
        signed(|it| it.algorithm = pss(1, 1, 32)),
        subject(vec![vec![domain(TENANT)], vec![common(SYSTEM_IDENTITY)]]),
        attributes(vec![unit(&format!(r#"{{"vmId":"{VM}"}}"#))]),
    ] {
        issued(&emulator, "", &der);
    }
}

#[test]
fn s83_a_certificate_request_is_exactly_what_it_must_be() {
    let emulator = emulator();
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().subject_public_key_info();
    let ec = rcgen::KeyPair::generate().unwrap().subject_public_key_info();
    let mut unnamed = SubjectPublicKeyInfoOwned::from_der(&ec).unwrap();
    unnamed.algorithm.parameters = None;
    let unnamed = unnamed.to_der().unwrap();
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().subject_public_key_info();
    let weak = rsa::PrivateKey::new(&mut ChaCha20Rng::from_seed([7; 32]), 1024).unwrap();
    let weak = weak.to_public_key().to_public_key_der().unwrap().into_vec();
    let this = || unit(&format!(r#"{{"vmId":"{VM}"}}"#));
    // This is the OID of `unstructuredName` (RFC 2985).
    let of_another_kind = |mut it: Attribute| {
        it.oid = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.2");
        it
    };
    let twice = format!("{TENANT}, CN={SYSTEM_IDENTITY}");
    for (what, der, expected) in [
        (
            "another signature",
            signed(|it| it.signature = BitString::from_bytes(&[7; 256]).unwrap()),
            "not signed",
        ),
        ("another key", changed(public_key(&other)), "not signed"),
        (
            "PKCS #1 under the name of PSS",
            signed(|it| {
                let message = it.info.to_der().unwrap();
                it.signature = BitString::from_bytes(&sign(&message, &RSA_PKCS1_SHA256)).unwrap();
            }),
            "not signed",
        ),
        (
            "PSS under the name of PKCS #1",
            signed(|it| {
                let name = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
                it.algorithm = AlgorithmIdentifierOwned { oid: name, parameters: None };
            }),
            "not signed",
        ),
        ("no parameters, so SHA-1", signed(|it| it.algorithm.parameters = None), "not signed"),
        ("SHA-384", signed(|it| it.algorithm = pss(2, 1, 32)), "not signed"),
        ("another mask", signed(|it| it.algorithm = pss(1, 2, 32)), "not signed"),
        ("another salt", signed(|it| it.algorithm = pss(1, 1, 20)), "not signed"),
        ("a weak key", changed(public_key(&weak)), "2048 to 8192 bits"),
        ("an elliptic curve", changed(public_key(&ec)), "2048 to 8192 bits"),
        ("a curve without a name", changed(public_key(&unnamed)), "2048 to 8192 bits"),
        ("another algorithm", changed(public_key(&ed25519)), "2048 to 8192 bits"),
        ("another identity", subject(vec![vec![domain(TENANT)], vec![common(USER_IDENTITY)]]), "subject"),
        (
            "another tenant",
            subject(vec![vec![domain(OTHER_TENANT)], vec![common(SYSTEM_IDENTITY)]]),
            "subject",
        ),
        ("no subject", subject(vec![]), "subject"),
        ("the other order", subject(vec![vec![common(SYSTEM_IDENTITY)], vec![domain(TENANT)]]), "subject"),
        ("both in one", subject(vec![vec![domain(TENANT), common(SYSTEM_IDENTITY)]]), "subject"),
        ("one that reads like two", subject(vec![vec![domain(&twice)]]), "subject"),
        (
            "one more",
            subject(vec![vec![domain(TENANT)], vec![common(SYSTEM_IDENTITY)], vec![common(SYSTEM_IDENTITY)]]),
            "subject",
        ),
        ("no compute unit", attributes(vec![]), "one attribute"),
        ("an attribute of another kind", attributes(vec![of_another_kind(this())]), "attribute is not"),
        (
            "an authority's extension beside the compute unit",
            attributes(vec![this(), wants_to_be_an_authority()]),
            "one attribute",
        ),
        (
            "another machine",
            attributes(vec![unit(r#"{"vmId":"fedcba98-0000-0000-0000-000000000000"}"#)]),
            "unit",
        ),
        (
            "a scale set that it is not in",
            attributes(vec![unit(&format!(r#"{{"vmId":"{VM}","vmssId":"fedcba98"}}"#))]),
            "compute unit is not this",
        ),
        (
            "an empty scale set",
            attributes(vec![unit(&format!(r#"{{"vmId":"{VM}","vmssId":""}}"#))]),
            "compute unit is not this",
        ),
        (
            "two machines",
            attributes(vec![unit(&format!(r#"{{"vmId":"another","vmId":"{VM}"}}"#))]),
            "compute unit is not this",
        ),
        ("no JSON", attributes(vec![unit(VM)]), "compute unit is not this"),
        ("a second request behind", [right(), right()].concat(), "extra bytes"),
        ("a byte too few", right()[..right().len() - 1].to_vec(), "cannot be read"),
    ] {
        let (status, body) = ask(&emulator, "", &STANDARD.encode(&der));
        let text = body["error_description"].as_str().unwrap_or_default();
        assert!(status == 400 && text.contains(expected), "{what}: {status} {body}");
    }
    let base64 = STANDARD.encode(right());
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{base64}\n-----END CERTIFICATE REQUEST-----\n");
    for (what, csr) in [
        ("PEM", pem.clone()),
        ("PEM in base64", STANDARD.encode(&pem)),
        ("lines", format!("{}\n{}", &base64[..64], &base64[64..])),
        ("nothing", String::new()),
    ] {
        assert_eq!(ask(&emulator, "", &csr).0, 400, "{what}");
    }
    // The request of one identity is refused for a different identity.
    assert_eq!(ask(&emulator, &format!("&client_id={USER_IDENTITY}"), &base64).0, 400);
    for body in [json!({}), json!({ "csr": 7 }), json!({ "csr": null }), json!([])] {
        let request = bare(&Method::POST, ISSUE).header("host", HOST).header("metadata", "true");
        assert_eq!(send(&emulator, request, body.to_string()).status(), 400, "{body}");
    }
}

#[test]
fn s83_a_machine_of_a_scale_set_names_both() {
    let emulator = emulator_with(|world| world.machine.vmss_id = "fedcba98".to_owned());
    issued(&emulator, "", &attributes(vec![unit(&format!(r#"{{"vmId":"{VM}","vmssId":"fedcba98"}}"#))]));
    for wrong in [
        format!(r#"{{"vmId":"{VM}"}}"#),
        r#"{"vmssId":"fedcba98"}"#.to_owned(),
        format!(r#"{{"vmId":"{VM}","vmssId":"another"}}"#),
    ] {
        let (status, body) = ask(&emulator, "", &STANDARD.encode(attributes(vec![unit(&wrong)])));
        assert!(status == 400 && body.to_string().contains("compute unit"), "{wrong}: {body}");
    }
    // A machine without an id of its own names only its scale set.
    let emulator = emulator_with(|world| {
        world.machine.vm_id = String::new();
        world.machine.vmss_id = "fedcba98".to_owned();
    });
    issued(&emulator, "", &attributes(vec![unit(r#"{"vmssId":"fedcba98"}"#)]));
}

#[test]
fn a_certificate_is_new_each_time_unless_the_machine_keeps_them() {
    let certificate =
        |emulator: &Emulator, more: &str| issued(emulator, more, &right())["certificate"].clone();
    let usual = emulator();
    assert_ne!(certificate(&usual, ""), certificate(&usual, ""));

    let keeping = emulator_with(|world| world.machine.keeps_certificates = true);
    let first = certificate(&keeping, "");
    assert_eq!(certificate(&keeping, ""), first);
    assert_eq!(certificate(&keeping, "&bypass_cache=false"), first);
    let anew = certificate(&keeping, "&bypass_cache=true");
    assert_ne!(anew, first);
    assert_eq!(certificate(&keeping, ""), anew, "the newer certificate replaces it");
    keeping.reset();
    let newest = certificate(&keeping, "");
    assert_ne!(newest, anew);

    // A fault that makes the certificate wrong applies to the next request, and the machine keeps no wrong certificate.
    super::faults::plant(
        &keeping,
        crate::fault::PlatformEndpoint::IssueCredential,
        "\"expired_certificate\"",
    );
    assert_ne!(certificate(&keeping, ""), newest);
    assert_eq!(certificate(&keeping, ""), newest);
}
