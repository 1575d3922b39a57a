//! The attestation of a key, which openssl and tpm2-tools read.

use std::fs;

use certbound::certificate::{SignatureScheme, Signer as _};
use certbound_tpm::{KeyHandle, KeySpec, Tpm, TpmAttestation, TpmError, TpmOptions};

use crate::swtpm::{Swtpm, without_descriptors};

const NONCE: &[u8] = b"challenge of the service";

fn key() -> KeyHandle {
    KeyHandle::new(0x8130_0001).unwrap()
}

/// Checks an attestation as a service would, with programs that share no code with the crate.
fn check(swtpm: &Swtpm, attested: &TpmAttestation) {
    // tpm2_print reads a TPM2B_PUBLIC, which begins with its length.
    let length = u16::try_from(attested.attestation_key.len()).unwrap().to_be_bytes();
    let attester = [&length[..], &attested.attestation_key].concat();
    fs::write(swtpm.path("attester"), attester).unwrap();
    fs::write(swtpm.path("statement"), &attested.statement).unwrap();
    let pem = swtpm.tool("tpm2_print", &["-t", "TPM2B_PUBLIC", "-f", "pem", "attester"]);
    fs::write(swtpm.path("attester.pem"), pem).unwrap();
    // TPMT_SIGNATURE of RSASSA: algorithm, hash, length, signature.
    let (head, signature) = attested.signature.split_at(6);
    assert_eq!(head, [0x00, 0x14, 0x00, 0x0b, 0x01, 0x00]);
    fs::write(swtpm.path("signature"), signature).unwrap();
    let mut openssl = without_descriptors("openssl");
    openssl.current_dir(swtpm.path("")).args(["dgst", "-sha256", "-verify", "attester.pem"]);
    let verified = openssl.args(["-signature", "signature", "statement"]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));

    // TPMS_ATTEST (Part 2, section 10.12.12): magic, type, signer, nonce, clock, firmware, name, qualified name.
    let mut rest = &attested.statement[..];
    assert_eq!(
        take(&mut rest, 6),
        [0xff, 0x54, 0x43, 0x47, 0x80, 0x17],
        "TPM_GENERATED_VALUE, ATTEST_CERTIFY"
    );
    sized(&mut rest);
    assert_eq!(sized(&mut rest), NONCE);
    take(&mut rest, 17 + 8);
    let name: String = sized(&mut rest).iter().map(|byte| format!("{byte:02x}")).collect();
    let shown = swtpm.tool("tpm2_readpublic", &["-c", "0x81300001"]);
    assert!(shown.contains(&format!("name: {name}")), "{name}: {shown}");
    // The name of a key is the hash of its public area, after the number of the hash.
    fs::write(swtpm.path("public"), &attested.public).unwrap();
    let hash = without_descriptors("sha256sum").arg(swtpm.path("public")).output().unwrap();
    assert!(hash.status.success(), "{}", String::from_utf8_lossy(&hash.stderr));
    assert_eq!(name, format!("000b{}", String::from_utf8(hash.stdout).unwrap().split(' ').next().unwrap()));
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(count);
    *rest = left;
    taken
}

/// Takes a field that begins with its length.
fn sized<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = take(rest, 2);
    take(rest, usize::from(u16::from_be_bytes([length[0], length[1]])))
}

#[test]
fn a_new_attestation_key_signs_what_the_tpm_says_about_the_key() {
    let swtpm = Swtpm::start();
    let tpm = swtpm.open();
    tpm.generate(key(), KeySpec::Rsa2048).unwrap();
    let opened = tpm.key(key()).unwrap();
    let attested = opened.attest(NONCE).unwrap();
    let again = opened.attest(NONCE).unwrap();
    assert_eq!(
        attested.attestation_key, again.attestation_key,
        "the TPM makes the same attestation key again"
    );
    assert_eq!(attested.endorsement_certificate, None, "this TPM has no certificate");
    for _ in 0..8 {
        opened.attest(b"").unwrap();
    }
    let error = opened.attest(&[7; 33]).unwrap_err();
    assert!(error.to_string().contains("33 bytes"), "{error}");
    drop((tpm, opened));
    check(&swtpm, &attested);
    assert_eq!(
        swtpm.tool("tpm2_getcap", &["handles-transient"]).trim(),
        "",
        "nothing stays in the TPM's memory"
    );
}

