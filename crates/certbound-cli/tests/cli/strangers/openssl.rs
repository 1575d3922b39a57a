//! openssl creates certificates and computes their thumbprints.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::python;
use crate::support::{Emulator, VAULT, json, stderr, stdout, text};

/// Returns a file with a self-signed certificate and its key.
pub(super) fn certificate(directory: &TempDir, name: &str, subject: &str) -> PathBuf {
    let (key, file) =
        (directory.path().join(format!("{name}.key")), directory.path().join(format!("{name}.pem")));
    let subject = format!("/{subject}");
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        &subject,
        "-keyout",
        text(&key),
        "-out",
        text(&file),
    ]);
    let both = [std::fs::read(&file).unwrap(), std::fs::read(&key).unwrap()].concat();
    std::fs::write(&file, both).unwrap();
    file
}

/// Returns the SHA-256 of a certificate in upper-case hexadecimal, as openssl computes it.
fn fingerprint(file: &Path) -> String {
    let printed = openssl(&["x509", "-in", text(file), "-noout", "-fingerprint", "-sha256"]);
    printed.trim().rsplit('=').next().unwrap().replace(':', "")
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .output()
        .expect("openssl is needed: run the tests by `cargo xtask test`");
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

/// Reads the token from its argument with Python's base64 and JSON, without our code.
const READ_CNF: &str = r#"
import base64, json, sys
payload = sys.argv[1].split(".")[1]
claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
thumbprint = claims["cnf"]["x5t#S256"]
assert len(thumbprint) == 43, thumbprint
print(json.dumps(base64.urlsafe_b64decode(thumbprint + "=").hex().upper()))
"#;

#[test]
fn its_fingerprint_is_the_cnf_python_reads_and_the_thumbprint_we_report() {
    let emulator = Emulator::start();
    let exchange = ["exchange", "--scope", VAULT, "--leg1-certificate", emulator.certificate()];
    let result = json(&emulator.run(&exchange));
    let cnf = python::script(&emulator, READ_CNF, &[result["accessToken"].as_str().unwrap()]);
    let expected = fingerprint(Path::new(emulator.certificate()));
    assert_eq!(expected.len(), 64);
    assert_eq!(cnf, expected);

    let directory = tempfile::tempdir().unwrap();
    let other = certificate(&directory, "other", "CN=certbound-demo-app");
    assert_ne!(fingerprint(&other), expected, "another certificate has another thumbprint");
}
