//! Certificates that cannot be used, or that should be changed.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use certbound::clock::{Clock as _, SystemClock};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use tempfile::TempDir;

use super::{Report, offline};
use crate::support::{file, text};

/// Returns the path of a certificate that the repository has.
fn golden(name: &str) -> String {
    format!("{}/../../testdata/certificates/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Returns the report about files, without a request.
fn checked(args: &[&str]) -> Report {
    Report::of(&mut offline(&[args, &["--dry-run"]].concat()))
}

/// Writes a file that only its owner can read.
fn private(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = file(folder, name, content);
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// Returns a self-signed certificate with its key, and the problems that `doctor` finds in it.
fn problems_of(
    folder: &TempDir,
    name: &str,
    change: impl Fn(&mut CertificateParams),
) -> Vec<(String, String)> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2200, 1, 1);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let pem = format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    let report = checked(&["--leg1-certificate", text(&private(folder, name, &pem))]);
    report.problems().iter().map(|(id, status, _)| ((*id).to_owned(), (*status).to_owned())).collect()
}

/// Returns the path of a certificate that has expired.
pub(super) fn expired(folder: &TempDir) -> PathBuf {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    let key = KeyPair::generate().unwrap();
    let pem = format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    private(folder, "expired.pem", &pem)
}

#[test]
fn the_key_is_named_with_its_size_or_curve() {
    for (name, kind) in
        [("rsa", "RSA with 2048 bits"), ("p256", "elliptic curve P-256"), ("p384", "elliptic curve P-384")]
    {
        let (pem, key) = (golden(&format!("{name}.pem")), golden(&format!("{name}.pkcs8.pem")));
        let report = checked(&["--leg1-certificate", &pem, "--leg1-certificate-key", &key]);
        let expected = format!("{kind}; it belongs to the certificate");
        assert_eq!(report.line("certificate.key")["summary"], expected, "{:#}", report.0);
    }
}

#[test]
fn an_unusable_file_has_the_line_of_its_fault() {
    let folder = tempfile::tempdir().unwrap();
    for (args, line, code) in [
        (&["--leg1-certificate", "/no/such.pem"][..], "certificate.source", "certificate_file_unreadable"),
        (&["--leg1-certificate", &golden("make.sh")], "certificate.source", "certificate_missing"),
        (&["--leg1-certificate", &golden("rsa.pem")], "certificate.key", "cert_without_private_key"),
        (
            &["--leg1-certificate", &golden("rsa.pem"), "--leg1-certificate-key", &golden("p256.pkcs8.pem")],
            "certificate.key",
            "certificate_key_mismatch",
        ),
        (
            &["--certificate", &golden("rsa.pem"), "--certificate-key", &golden("rsa1024.pkcs8.pem")],
            "certificate.key",
            "cryptographic_error",
        ),
        (
            &["--certificate", &golden("rsa.encrypted-bundle.pem")],
            "certificate.key",
            "certificate_key_encrypted",
        ),
        (&["--certificate", &golden("rsa.pfx")], "certificate.key", "certificate_key_encrypted"),
        (
            &["--certificate", &golden("rsa.pem"), "--certificate-key", "/no/such.key"],
            "certificate.source",
            "certificate_file_unreadable",
        ),
    ] {
        checked(args).only(line, "failed", code);
    }
    let mut wrong = offline(&["--certificate", &golden("rsa.encrypted-bundle.pem"), "--dry-run"]);
    let report = Report::of(wrong.env("AZURE_CLIENT_CERTIFICATE_PASSWORD", "not this one"));
    report.only("certificate.key", "failed", "certificate_password_wrong");
    drop(folder);
}

#[test]
fn dates_chain_and_usage_have_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let problem = |line: &str, status: &str| (format!("certificate.{line}"), status.to_owned());
    let self_signed = problem("chain", "warning");
    let now = UNIX_EPOCH + Duration::from_secs(SystemClock::new().now().as_secs());
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(problems_of(&folder, "good", |_| ()), std::slice::from_ref(&self_signed));
    let expired = problems_of(&folder, "expired", |params| params.not_after = date_time_ymd(2021, 1, 1));
    assert_eq!(expired, [problem("dates", "failed"), self_signed.clone()]);
    let future = problems_of(&folder, "future", |params| params.not_before = date_time_ymd(2190, 1, 1));
    assert_eq!(future, [problem("dates", "failed"), self_signed.clone()]);
    let soon = problems_of(&folder, "soon", |params| params.not_after = (now + 20 * day).into());
    assert_eq!(soon, [problem("dates", "warning"), self_signed.clone()]);
    let short = problems_of(&folder, "short", |params| {
        params.not_before = (now - day).into();
        params.not_after = (now + 6 * day).into();
    });
    assert_eq!(short, std::slice::from_ref(&self_signed), "a short lifetime is not a reason to renew");
    let server = problems_of(&folder, "server", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(server, [self_signed.clone(), problem("usage", "warning")]);
    let agreement =
        problems_of(&folder, "agreement", |params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement]);
    assert_eq!(agreement, [self_signed, problem("usage", "warning")]);
}

#[test]
fn a_chain_in_another_order_or_without_issuers_has_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let named = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params
    };
    let root = named("root").self_signed(&key).unwrap().pem();
    let other = named("other").self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(named("root"), &key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = named("leaf").signed_by(&leaf_key, &issuer).unwrap().pem();
    for (chain, problem) in [
        (format!("{leaf}{root}"), None),
        (leaf.clone(), Some("does not contain the certificate of the issuer")),
        (format!("{leaf}{other}"), Some("certificate 1 of the file is not issued by certificate 2")),
        (format!("{leaf}{root}{other}"), Some("certificate 2 of the file is not issued by certificate 3")),
    ] {
        let path = private(&folder, "chain.pem", &format!("{chain}{}", leaf_key.serialize_pem()));
        let report = checked(&["--leg1-certificate", text(&path)]);
        match problem {
            None => assert_eq!(report.problems(), [], "{:#}", report.0),
            Some(says) => {
                let line = report.only("certificate.chain", "warning", "");
                assert!(line["summary"].as_str().unwrap().contains(says), "{line:#}");
            }
        }
    }
}

#[test]
fn a_key_that_other_users_can_read_has_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let content = std::fs::read_to_string(golden("p256.bundle.pem")).unwrap();
    for (mode, is_bad) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o644, true)] {
        let path = file(&folder, &format!("{mode:o}.pem"), &content);
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let report = checked(&["--certificate", text(&path)]);
        let line = report.line("certificate.permissions");
        assert_eq!(line["status"] == "warning", is_bad, "{mode:o}: {line:#}");
        if is_bad {
            assert_eq!(line["fix"], format!("run `chmod 600 {}`", text(&path)));
        }
    }
    // The file of the key counts, and not that of the certificate.
    let key = std::fs::read_to_string(golden("p256.pkcs8.pem")).unwrap();
    let key = private(&folder, "key.pem", &key);
    let report = checked(&["--certificate", &golden("p256.pem"), "--certificate-key", text(&key)]);
    assert_eq!(report.line("certificate.permissions")["status"], "ok", "{:#}", report.0);
}