#[test]
fn the_platforms_attestation_key_and_its_certificate_are_used() {
    let swtpm = Swtpm::start();
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";
    swtpm.put("0x81000003", &["-G", "rsa2048:rsassa-sha256:null", "-a", attributes]);
    // Any bytes stand for the certificate: the crate returns what is stored.
    fs::write(swtpm.path("certificate"), b"certificate of the endorsement key").unwrap();
    let index = ["0x01c00002", "-C", "o", "-s", "34", "-a", "ownerread|ownerwrite|authread|authwrite"];
    swtpm.tool("tpm2_nvdefine", &index);
    swtpm.tool("tpm2_nvwrite", &["0x01c00002", "-C", "o", "-i", "certificate"]);
    let options = TpmOptions::default().attestation_key(KeyHandle::new(0x8100_0003).unwrap());
    let tpm = Tpm::open(&swtpm.address(), options).unwrap();
    tpm.generate(key(), KeySpec::P256).unwrap();
    let attested = tpm.key(key()).unwrap().attest(NONCE).unwrap();
    assert_eq!(attested.endorsement_certificate.as_deref(), Some(&b"certificate of the endorsement key"[..]));
    drop(tpm);
    check(&swtpm, &attested);
}

/// A wrong handle of the attestation key is the error of that handle, and the signing key goes on.
#[test]
fn a_missing_attestation_key_does_not_close_the_signing_key() {
    let swtpm = Swtpm::start();
    let attester = KeyHandle::new(0x8100_0009).unwrap();
    let tpm = Tpm::open(&swtpm.address(), TpmOptions::default().attestation_key(attester)).unwrap();
    tpm.generate(key(), KeySpec::P256).unwrap();
    let opened = tpm.key(key()).unwrap();
    assert_eq!(opened.attest(NONCE).unwrap_err(), TpmError::NoKey { handle: attester });
    opened.sign(SignatureScheme::EcdsaP256Sha256, b"a message").unwrap();
}

/// The TPM would refuse the command, and the error would not name the key.
#[test]
fn an_attestation_key_that_only_a_policy_can_use_is_refused_by_its_handle() {
    let swtpm = Swtpm::start();
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|restricted|sign";
    swtpm.put("0x81000003", &["-G", "rsa2048:rsassa-sha256:null", "-a", attributes]);
    let attester = KeyHandle::new(0x8100_0003).unwrap();
    let tpm = Tpm::open(&swtpm.address(), TpmOptions::default().attestation_key(attester)).unwrap();
    tpm.generate(key(), KeySpec::P256).unwrap();
    let opened = tpm.key(key()).unwrap();
    let reason = "it can be used only by a policy".to_owned();
    assert_eq!(opened.attest(NONCE).unwrap_err(), TpmError::AttesterUnusable { handle: attester, reason });
    opened.sign(SignatureScheme::EcdsaP256Sha256, b"a message").unwrap();
}

/// The TPM names the session whose authorization it refused, so the error names the right key of two.
#[test]
fn an_authorization_of_the_attestation_key_is_told_from_that_of_the_key() {
    let swtpm = Swtpm::start();
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";
    let restricted = ["-G", "rsa2048:rsassa-sha256:null", "-a", attributes];
    swtpm.put("0x81000003", &[&restricted[..], &["-p", "secret"]].concat());
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign";
    swtpm.put("0x81000004", &["-G", "rsa2048", "-a", attributes, "-p", "secret"]);
    let attester = KeyHandle::new(0x8100_0003).unwrap();
    let tpm = Tpm::open(&swtpm.address(), TpmOptions::default().attestation_key(attester)).unwrap();
    tpm.generate(key(), KeySpec::P256).unwrap();
    let opened = tpm.key(key()).unwrap();
    for _ in 0..2 {
        assert_eq!(opened.attest(NONCE).unwrap_err(), TpmError::Authorization { handle: attester });
    }
    opened.sign(SignatureScheme::EcdsaP256Sha256, b"a message").unwrap();
    drop((tpm, opened));

    let locked = KeyHandle::new(0x8100_0004).unwrap();
    let tpm = swtpm.open();
    let error = tpm.key(locked).unwrap().attest(NONCE).unwrap_err();
    assert_eq!(error, TpmError::Authorization { handle: locked });
}
