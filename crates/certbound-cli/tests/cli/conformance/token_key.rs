//! A key that was generated in a token of SoftHSM, with a certificate of the application.
//!
//! SoftHSM is software that behaves as a token. These rows say nothing about a device.

use std::fs;
use std::process::Command;

use certbound::Thumbprint;
use certbound_emulator::world::builtin;
use certbound_emulator::{IssueOptions, JournalEntry};

use super::stage::{MTLS_HOST, Stage, is_bound_by, output};
use crate::hsm::Hsm;
use crate::support::{json, refusal, stderr, stdout};

/// The limit of a row that needs hardware.
pub(super) const LIMIT: &str = "with SoftHSM, a token in software; no device was tried";

/// The attributes of a private key that was generated in the token and can never leave it.
const REQUIRED: [&str; 4] = ["sensitive", "always sensitive", "never extractable", "local"];

/// A private key that only the token has.
pub(super) struct TokenKey {
    hsm: Hsm,
    /// The URI of the key and of its certificate.
    uri: String,
    /// The attributes that the private key must have, as `pkcs11-tool` found them.
    pub(super) attributes: String,
    /// The thumbprint of the certificate, as `x5t#S256`.
    pub(super) x5t_s256: String,
}

impl TokenKey {
    /// Generates the key by `certbound keys generate`. The emulator issues the certificate.
    pub(super) fn generate(stage: &Stage) -> Self {
        let hsm = Hsm::new();
        let uri = hsm.uri("token=app;object=binding;id=%0a");
        let generated = json(&hsm.run(&["keys", "generate", &uri]));
        assert_eq!(generated["extractable"], false, "{generated}");
        let listed = hsm.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
        let access: Vec<&str> =
            listed.lines().filter_map(|line| line.trim().strip_prefix("Access:")).map(str::trim).collect();
        let [access] = access[..] else { panic!("one private key: {listed}") };
        let attributes: Vec<&str> = access.split(", ").filter(|found| REQUIRED.contains(found)).collect();
        assert_eq!(attributes.len(), REQUIRED.len(), "{REQUIRED:?}: {listed}");
        let public = hsm.path("public.der");
        let file = public.to_str().unwrap();
        hsm.pkcs11_tool(&["--read-object", "--type", "pubkey", "--label", "binding", "--output-file", file]);
        let options = IssueOptions::new(builtin::CLIENT_COMMON_NAME);
        let chain = stage.emulator.issue_for_public_key(&options, &fs::read(public).unwrap()).unwrap();
        let certificate = hsm.path("certificate.der");
        fs::write(&certificate, &chain[0]).unwrap();
        hsm.write(&certificate, "cert", "binding", "0a");
        let x5t_s256 = Thumbprint::of_der(&chain[0]).x5t_s256();
        Self { attributes: attributes.join(", "), hsm, uri, x5t_s256 }
    }

    /// Returns the command with the key as the certificate of Leg 1.
    fn command(&self, stage: &Stage, args: &[&str]) -> Command {
        stage.command(&[args, &["--leg1-certificate", &self.uri, "-o", "json"]].concat())
    }

    /// Runs the command line with the token, and returns what it prints.
    pub(super) async fn run(&self, stage: &Stage, args: &[&str]) -> String {
        let output = output(self.hsm.with(self.command(stage, args))).await;
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    }

    /// Runs the same command with a token that does not have the key, and returns its exit code and error.
    pub(super) async fn run_without_the_key(&self, stage: &Stage, args: &[&str]) -> String {
        let empty = Hsm::new();
        let (exit, code) = refusal(&output(empty.with(self.command(stage, args))).await);
        assert_eq!((exit, code.as_str()), (2, "pkcs11_key_not_found"));
        format!("exit code {exit}, {code}")
    }

    /// Checks the requests of both legs.
    pub(super) fn bound_both_legs(&self, leg1: &JournalEntry, leg2: &JournalEntry) {
        is_bound_by(leg1, MTLS_HOST, &self.x5t_s256);
        assert_eq!(leg1.parameter("client_assertion"), None);
        is_bound_by(leg2, MTLS_HOST, &self.x5t_s256);
        assert!(leg2.parameter("client_assertion").is_some(), "{leg2:#?}");
    }
}
