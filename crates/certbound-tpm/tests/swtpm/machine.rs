//! The key of a managed identity in the TPM.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use certbound::clock::{Clock as _, UnixTime};
use certbound::credential::Secret;
use certbound::error::KeyError;
use certbound::managed_identity::{
    Attestation, AttestationRequest, IdentityId, KeyProvider as _, KeyStrength, MachineKey,
};
use certbound::{Cloud, ResourceScope};
use certbound_testkit::Pair;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Emulator, World};
use certbound_tpm::{KeyHandle, KeySpec, Tpm, TpmKey, TpmKeys, TpmOptions};

use crate::swtpm::Swtpm;

fn keys(swtpm: &Swtpm) -> TpmKeys {
    TpmKeys::new(swtpm.open(), KeyHandle::MACHINE)
}

#[tokio::test]
async fn the_key_is_generated_in_the_tpm_and_found_again() {
    let swtpm = Swtpm::start();
    let first = keys(&swtpm);
    assert!(first.is_persistent());
    let public = first.key().await.unwrap().public_key().to_vec();
    let pair = Pair::new();
    let vault = ResourceScope::key_vault(Cloud::Public);
    let identity = pair.managed_identity(IdentityId::System).with_keys(first).build().unwrap();
    let token = identity.bound_token(&vault).await.unwrap();
    assert_eq!(token.binding().chain().public_key_info(), public);
    // Leg 1 by the machine, Leg 2 by an application.
    let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(identity).build().unwrap();
    let second = leg2.bound_token(&vault).await.unwrap();
    assert_eq!(second.binding().thumbprint(), token.binding().thumbprint());
    drop((leg2, token, second, pair));
    let shown = swtpm.tool("tpm2_getcap", &["handles-persistent"]);
    assert_eq!(shown.trim(), "- 0x8130CB01");
    let next = keys(&swtpm).key().await.unwrap();
    assert_eq!(next.public_key(), public, "the next process finds it");
    assert_eq!(next.signer::<TpmKey>().unwrap().handle(), KeyHandle::MACHINE);
}

#[tokio::test]
async fn many_callers_and_providers_share_one_new_key() {
    let swtpm = Swtpm::start();
    let all: Vec<TpmKeys> = (0..4).map(|_| keys(&swtpm)).collect();
    let calls = all.iter().flat_map(|keys| (0..4).map(|_| keys.key()));
    let made: Result<Vec<MachineKey>, KeyError> =
        futures_util::future::join_all(calls).await.into_iter().collect();
    let made = made.unwrap();
    assert!(made.iter().all(|key| key.public_key() == made[0].public_key()));
    assert_eq!(swtpm.open().keys().unwrap().len(), 1);
}

#[tokio::test]
async fn the_strength_is_what_the_tpm_says_and_the_floor_is_kept() {
    let swtpm = Swtpm::start();
    let pair = Pair::new();
    let vault = ResourceScope::key_vault(Cloud::Public);
    let software = keys(&swtpm);
    assert_eq!(software.strength(), KeyStrength::Software, "swtpm says that it is software");
    let identity = pair.managed_identity(IdentityId::System).with_keys(software);
    let identity = identity.min_strength(KeyStrength::Hardware).build().unwrap();
    let error = identity.bound_token(&vault).await.unwrap_err();
    assert_eq!(error.code(), "min_strength_not_met");
    assert!(pair.emulator().journal().is_empty(), "no byte was sent");

    let trusted = Tpm::open(&swtpm.address(), TpmOptions::default().trust_as_hardware()).unwrap();
    let trusted = TpmKeys::new(trusted, KeyHandle::MACHINE);
    assert_eq!(trusted.strength(), KeyStrength::Hardware);
    let identity = pair.managed_identity(IdentityId::System).with_keys(trusted);
    let identity = identity.min_strength(KeyStrength::Hardware).build().unwrap();
    identity.bound_token(&vault).await.unwrap();
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_refused_and_none_takes_its_place() {
    let swtpm = Swtpm::start();
    swtpm.put("0x81300001", &["-G", "rsa2048", "-a", "sensitivedataorigin|userwithauth|sign"]);
    swtpm.put("0x81300002", &["-G", "rsa2048"]);
    swtpm.put(
        "0x81300003",
        &["-G", "rsa2048:rsassa-sha256", "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"],
    );
    let tpm = swtpm.open();
    tpm.generate(KeyHandle::new(0x8130_0004).unwrap(), KeySpec::P256).unwrap();
    let cases = [
        (0x8130_0001, "it can be copied out of the TPM: it can be duplicated: fixedTPM is not set"),
        (0x8130_0002, "it may not sign"),
        (0x8130_0003, "the signer does not support RSA-PSS with SHA-256"),
        (0x8130_0004, "is not an RSA key"),
    ];
    for (number, reason) in cases {
        let error = TpmKeys::new(tpm.clone(), KeyHandle::new(number).unwrap()).key().await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert_eq!(tpm.keys().unwrap().len(), 4);
}

/// A hook that lets the TPM attest the key, as a real attestation service demands it. The emulator stands for this service.
struct Hook {
    emulator: Arc<Emulator>,
    now: UnixTime,
    attested: Arc<AtomicUsize>,
}

impl Attestation for Hook {
    async fn attest(&self, request: &AttestationRequest) -> Result<Secret, String> {
        let key = request.key.signer::<TpmKey>().ok_or("the key is not in the TPM")?;
        let statement = key.attest(b"challenge").map_err(|error| error.to_string())?.statement;
        assert!(statement.starts_with(&[0xff, 0x54, 0x43, 0x47]), "TPM_GENERATED_VALUE");
        self.attested.fetch_add(1, Ordering::SeqCst);
        Ok(Secret::new(self.emulator.attest_for_tests(request.key.public_key(), self.now, "right")))
    }
}

#[tokio::test]
async fn a_machine_attests_its_key_by_the_hook() {
    let swtpm = Swtpm::start();
    let mut world = World::built_in();
    world.machine.attestation_required = true;
    let pair = Pair::with_world(world);
    let (vault, attested) = (ResourceScope::key_vault(Cloud::Public), Arc::new(AtomicUsize::new(0)));
    let unattested = pair.managed_identity(IdentityId::System).with_keys(keys(&swtpm)).build().unwrap();
    assert_eq!(unattested.bound_token(&vault).await.unwrap_err().code(), "managed_identity_request_failed");
    let (emulator, now) = (Arc::clone(pair.emulator()), pair.clock().now());
    let hook = Hook { emulator, now, attested: Arc::clone(&attested) };
    let identity = pair.managed_identity(IdentityId::System).with_keys(keys(&swtpm)).with_attestation(hook);
    identity.build().unwrap().bound_token(&vault).await.unwrap();
    assert_eq!(attested.load(Ordering::SeqCst), 1);
}
