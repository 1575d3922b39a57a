//! Certificates in a token: which one is meant, and what is refused.

use certbound::certificate::{Blame, CertificateSource as _, Signer as _};
use certbound_pkcs11::{KeySpec, OpenToken, Pkcs11Error, TokenCertificate, TokenOptions};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Emulator, IssueOptions, World};

use crate::hsm::{Hsm, isolated, isolated_async};

fn open(hsm: &Hsm, path: &str) -> Result<TokenCertificate, Pkcs11Error> {
    TokenCertificate::open(hsm.uri(path), TokenOptions::default())
}

#[test]
fn a_certificate_is_found_by_label_by_id_or_alone() {
    isolated(|hsm| {
        let emulator = Emulator::new(World::built_in()).unwrap();
        let chain = hsm.certified(&emulator, "key", KeySpec::P256);
        let leaf = emulator_thumbprint(&chain[0]);
        for path in
            ["", "token=app", "token=app;object=key", "token=app;id=%01", "object=key;id=%01;type=cert"]
        {
            let found = open(hsm, path).unwrap();
            assert_eq!(found.current().thumbprint().hex(), leaf, "{path}");
            // The emulator's authority is a root, so it is not sent, whether or not the token has it.
            assert_eq!(found.current().chain().ders().len(), 1);
        }
        // The certificate has a label of its own.
        hsm.generate("token=app;object=second;id=%02", KeySpec::P256);
        assert_eq!(open(hsm, "token=app;object=second").unwrap_err().code(), "pkcs11_certificate_not_found");
        assert_eq!(
            open(hsm, "token=app").unwrap().current().thumbprint().hex(),
            leaf,
            "the only one with a certificate"
        );
        let options = IssueOptions::new(builtin::CLIENT_COMMON_NAME);
        let key = OpenToken::open(hsm.uri("token=app;object=second"), TokenOptions::default())
            .unwrap()
            .key()
            .unwrap();
        let second = emulator.issue_for_public_key(&options, key.public_key().unwrap()).unwrap();
        hsm.write_certificate(&second[0], "for second", "02");
        let by_label = open(hsm, "token=app;object=for%20second").unwrap();
        assert_eq!(by_label.current().thumbprint().hex(), emulator_thumbprint(&second[0]));
        assert_eq!(open(hsm, "token=app").unwrap_err().code(), "pkcs11_key_ambiguous");
        // A renewed certificate for the same key.
        let renewed = emulator.issue_for_public_key(&options, key.public_key().unwrap()).unwrap();
        hsm.write_certificate(&renewed[0], "renewed", "02");
        let error = open(hsm, "token=app;object=second").unwrap_err();
        assert_eq!(error.code(), "pkcs11_certificate_ambiguous");
        assert!(
            error.to_string().contains("`renewed`") && error.to_string().contains("`for second`"),
            "{error}"
        );
        let named = open(hsm, "token=app;object=renewed").unwrap();
        assert_eq!(named.current().thumbprint().hex(), emulator_thumbprint(&renewed[0]));
        // The chain can be outside of the token.
        let pem = rcgen_pem(&chain[0]);
        let outside = TokenCertificate::open_with_chain(
            hsm.uri("token=app;object=key"),
            pem.as_bytes(),
            TokenOptions::default(),
        );
        assert_eq!(outside.unwrap().current().thumbprint().hex(), leaf);
        let error = TokenCertificate::open_with_chain(
            hsm.uri("token=app;object=second"),
            pem.as_bytes(),
            TokenOptions::default(),
        );
        assert_eq!(error.unwrap_err().code(), "certificate_key_mismatch");
    });
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    isolated(|hsm| {
        let emulator = Emulator::new(World::built_in()).unwrap();
        hsm.add_token("second");
        hsm.certified(&emulator, "key", KeySpec::Rsa2048);
        // The certificate of another key has the id of this key.
        hsm.generate("token=app;object=other;id=%05", KeySpec::P256);
        let foreign = emulator.issue_client_certificate(&IssueOptions::new("foreign")).unwrap();
        hsm.write_certificate(foreign.leaf_der(), "foreign", "05");
        for (path, code) in [
            ("token=nowhere", "pkcs11_token_not_found"),
            ("slot-id=4711", "pkcs11_token_not_found"),
            ("manufacturer=SoftHSM%20project", "pkcs11_token_ambiguous"),
            ("token=app;object=nothing", "pkcs11_key_not_found"),
            ("token=app;object=key;id=%09", "pkcs11_key_not_found"),
            ("token=second", "pkcs11_key_not_found"),
            ("token=app;object=other", "certificate_key_mismatch"),
        ] {
            let error = open(hsm, path).unwrap_err();
            assert_eq!(error.code(), code, "{path}: {error}");
            assert!(error.fix().len() > 20, "{error}");
        }
    });
}

