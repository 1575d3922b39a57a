//! Signatures of keys that were generated in a token, verified with their public keys by another implementation.

use std::process::Command;

use certbound::certificate::{SignatureScheme, Signer as _};
use certbound_pkcs11::{KeySpec, OpenToken, TokenOptions, list_tokens};

use crate::hsm::{PSS, isolated};

#[test]
fn openssl_verifies_each_kind_of_signature() {
    isolated(|hsm| {
        let message = b"a message that is longer than a hash, and not a multiple of anything";
        for (label, spec, schemes) in [
            ("rsa", KeySpec::Rsa2048, &[PSS, SignatureScheme::RsaPkcs1Sha256][..]),
            ("rsa3072", KeySpec::Rsa3072, &[PSS, SignatureScheme::RsaPkcs1Sha256]),
            ("p256", KeySpec::P256, &[SignatureScheme::EcdsaP256Sha256]),
            ("p384", KeySpec::P384, &[SignatureScheme::EcdsaP384Sha384]),
        ] {
            let token =
                OpenToken::open(hsm.uri(&format!("token=app;object={label}")), TokenOptions::default())
                    .unwrap();
            let facts = token.generate(spec).unwrap();
            let key = token.key().unwrap();
            assert_eq!(key.public_key(), facts.public_key.as_deref());
            assert_eq!(key.schemes(), schemes, "{label}");
            for scheme in schemes {
                // ECDSA numbers have leading zeros in one of 128 signatures.
                let times = if label.starts_with('p') { 40 } else { 2 };
                for _ in 0..times {
                    let signature = key.sign(*scheme, message).unwrap();
                    let options: &[&str] = match scheme {
                        SignatureScheme::RsaPssSha256 => {
                            &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]
                        }
                        _ => &[],
                    };
                    let hash =
                        if *scheme == SignatureScheme::EcdsaP384Sha384 { "-sha384" } else { "-sha256" };
                    for (name, bytes) in
                        [("m", &message[..]), ("s", &signature), ("p", key.public_key().unwrap())]
                    {
                        std::fs::write(hsm.path(name), bytes).unwrap();
                    }
                    let verified = Command::new("openssl")
                        .args(["dgst", hash, "-keyform", "DER", "-verify"])
                        .arg(hsm.path("p"))
                        .args(options)
                        .arg("-signature")
                        .arg(hsm.path("s"))
                        .arg(hsm.path("m"))
                        .output()
                        .unwrap();
                    let said = String::from_utf8_lossy(&verified.stdout);
                    assert!(verified.status.success(), "{label} {scheme:?}: {said}");
                }
            }
        }
        // OpenSC reads the attributes of the keys.
        let listed = hsm.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
        assert_eq!(listed.matches("never extractable").count(), 4, "{listed}");
        assert_eq!(listed.matches("always sensitive").count(), 4, "{listed}");
        let tokens = list_tokens(&hsm.uri("")).unwrap();
        assert_eq!(tokens.iter().map(|it| it.label.as_str()).collect::<Vec<_>>(), ["app"]);
        assert!(!tokens[0].is_hardware, "SoftHSM keeps its keys in files");
        let all = OpenToken::open(hsm.uri("token=app"), TokenOptions::default()).unwrap().keys().unwrap();
        assert_eq!(all.len(), 4);
        assert!(all.iter().all(|key| key.leaves.is_none() && !key.has_certificate && !key.id.is_empty()));
    });
}

#[test]
fn many_threads_sign_with_few_sessions_and_one_login() {
    isolated(|hsm| {
        let options = TokenOptions::default().sessions(3);
        let token = OpenToken::open(hsm.uri("token=app;object=key"), options).unwrap();
        token.generate(KeySpec::Rsa2048).unwrap();
        let key = token.key().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..32 {
                let key = key.clone();
                scope.spawn(move || (0..4).for_each(|_| drop(key.sign(PSS, b"text").unwrap())));
            }
        });
        assert_eq!((hsm.count('S'), hsm.count('L')), (128, 1));
    });
}
