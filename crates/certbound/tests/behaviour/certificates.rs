//! Loading certificates: every supported form, and every error.

use std::path::PathBuf;

use std::time::Duration;

use certbound::error::BindingCertificateError;
use certbound::{BindingCertificate, Secret};
use certbound_testkit::Pair;
use certbound_testkit::emulator::world::builtin::APP;

use crate::two_leg::vault;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/certificates").join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

fn thumbprint(name: &str) -> String {
    String::from_utf8(read(name)).unwrap()
}

#[test]
fn every_form_of_a_key_is_read() {
    let files = |chain: &str, key: &str| {
        BindingCertificate::from_pem_files(path(chain), path(key))
            .unwrap_or_else(|error| panic!("{chain} {key}: {error}"))
    };
    let password = Secret::new("right");
    let encrypted = |chain: &str, key: &str| {
        BindingCertificate::from_encrypted_pem_files(path(chain), path(key), &password)
            .unwrap_or_else(|error| panic!("{chain} {key}: {error}"))
    };
    let rsa = [
        files("rsa.pem", "rsa.pkcs8.pem"),
        files("rsa.pem", "rsa.pkcs1.pem"),
        BindingCertificate::from_pem_file(path("rsa.bundle.pem")).unwrap(),
        BindingCertificate::from_pfx_file(path("rsa.pfx"), Some(&password)).unwrap(),
        BindingCertificate::from_pfx_file(path("rsa.legacy.pfx"), Some(&password)).unwrap(),
        BindingCertificate::from_pem_or_pfx_file(path("rsa.pfx"), Some(&password)).unwrap(),
        BindingCertificate::from_file(path("rsa.bundle.pem"), None).unwrap(),
        BindingCertificate::from_file(path("rsa.bundle.pem"), Some(&password)).unwrap(),
        encrypted("rsa.pem", "rsa.encrypted.pem"),
        encrypted("rsa.pem", "rsa.encrypted-3des.pem"),
        encrypted("rsa.pem", "rsa.pkcs8.pem"),
        BindingCertificate::from_file(path("rsa.encrypted-bundle.pem"), Some(&password)).unwrap(),
    ];
    for certificate in rsa {
        assert_eq!(certificate.thumbprint().x5t_s256(), thumbprint("rsa.x5t-s256"));
        assert!(certificate.is_rsa());
    }
    let p256 = [
        files("p256.pem", "p256.pkcs8.pem"),
        files("p256.pem", "p256.sec1.pem"),
        encrypted("p256.pem", "p256.encrypted-scrypt.pem"),
        BindingCertificate::from_pem_file(path("p256.bundle.pem")).unwrap(),
        BindingCertificate::from_pfx_file(path("p256.empty-password.pfx"), None).unwrap(),
    ];
    for certificate in p256 {
        assert_eq!(certificate.thumbprint().x5t_s256(), thumbprint("p256.x5t-s256"));
        assert!(!certificate.is_rsa());
    }
    assert!(!files("p384.pem", "p384.pkcs8.pem").is_rsa());
}

#[test]
fn the_issuers_of_a_chain_come_along_leaf_first() {
    let password = Secret::new("right");
    let bundle = BindingCertificate::from_pem_file(path("rsa.bundle.pem")).unwrap();
    let pfx = BindingCertificate::from_pfx_file(path("rsa.pfx"), Some(&password)).unwrap();
    assert_eq!(bundle.chain().ders().len(), 2);
    assert_eq!(bundle.chain(), pfx.chain());
}

