//! A token of SoftHSM, which is software, for the tests of keys in tokens.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::{Emulator, certbound, stderr, stdout};

pub(crate) const MODULE: &str = "module-path=/usr/lib/softhsm/libsofthsm2.so";
pub(crate) const PIN: &str = "2580-pin";

/// The folder of a token `app`.
pub(crate) struct Hsm(tempfile::TempDir);

impl Hsm {
    pub(crate) fn new() -> Self {
        let hsm = Self(tempfile::tempdir().unwrap());
        fs::create_dir(hsm.path("tokens")).unwrap();
        let configuration = format!("directories.tokendir = {}\n", hsm.path("tokens").display());
        fs::write(hsm.path("softhsm2.conf"), configuration).unwrap();
        fs::write(hsm.path("pin"), format!("{PIN}\n")).unwrap();
        fs::set_permissions(hsm.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
        let made = hsm
            .with(Command::new("softhsm2-util"))
            .args(["--init-token", "--free", "--label", "app", "--pin", PIN, "--so-pin", "so-pin"])
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        hsm
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn with(&self, mut command: Command) -> Command {
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command
    }

    /// Returns a URI with the PIN in a file.
    pub(crate) fn uri(&self, path: &str) -> String {
        format!("pkcs11:{path}?{MODULE}&pin-source=file:{}", self.path("pin").display())
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.with(certbound()).args(args).output().unwrap()
    }

    pub(crate) fn pkcs11_tool(&self, args: &[&str]) -> String {
        let module = MODULE.trim_start_matches("module-path=");
        let mut tool = self.with(Command::new("pkcs11-tool"));
        let output = tool.args(["--module", module, "--login", "--pin", PIN]).args(args).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    }

    /// Copies the emulator's client certificate and its key into the token, under the label `client`.
    pub(crate) fn import(&self, emulator: &Emulator) {
        let (key, certificate) = (self.path("key.pem"), self.path("certificate.der"));
        let openssl = |args: &[&str], to: &PathBuf| {
            let made = Command::new("openssl")
                .args(args)
                .args(["-in", emulator.certificate(), "-out"])
                .arg(to)
                .status();
            assert!(made.unwrap().success());
        };
        openssl(&["pkey"], &key);
        openssl(&["x509", "-outform", "DER"], &certificate);
        for (file, kind) in [(&key, "privkey"), (&certificate, "cert")] {
            self.write(file, kind, "client", "0a");
        }
    }

    /// Writes an object into the token.
    pub(crate) fn write(&self, file: &Path, kind: &str, label: &str, id: &str) {
        let file = file.to_str().unwrap();
        self.pkcs11_tool(&["--write-object", file, "--type", kind, "--label", label, "--id", id]);
    }
}
