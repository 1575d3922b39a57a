//! A TPM that is gone, silent, restarted or replaced.

use std::time::Duration;

use certbound::certificate::{SignatureScheme, Signer as _};
use certbound::managed_identity::{KeyProvider as _, MachineKey};
use certbound_tpm::{KeyHandle, KeySpec, Tpm, TpmError, TpmKey, TpmKeys, TpmOptions};

use crate::swtpm::Swtpm;

const PSS: SignatureScheme = SignatureScheme::RsaPssSha256;

fn signs(key: &TpmKey) -> bool {
    key.sign(PSS, b"a message").is_ok()
}

fn is_gone(key: &TpmKey) -> bool {
    key.sign(PSS, b"a message").is_err_and(|error| error.is_handle_gone())
}

fn handle_of(key: &MachineKey) -> TpmKey {
    key.signer::<TpmKey>().unwrap().clone()
}

#[test]
fn a_restarted_tpm_is_connected_again_and_its_key_goes_on() {
    let mut swtpm = Swtpm::start();
    let tpm = swtpm.open();
    let handle = KeyHandle::new(0x8130_0001).unwrap();
    tpm.generate(handle, KeySpec::Rsa2048).unwrap();
    let key = tpm.key(handle).unwrap();
    assert!(signs(&key));
    swtpm.restart("first");
    assert!(signs(&key), "one call is repeated over a new connection");
    swtpm.stop();
    let error = key.sign(PSS, b"a message").unwrap_err();
    assert!(error.to_string().contains("cannot be used") && !error.is_handle_gone(), "{error}");
    swtpm.restart_stopped("first");
    assert!(signs(&key), "a TPM that was away is used again");
}

#[test]
fn a_tpm_that_does_not_answer_is_given_up_in_time_and_used_again() {
    let swtpm = Swtpm::start();
    let options = TpmOptions::default().limit(Duration::from_secs(1));
    let tpm = Tpm::open(&swtpm.address(), TpmOptions::default()).unwrap();
    let handle = KeyHandle::new(0x8130_0001).unwrap();
    tpm.generate(handle, KeySpec::Rsa2048).unwrap();
    let impatient = Tpm::open(&swtpm.address(), options).unwrap();
    let key = impatient.key(handle).unwrap();
    swtpm.freeze();
    let error = impatient.key(handle).unwrap_err();
    assert!(matches!(error, TpmError::TimedOut { .. }) && error.is_transient(), "{error}");
    let error = key.sign(PSS, b"a message").unwrap_err();
    assert!(error.to_string().contains("did not answer within 1 s"), "{error}");
    assert!(!error.is_handle_gone());
    swtpm.thaw();
    let patient = tpm.key(handle).unwrap();
    assert!(signs(&patient) && signs(&key));
}

#[test]
fn a_tpm_that_is_not_there_is_named_with_the_reason() {
    let error = Tpm::open("device:/dev/no-such-tpm", TpmOptions::default()).unwrap_err();
    assert_eq!(error.code(), "tpm_unavailable");
    assert!(
        error.to_string().contains("/dev/no-such-tpm") && error.to_string().contains("No such file"),
        "{error}"
    );
    let mut swtpm = Swtpm::start();
    swtpm.stop();
    let error = Tpm::open(&swtpm.address(), TpmOptions::default()).unwrap_err();
    assert_eq!(error.code(), "tpm_unavailable", "{error}");
    assert!(error.is_transient());
}

/// The key of the first TPM is not in the second. When the first is put back, only a new handle signs.
#[tokio::test]
async fn a_key_that_is_gone_never_signs_again_and_a_new_handle_takes_its_place() {
    let mut swtpm = Swtpm::start();
    let keys = TpmKeys::new(swtpm.open(), KeyHandle::MACHINE);
    let first = keys.key().await.unwrap();
    let same = keys.key().await.unwrap();
    assert!(signs(&handle_of(&first)) && signs(&handle_of(&same)));

    swtpm.restart("second");
    assert!(is_gone(&handle_of(&first)));
    let second = keys.key().await.unwrap();
    assert_ne!(second.public_key(), first.public_key(), "a key was generated in the second TPM");
    assert!(signs(&handle_of(&second)) && is_gone(&handle_of(&first)));

    swtpm.restart("first");
    assert!(is_gone(&handle_of(&second)));
    let again = keys.key().await.unwrap();
    assert_eq!(again.public_key(), first.public_key(), "the key is back");
    assert!(signs(&handle_of(&again)));
    assert!(is_gone(&handle_of(&first)), "its earlier handle stays closed");
}

/// Another program removes the key and puts another key at its handle. The TPM is the same.
#[tokio::test]
async fn a_key_that_another_program_replaced_never_signs_for_the_earlier_handle() {
    let mut swtpm = Swtpm::start();
    let keys = TpmKeys::new(swtpm.open(), KeyHandle::MACHINE);
    let first = keys.key().await.unwrap();
    let public = handle_of(&first).public_key().to_vec();
    // swtpm serves one connection, and the connection of the provider ends with the restart.
    swtpm.stop();
    swtpm.restart_stopped("first");
    swtpm.tool("tpm2_evictcontrol", &["-C", "o", "-c", "0x8130CB01"]);
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign";
    swtpm.put("0x8130CB01", &["-G", "rsa2048", "-a", attributes]);
    assert!(is_gone(&handle_of(&first)), "the key at the handle has another name");
    let second = keys.key().await.unwrap();
    assert_ne!(second.public_key(), public);
    assert!(signs(&handle_of(&second)) && is_gone(&handle_of(&first)));
}