#[test]
fn what_is_wrong_is_said_and_what_to_do() {
    let pem = |bytes: &[u8]| BindingCertificate::from_pem(bytes).map(|_| ()).unwrap_err();
    let pair = |chain: &str, key: &str| {
        BindingCertificate::from_pem_pair(&read(chain), &read(key)).map(|_| ()).unwrap_err()
    };
    let pfx = |name: &str, password: &str| {
        BindingCertificate::from_pfx(&read(name), Some(&Secret::new(password))).map(|_| ()).unwrap_err()
    };
    let opened = |key: &str, password: &str| {
        let password = Secret::new(password);
        BindingCertificate::from_encrypted_pem(&read("rsa.pem"), &read(key), &password)
            .map(|_| ())
            .unwrap_err()
    };
    let of_file = |name: &str, password: Option<&Secret>| {
        BindingCertificate::from_file(path(name), password).map(|_| ()).unwrap_err()
    };
    let bundle = String::from_utf8(read("rsa.bundle.pem")).unwrap();
    let two_keys = [read("rsa.bundle.pem"), read("p256.pkcs8.pem")].concat();
    let not_base64 = bundle.replacen("MII", "M!I", 1);
    let no_end = bundle.split("-----END").next().unwrap().to_owned();
    let not_a_certificate = bundle.replacen("MII", "MIJ", 1);
    let cases = [
        (pem(b""), "certificate_missing"),
        (pem(b"hello"), "certificate_missing"),
        (pem(&read("rsa.pkcs8.pem")), "certificate_missing"),
        (pem(&read("rsa.pem")), "cert_without_private_key"),
        (pem(not_base64.as_bytes()), "certificate_pem_invalid"),
        (pem(no_end.as_bytes()), "certificate_pem_invalid"),
        (pem(not_a_certificate.as_bytes()), "certificate_invalid"),
        (pem(&two_keys), "certificate_several_keys"),
        (pair("rsa.pem", "rsa.encrypted.pem"), "certificate_key_encrypted"),
        (pair("rsa.pem", "rsa.encrypted-traditional.pem"), "certificate_key_encryption_unknown"),
        (opened("rsa.encrypted.pem", "wrong"), "certificate_password_wrong"),
        (opened("rsa.encrypted.pem", ""), "certificate_password_wrong"),
        (opened("rsa.encrypted-3des.pem", "wrong"), "certificate_password_wrong"),
        (opened("p256.encrypted-scrypt.pem", "wrong"), "certificate_password_wrong"),
        (opened("p256.encrypted-scrypt.pem", "right"), "certificate_key_mismatch"),
        (opened("rsa.encrypted-traditional.pem", "right"), "certificate_key_encryption_unknown"),
        (pair("rsa.pem", "other.pkcs8.pem"), "certificate_key_mismatch"),
        (pair("rsa.pem", "p256.pkcs8.pem"), "certificate_key_mismatch"),
        (pair("ca.pem", "rsa.pkcs8.pem"), "certificate_key_mismatch"),
        (pair("rsa1024.pem", "rsa1024.pkcs8.pem"), "cryptographic_error"),
        (pfx("rsa.pfx", "wrong"), "certificate_password_wrong"),
        (pfx("rsa.legacy.pfx", "wrong"), "certificate_password_wrong"),
        (pfx("rsa.pfx", ""), "certificate_password_wrong"),
        (BindingCertificate::from_pfx(&read("rsa.pfx"), None).unwrap_err(), "certificate_key_encrypted"),
        (
            BindingCertificate::from_pfx(&read("rsa.legacy.pfx"), None).unwrap_err(),
            "certificate_key_encrypted",
        ),
        (of_file("rsa.encrypted-bundle.pem", None), "certificate_key_encrypted"),
        // `openssl x509 -req` without extensions writes version 1.
        (pair("v1.pem", "rsa.pkcs8.pem"), "certificate_version_1"),
        (pfx("no-key.pfx", "right"), "cert_without_private_key"),
        (pfx("no-certificate.pfx", "right"), "certificate_missing"),
        (pfx("rsa.pem", "right"), "certificate_pfx_invalid"),
        (pem(&read("rsa.pfx")), "certificate_pfx_unexpected"),
        (pair("rsa.legacy.pfx", "rsa.pkcs8.pem"), "certificate_pfx_unexpected"),
        (pair("rsa.pem", "p256.empty-password.pfx"), "certificate_pfx_unexpected"),
        (opened("no-certificate.pfx", "right"), "certificate_pfx_unexpected"),
        (of_file("rsa.pfx", None), "certificate_pfx_unexpected"),
        (of_file("rsa.pfx", Some(&Secret::new("right"))), "certificate_pfx_unexpected"),
    ];
    for (error, code) in cases {
        assert_eq!(error.code(), code, "{error}");
        assert!(!error.fix().is_empty() && !error.to_string().is_empty());
    }
    // DER that is not a PFX, and a length beyond the end of the data.
    for other in [&[0x30, 0x82, 0x01, 0x00, 0x30][..], &[0x30, 0x84, 0x01], &[0x30], &[0x02, 0x01, 0x03]] {
        assert_eq!(pem(other).code(), "certificate_missing", "{other:x?}");
    }
    for form in
        [&[0x30, 0x05, 0x02, 0x01, 0x03][..], &[0x30, 0x80, 0x02, 0x01, 0x03], &[0x30, 0x81, 9, 2, 1, 3]]
    {
        assert_eq!(pem(form).code(), "certificate_pfx_unexpected", "{form:x?}");
    }
    let refused = BindingCertificateError::PfxInsteadOfPem;
    assert!(refused.fix().contains("openssl pkcs12 -in") && refused.fix().contains("cargo feature `pfx`"));
    let missing = BindingCertificate::from_pem_file(path("nothing.pem")).unwrap_err();
    assert!(matches!(missing, BindingCertificateError::Unreadable { .. }));
}