#[test]
fn a_key_that_was_imported_is_refused_where_the_policy_forbids_it() {
    isolated(|hsm| {
        let emulator = Emulator::new(World::built_in()).unwrap();
        let identity = emulator.client_identity();
        std::fs::write(hsm.path("key.pem"), &identity.key_pem).unwrap();
        let file = hsm.path("key.pem");
        hsm.pkcs11_tool(&[
            "--write-object",
            file.to_str().unwrap(),
            "--type",
            "privkey",
            "--label",
            "imported",
            "--id",
            "07",
        ]);
        hsm.write_certificate(identity.leaf_der(), "imported", "07");
        let path = "token=app;object=imported";
        let usable = open(hsm, path).unwrap();
        assert_eq!(usable.current().thumbprint().hex(), emulator_thumbprint(identity.leaf_der()));
        let strict = TokenCertificate::open(hsm.uri(path), TokenOptions::default().forbid_extractable_keys());
        let error = strict.unwrap_err();
        assert_eq!(error.code(), "pkcs11_key_extractable");
        let keys = OpenToken::open(hsm.uri(path), TokenOptions::default()).unwrap().keys().unwrap();
        assert!(keys[0].leaves.is_some() && keys[0].has_certificate);
    });
}

/// The key is there, and its handle is lost when it has to sign the proof.
#[test]
fn a_loss_during_the_proof_of_the_key_is_transient() {
    isolated(|hsm| {
        let emulator = Emulator::new(World::built_in()).unwrap();
        hsm.certified(&emulator, "key", KeySpec::P256);
        hsm.fault("stale-key", true);
        let error = open(hsm, "token=app;object=key").unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("cryptographic_error", true), "{error}");
        hsm.fault("stale-key", false);
        open(hsm, "token=app;object=key").unwrap();
    });
}

/// A refusal with another cause must not close the connections of the handle in use.
#[test]
fn a_token_in_which_nothing_changed_keeps_its_handle() {
    isolated_async(async |hsm| {
        let emulator = Emulator::new(World::built_in()).unwrap();
        hsm.certified(&emulator, "key", KeySpec::P256);
        let certificate = open(hsm, "token=app;object=key").unwrap();
        let first = certificate.current();
        let blames = [
            Blame::Suspected { aadsts: None },
            Blame::Refused { aadsts: Some(7_000_214) },
            Blame::NotSigned { is_gone: true },
        ];
        for blame in blames {
            certificate.replace(&first, blame).await.unwrap();
            assert!(certificate.reopened(&first).is_none(), "{blame:?}");
        }
        // The next handle of the key is another one after a loss.
        hsm.fault("removed", true);
        certificate.replace(&first, Blame::Suspected { aadsts: None }).await.unwrap_err();
        hsm.fault("removed", false);
        certificate.replace(&first, Blame::NotSigned { is_gone: true }).await.unwrap();
        assert!(certificate.reopened(&first).is_some());
    });
}

#[test]
fn a_token_without_the_mechanism_says_so() {
    isolated(|hsm| {
        let emulator = Emulator::new(World::built_in()).unwrap();
        hsm.certified(&emulator, "rsa", KeySpec::Rsa2048);
        hsm.fault("no-rsa", true);
        let error = open(hsm, "token=app;object=rsa").unwrap_err();
        assert_eq!(error.code(), "pkcs11_key_unusable");
        assert!(error.to_string().contains("CKM_SHA256_RSA_PKCS_PSS"), "{error}");
        hsm.fault("no-rsa", false);
        hsm.fault("no-ecdsa", true);
        assert!(!open(hsm, "token=app;object=rsa").unwrap().current().chain().ders().is_empty());
        hsm.generate("token=app;object=ec", KeySpec::P256);
        let error = OpenToken::open(hsm.uri("token=app;object=ec"), TokenOptions::default())
            .unwrap()
            .key()
            .unwrap_err();
        assert!(error.to_string().contains("CKM_ECDSA"), "{error}");
        hsm.fault("no-ecdsa", false);
        let key =
            OpenToken::open(hsm.uri("token=app;object=ec"), TokenOptions::default()).unwrap().key().unwrap();
        assert_eq!(key.schemes().len(), 1);
    });
}

fn emulator_thumbprint(der: &[u8]) -> String {
    certbound::Thumbprint::of_der(der).hex()
}

fn rcgen_pem(der: &[u8]) -> String {
    use std::io::Write as _;
    let mut openssl = std::process::Command::new("openssl")
        .args(["x509", "-inform", "DER"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(der).unwrap();
    String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap()
}
