//! The client certificate of the connection. A name such as `s61` contains the number of a security test.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::signed::{body, changed, classic, header};
use super::*;
use crate::world::builtin::{CLIENT_COMMON_NAME, SECRET_APP, TARGET_APP};

const AUTHORITY: &str = include_str!("../../../../testdata/certificates/signed-by/authority.pem");
const BY_SHA256: &str = include_str!("../../../../testdata/certificates/signed-by/sha256.pem");
const BY_SHA1: &str = include_str!("../../../../testdata/certificates/signed-by/sha1.pem");
const BY_MD5: &str = include_str!("../../../../testdata/certificates/signed-by/md5.pem");

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[test]
fn s61_a_mutual_tls_host_wants_a_certificate() {
    let emulator = emulator();
    for bound in [true, false] {
        let tls = TlsFacts::without_certificate(MTLS);
        assert_eq!(Ask { tls, bound, ..Ask::leg1(&emulator) }.code(&emulator), 392_200);
        let tls = TlsFacts::without_certificate(MTLS);
        assert_eq!(Ask { tls, bound, ..Ask::leg2(&emulator) }.code(&emulator), 392_200);
    }
    let empty = TlsFacts::with_certificate(MTLS, Vec::new());
    assert_eq!(Ask { tls: empty, ..Ask::leg1(&emulator) }.code(&emulator), 700_027, "an empty chain");
}

#[test]
fn s62_a_certificate_outside_its_dates_is_refused() {
    let emulator = emulator();
    let code = |from: u64, until: u64, at: u64| {
        let options = IssueOptions::new(CLIENT_COMMON_NAME).valid(later(from), later(until));
        let identity = emulator.issue_client_certificate(&options).unwrap();
        Ask { tls: with(MTLS, &identity), now: later(at), ..Ask::leg1(&emulator) }.code(&emulator)
    };
    assert_eq!([code(60, 600, 59), code(60, 600, 601)], [392_204, 392_204]);
    assert_eq!([code(60, 600, 60), code(60, 600, 600)], [0, 0], "its first and its last second");
}

#[test]
fn s62_a_certificate_signed_with_sha_1_or_md5_is_refused() {
    let emulator = emulator_with(|world| world.trusted_authorities = vec![AUTHORITY.to_owned()]);
    for (pem, expected) in [(BY_SHA256, 0), (BY_SHA1, 700_027), (BY_MD5, 700_027)] {
        let tls = TlsFacts::with_certificate(MTLS, vec![der(pem)]);
        assert_eq!(Ask { tls, ..Ask::leg1(&emulator) }.code(&emulator), expected, "{pem}");
    }
}

#[test]
fn s62_a_certificate_that_is_not_a_clients_is_refused() {
    let authority = rcgen::CertifiedIssuer::self_signed(
        params(IsCa::Ca(BasicConstraints::Unconstrained), vec![]),
        KeyPair::generate().unwrap(),
    )
    .unwrap();
    let emulator = emulator_with(|world| world.trusted_authorities = vec![authority.pem()]);
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    for (name, is_ca, usages, expected) in [
        ("a client's", IsCa::NoCa, vec![client.clone()], 0),
        ("explicitly no CA", IsCa::ExplicitNoCa, vec![client.clone()], 0),
        ("a CA's", IsCa::Ca(BasicConstraints::Constrained(0)), vec![client], 700_027),
        ("a server's", IsCa::NoCa, vec![ExtendedKeyUsagePurpose::ServerAuth], 700_027),
        ("for any purpose, but not named", IsCa::NoCa, vec![ExtendedKeyUsagePurpose::Any], 700_027),
        ("for no purpose", IsCa::NoCa, vec![], 700_027),
    ] {
        let leaf = params(is_ca, usages).signed_by(&KeyPair::generate().unwrap(), &authority).unwrap();
        let tls = TlsFacts::with_certificate(MTLS, vec![leaf.der().to_vec()]);
        assert_eq!(Ask { tls, ..Ask::leg1(&emulator) }.code(&emulator), expected, "{name}");
    }
}