#[test]
fn an_error_names_the_file_that_has_the_fault() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        file
    };
    let whole = read("rsa.bundle.pem");
    let chain = put("chain.pem", &read("rsa.pem"));
    let other_key = put("other.pem", &read("other.pkcs8.pem"));
    let der = put("leaf.der", BindingCertificate::from_pem(&whole).unwrap().chain().leaf_der());
    let traditional = [read("rsa.pem"), read("rsa.encrypted-traditional.pem")].concat();
    let traditional = put("old.pem", &traditional);
    let of_one = |file: &PathBuf| BindingCertificate::from_file(file, None).unwrap_err();
    let of_two = |chain: &PathBuf, key: &PathBuf| BindingCertificate::from_pem_files(chain, key).unwrap_err();
    for (error, file, code) in [
        (of_one(&chain), &chain, "cert_without_private_key"),
        (
            BindingCertificate::from_pem_or_pfx_file(&chain, None).unwrap_err(),
            &chain,
            "cert_without_private_key",
        ),
        (of_two(&chain, &other_key), &other_key, "certificate_key_mismatch"),
        (of_two(&other_key, &chain), &other_key, "certificate_missing"),
        (of_two(&chain, &chain), &chain, "cert_without_private_key"),
        (of_one(&traditional), &traditional, "certificate_key_encryption_unknown"),
        (of_one(&der), &der, "certificate_der_unexpected"),
        (
            BindingCertificate::from_pem_or_pfx_file(&der, None).unwrap_err(),
            &der,
            "certificate_der_unexpected",
        ),
        (BindingCertificate::from_pfx_file(&der, None).unwrap_err(), &der, "certificate_der_unexpected"),
    ] {
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(error.to_string(), format!("{}: {}", file.display(), error.without_file()));
        assert_eq!(error.fix(), error.without_file().fix());
        assert!(matches!(&error, BindingCertificateError::InFile { path, .. } if path == file), "{error:?}");
    }
    // An error of reading already names the path.
    let error = of_one(&folder.path().join("nothing.pem")).to_string();
    assert_eq!(error.matches("nothing.pem").count(), 1, "{error}");
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    let password = Secret::new("right");
    for name in ["rsa.pfx", "rsa.legacy.pfx", "p256.bundle.pem", "rsa.encrypted-bundle.pem"] {
        let whole = read(name);
        for at in (0..whole.len()).step_by(whole.len() / 24) {
            let _ = BindingCertificate::from_pfx(&whole[..at], Some(&password));
            let _ = BindingCertificate::from_pem(&whole[..at]);
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            let _ = BindingCertificate::from_pem(&flipped);
            let _ = BindingCertificate::from_encrypted_pem(&flipped, &flipped, &password);
        }
    }
}

/// The limit prevents a large file, such as a disk image, from being read into memory.
#[test]
fn a_file_larger_than_a_mebibyte_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.pem");
    let mut text = read("rsa.bundle.pem");
    text.resize(1024 * 1024, b'\n');
    std::fs::write(&file, &text).unwrap();
    BindingCertificate::from_pem_file(&file).unwrap();
    text.push(b'\n');
    std::fs::write(&file, &text).unwrap();
    let error = BindingCertificate::from_pem_file(&file).unwrap_err();
    assert!(matches!(error, BindingCertificateError::Unreadable { .. }), "{error:?}");
    assert!(error.to_string().contains("larger than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_is_told_with_its_file_and_dates() {
    let pair = Pair::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.pem");
    std::fs::write(&file, pair.emulator().client_identity().bundle_pem()).unwrap();
    let certificate = BindingCertificate::from_pem_file(&file).unwrap();
    let (not_before, not_after) = (certificate.chain().not_before(), certificate.chain().not_after());
    assert!(format!("{certificate:?}").contains(&format!("not_after: UnixTime({not_after})")));
    let client = pair.builder(APP).with_certificate(certificate).build().unwrap();
    let text = async || {
        let error = client.bound_token(&vault()).await.unwrap_err();
        assert_eq!(error.code(), "certificate_not_valid_now");
        format!("{error}; {}", error.fix())
    };
    pair.clock().set(not_after.plus(Duration::from_secs(329 * 24 * 3600)));
    let text_after = text().await;
    let expected = format!("of {} was valid until {not_after} and expired 329 days ago", file.display());
    assert!(text_after.contains(&expected) && text_after.contains("renew"), "{text_after}");
    pair.clock().set(not_before.minus(Duration::from_secs(20 * 60)));
    let text_before = text().await;
    assert!(
        text_before.contains(&format!("is not valid yet: it becomes valid at {not_before}, in 20 minutes")),
        "{text_before}"
    );
    assert!(text_before.contains("clock"), "{text_before}");
}
