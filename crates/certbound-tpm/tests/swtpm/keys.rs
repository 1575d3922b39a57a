//! Keys at persistent handles: which are used, and what is refused.

use std::fs;

use certbound::certificate::{SignatureScheme, Signer as _};
use certbound::managed_identity::KeyProvider as _;
use certbound_tpm::{KeyHandle, KeySpec, Tpm, TpmError, TpmKeys, TpmOptions};

use crate::swtpm::{Swtpm, without_descriptors};

fn handle(number: u32) -> KeyHandle {
    KeyHandle::new(number).unwrap()
}

fn openssl(swtpm: &Swtpm, args: &[&str]) -> String {
    let output = without_descriptors("openssl").current_dir(swtpm.path("")).args(args).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).unwrap();
    assert!(output.status.success(), "{printed}");
    printed
}

#[test]
fn openssl_accepts_the_signatures_and_the_certificate_requests_of_each_kind_of_key() {
    let swtpm = Swtpm::start();
    let tpm = swtpm.open();
    fs::write(swtpm.path("message"), "a message").unwrap();
    let kinds =
        [(1, KeySpec::Rsa2048, "RSA 2048"), (2, KeySpec::P256, "EC P-256"), (3, KeySpec::P384, "EC P-384")];
    for (number, spec, kind) in kinds {
        let handle = handle(0x8130_0000 + number);
        let made = tpm.generate(handle, spec).unwrap();
        assert_eq!((made.kind.as_str(), made.fault, made.leaves), (kind, None, None));
        let key = tpm.key(handle).unwrap();
        assert_eq!(made.public_key.as_deref(), Some(key.public_key()));
        fs::write(swtpm.path("key.der"), key.public_key()).unwrap();
        for scheme in key.schemes() {
            fs::write(swtpm.path("signature"), key.sign(*scheme, b"a message").unwrap()).unwrap();
            let hash = if *scheme == SignatureScheme::EcdsaP384Sha384 { "-sha384" } else { "-sha256" };
            let mut args =
                vec!["dgst", hash, "-verify", "key.der", "-keyform", "DER", "-signature", "signature"];
            if *scheme == SignatureScheme::RsaPssSha256 {
                args.extend(["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]);
            }
            args.push("message");
            assert!(openssl(&swtpm, &args).contains("Verified OK"), "{scheme:?}");
        }
        fs::write(swtpm.path("request"), key.certificate_request("CN=app,O=Contoso").unwrap()).unwrap();
        let shown = openssl(&swtpm, &["req", "-in", "request", "-verify", "-noout", "-subject"]);
        assert!(shown.contains("verify OK") && shown.contains("CN = app"), "{shown}");
        assert_eq!(key.certificate_request("nothing").unwrap_err().code(), "tpm_subject_invalid");
    }
    let listed: Vec<String> =
        tpm.keys().unwrap().into_iter().map(|it| format!("{} {}", it.handle, it.kind)).collect();
    assert_eq!(listed, ["0x81300001 RSA 2048", "0x81300002 EC P-256", "0x81300003 EC P-384"]);
    let taken = tpm.generate(handle(0x8130_0002), KeySpec::P256).unwrap_err();
    assert_eq!(taken.code(), "tpm_key_unusable", "{taken}");
    assert!(taken.to_string().contains("already"), "{taken}");
    assert_eq!(tpm.key(handle(0x8130_0009)).unwrap_err(), TpmError::NoKey { handle: handle(0x8130_0009) });
}

#[test]
fn objects_of_others_are_listed_and_not_used() {
    let swtpm = Swtpm::start();
    let base = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth";
    swtpm.put("0x81000001", &["-G", "rsa2048"]);
    swtpm.put("0x81000002", &["-G", "rsa2048:rsassa-sha1", "-a", &format!("{base}|sign")]);
    swtpm.put("0x81000003", &["-G", "rsa2048:rsassa:null", "-a", &format!("{base}|restricted|sign")]);
    swtpm.put("0x81000004", &["-G", "ecc256:ecdsa", "-a", &format!("{base}|sign")]);
    let tpm = swtpm.open();
    let faults: Vec<_> = tpm.keys().unwrap().into_iter().map(|it| it.fault.unwrap_or("none")).collect();
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert_eq!(faults[0], "it may not sign");
    assert!(faults[1].starts_with("its scheme is fixed"), "{faults:?}");
    assert!(faults[2].starts_with("it is restricted"), "{faults:?}");
    assert_eq!(faults[3], "none", "a key of another program whose scheme is ECDSA with SHA-256");
    for number in [0x8100_0001, 0x8100_0002, 0x8100_0003] {
        assert_eq!(tpm.key(handle(number)).unwrap_err().code(), "tpm_key_unusable");
    }
    let key = tpm.key(handle(0x8100_0004)).unwrap();
    assert_eq!(key.schemes(), [SignatureScheme::EcdsaP256Sha256]);
    key.sign(SignatureScheme::EcdsaP256Sha256, b"a message").unwrap();
    let other = key.sign(SignatureScheme::RsaPssSha256, b"a message").unwrap_err();
    assert!(other.to_string().contains("does not support"), "{other}");
}

#[tokio::test]
async fn a_key_with_an_authorization_is_refused_by_the_tpm_and_tried_once() {
    let (swtpm, before) = with_authorization();
    let tpm = swtpm.open();
    let key = tpm.key(handle(0x8100_0001)).unwrap();
    let other = tpm.key(handle(0x8100_0001)).unwrap();
    let keys = TpmKeys::new(tpm.clone(), handle(0x8100_0001));
    for _ in 0..2 {
        for key in [&key, &other] {
            let error = key.sign(SignatureScheme::RsaPssSha256, b"a message").unwrap_err();
            assert!(error.to_string().contains("has an authorization"), "{error}");
            assert!(!error.is_handle_gone() && !error.is_transient());
        }
        let error = keys.key().await.unwrap_err();
        assert!(error.to_string().contains("has an authorization"), "{error}");
        assert!(error.fix().unwrap().contains("tpm2-pkcs11"), "{error:?}");
    }
    drop((key, other, keys, tpm));
    // A client that opens the TPM later in the process does not try either.
    let again = swtpm.open();
    let error = again.key(handle(0x8100_0001)).unwrap().attest(b"nonce").unwrap_err();
    assert_eq!(error.code(), "tpm_key_authorization", "{error}");
    drop(again);
    assert_eq!(lockout_counter(&swtpm), before + 1, "each attempt counts towards the lockout of the TPM");
}

/// Each refused authorization counts towards the lockout of the TPM, whoever asks for it.
#[test]
fn callers_at_the_same_time_make_one_attempt_together() {
    let (swtpm, before) = with_authorization();
    let tpm = swtpm.open();
    let key = tpm.key(handle(0x8100_0001)).unwrap();
    std::thread::scope(|scope| {
        let sign = || key.sign(SignatureScheme::RsaPssSha256, b"a message").unwrap_err();
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(sign)).collect();
        for caller in callers {
            assert!(caller.join().unwrap().to_string().contains("has an authorization"));
        }
    });
    drop((key, tpm));
    assert_eq!(lockout_counter(&swtpm), before + 1);
}

/// Starts a TPM with a key with an authorization at 0x81000001. Returns the TPM and its lockout counter.
fn with_authorization() -> (Swtpm, u32) {
    let swtpm = Swtpm::start();
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign";
    swtpm.put("0x81000001", &["-G", "rsa2048", "-a", attributes, "-p", "secret"]);
    let counter = lockout_counter(&swtpm);
    (swtpm, counter)
}

fn lockout_counter(swtpm: &Swtpm) -> u32 {
    let shown = swtpm.tool("tpm2_getcap", &["properties-variable"]);
    let line = shown.lines().find(|line| line.starts_with("TPM2_PT_LOCKOUT_COUNTER:")).unwrap();
    u32::from_str_radix(line.rsplit_once("0x").unwrap().1, 16).unwrap()
}

#[test]
fn an_owner_with_an_authorization_is_told_how_to_make_the_key() {
    let swtpm = Swtpm::start();
    swtpm.tool("tpm2_changeauth", &["-c", "owner", "owner-secret"]);
    let tpm = swtpm.open();
    let error = tpm.generate(handle(0x8130_0001), KeySpec::Rsa2048).unwrap_err();
    assert_eq!(error.code(), "tpm_owner_authorization", "{error}");
    drop(tpm);
    // The advice of the error, with the authorization and the handle filled in.
    let fix = error.fix().replace("OWNER-AUTH", "owner-secret").replace("HANDLE", "0x81300001");
    let mut commands = fix.split('`').filter(|part| part.starts_with("tpm2_"));
    for command in [commands.next().unwrap(), commands.next().unwrap(), commands.next().unwrap()] {
        let (program, args) = command.split_once(' ').unwrap();
        let args: Vec<&str> = args.split(' ').map(|arg| arg.trim_matches('\'')).collect();
        swtpm.tool(program, &args);
        // A resource manager would remove the objects of the program from the memory of the TPM.
        swtpm.tool("tpm2_flushcontext", &["-t"]);
    }
    let tpm = swtpm.open();
    tpm.key(handle(0x8130_0001)).unwrap().sign(SignatureScheme::RsaPssSha256, b"a message").unwrap();
}

#[test]
fn texts_that_are_no_handle_and_no_address_are_refused() {
    for text in [
        "",
        "0x",
        "81300001",
        "0x80000000",
        "0x81800000",
        "0x1",
        "0x+81300001",
        "0x813000011",
        "0xfffffffff",
        "key",
    ] {
        let error = text.parse::<KeyHandle>().unwrap_err();
        assert_eq!(TpmError::from(error.clone()).code(), "tpm_handle_invalid", "{text}");
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!("0X8130CB01".parse(), Ok(KeyHandle::MACHINE));
    for text in ["", "tpm", "swtpm:host=bad host", "device2:/dev/tpm0"] {
        let error = Tpm::open(text, TpmOptions::default()).unwrap_err();
        assert_eq!(error.code(), "tpm_address_invalid", "{text}: {error}");
    }
}