fn params(is_ca: IsCa, usages: Vec<ExtendedKeyUsagePurpose>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, CLIENT_COMMON_NAME);
    (params.is_ca, params.extended_key_usages) = (is_ca, usages);
    params
}

#[test]
fn s63_a_certificate_of_one_application_proves_no_other() {
    let emulator = emulator_with(|world| {
        world.application_mut(BARE_APP).unwrap().trusted_subjects = vec!["CN=another-app".to_owned()];
    });
    for (client_id, expected) in [(BARE_APP, 700_030), (SECRET_APP, 392_189), (TARGET_APP, 392_189)] {
        assert_eq!(Ask { client_id, ..Ask::leg1(&emulator) }.code(&emulator), expected, "{client_id}");
    }
    let identity = emulator.client_identity();
    let foreign = changed(changed(body(LOGIN), "iss", json!(BARE_APP)), "sub", json!(BARE_APP));
    let signed = classic(signed_by(identity, header(identity), foreign));
    assert_eq!(Ask { client_id: BARE_APP, ..signed }.code(&emulator), 700_027);
}

#[test]
fn a_certificate_registered_by_itself_signs_but_is_no_client_of_mutual_tls() {
    let (other, emulator) = with_registered();
    let header = changed(header(&other), "x5c", Value::Null);
    let plain = |host: &str| {
        let tls = if host == MTLS { with(MTLS, &other) } else { TlsFacts::without_certificate(LOGIN) };
        Ask { tls, ..classic(signed_by(&other, header.clone(), body(host))) }.code(&emulator)
    };
    assert_eq!([plain(LOGIN), plain(MTLS)], [0, 392_189]);
}

#[test]
fn a_certificate_outside_its_dates_signs_no_assertion() {
    let (other, emulator) = with_registered();
    let registered = changed(header(&other), "x5c", Value::Null);
    let late = later(8 * 24 * 3_600);
    let claims = changed(changed(body(LOGIN), "exp", json!(late.as_secs() + 60)), "nbf", Value::Null);
    let trusted = emulator.client_identity();
    for assertion in
        [signed_by(&other, registered, claims.clone()), signed_by(trusted, header(trusted), claims)]
    {
        let response = Ask { now: late, ..classic(assertion) }.send(&emulator);
        assert_eq!((code(&response), response.status().as_u16()), (1_000_502, 401));
    }
}

/// Returns an otherwise unused certificate, and an emulator that has this certificate registered.
fn with_registered() -> (ClientIdentity, Emulator) {
    let other = unused_rsa();
    let pem = other.certificate_pem.clone();
    let emulator =
        emulator_with(|world| world.application_mut(APP).unwrap().registered_certificates = vec![pem]);
    (other, emulator)
}

#[test]
fn s64_bearer_over_mutual_tls_needs_assertion_and_connection_of_one_certificate() {
    let emulator = emulator();
    let identity = emulator.client_identity();
    let assertion = signed_by(identity, header(identity), body(MTLS));
    let ask = Ask { tls: with(MTLS, identity), ..classic(assertion) };
    let body_of = json_of(&ask.send(&emulator));
    assert_eq!(body_of["token_type"], "Bearer");
    assert_eq!(claims(body_of["access_token"].as_str().unwrap()).map().get("cnf"), None);
    let other = Ask { tls: with(MTLS, &p256(&emulator, "certbound-demo-app")), ..ask.clone() };
    assert_eq!(other.code(&emulator), 500_181);
    let nobody = Ask { tls: TlsFacts::without_certificate(MTLS), ..ask.clone() };
    assert_eq!(nobody.code(&emulator), 392_200);
    assert_eq!(Ask { bound: true, ..ask }.code(&emulator), 392_199);
}
