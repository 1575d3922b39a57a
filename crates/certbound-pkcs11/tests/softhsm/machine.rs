//! The key of a managed identity in a token.

use certbound::error::KeyError;
use certbound::managed_identity::{
    IdentityId, KeyProvider as _, KeyStrength, MachineCertificates, MachineKey,
};
use certbound::{Cloud, ResourceScope};
use certbound_pkcs11::{KeySpec, OpenToken, TokenKey, TokenKeys, TokenOptions};
use certbound_testkit::Pair;

use crate::hsm::{Hsm, isolated_async};

fn keys(hsm: &Hsm, path: &str) -> TokenKeys {
    TokenKeys::open(hsm.uri(path), TokenOptions::default()).unwrap()
}

async fn public(keys: &TokenKeys) -> Vec<u8> {
    keys.key().await.unwrap().public_key().to_vec()
}

fn issued(pair: &Pair) -> usize {
    pair.emulator().journal().iter().filter(|entry| entry.path.ends_with("/issuecredential")).count()
}

#[test]
fn the_key_is_generated_in_the_token_and_found_again() {
    isolated_async(async |hsm| {
        let first = keys(hsm, "token=app;object=machine");
        assert!(first.is_persistent());
        let public_key = public(&first).await;
        assert_eq!(
            public(&keys(hsm, "token=app;object=machine")).await,
            public_key,
            "the next process finds it"
        );
        let listed = hsm.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
        assert!(listed.contains("never extractable") && listed.contains("sensitive"), "{listed}");
        assert_ne!(public(&keys(hsm, "token=app")).await, public_key, "another label is another key");
        assert_eq!(
            hsm.pkcs11_tool(&["--list-objects", "--type", "privkey"]).matches("Private Key").count(),
            2
        );
        // The same key and opening is the same handle, whose connections are kept.
        let pair = Pair::new();
        let vault = ResourceScope::key_vault(Cloud::Public);
        let identity = pair.managed_identity(IdentityId::System).with_keys(first).build().unwrap();
        let token = identity.bound_token(&vault).await.unwrap();
        assert_eq!(token.binding().chain().public_key_info(), public_key);
        assert!(identity.has_persistent_key());
        // Leg 1 by the machine, Leg 2 by an application.
        let leg2 = pair
            .builder(certbound_testkit::emulator::world::builtin::TARGET_APP)
            .with_assertions(identity)
            .build()
            .unwrap();
        assert_eq!(
            leg2.bound_token(&vault).await.unwrap().binding().thumbprint(),
            token.binding().thumbprint()
        );
    });
}

#[test]
fn many_callers_share_one_new_key() {
    isolated_async(async |hsm| {
        let keys = keys(hsm, "token=app;object=machine");
        let all = futures_util::future::join_all((0..16).map(|_| keys.key())).await;
        let all: Vec<MachineKey> = all.into_iter().collect::<Result<_, KeyError>>().unwrap();
        assert!(all.iter().all(|key| key.public_key() == all[0].public_key()));
        assert_eq!(
            hsm.pkcs11_tool(&["--list-objects", "--type", "privkey"]).matches("Private Key").count(),
            1
        );
    });
}

/// Two processes can generate a key each. All of them use the key with the smallest id.
#[test]
fn of_several_keys_with_the_name_the_smallest_id_is_used() {
    isolated_async(async |hsm| {
        let earlier = keys(hsm, "token=app;object=machine");
        let first = public(&earlier).await;
        let smaller = hsm.generate("token=app;object=machine;id=%00", KeySpec::Rsa2048);
        let later = keys(hsm, "token=app;object=machine");
        assert_eq!(public(&later).await, smaller);
        assert_eq!(public(&earlier).await, smaller, "the earlier provider follows");
        hsm.generate("token=app;object=machine;id=%ff%ff", KeySpec::Rsa2048);
        assert_eq!(public(&later).await, smaller);
        assert_ne!(first, smaller);
    });
}

#[test]
fn one_key_is_generated_although_several_providers_of_the_process_need_it_at_once() {
    isolated_async(async |hsm| {
        hsm.fault("hang-generate", true);
        let all: Vec<_> = (0..6).map(|_| keys(hsm, "token=app;object=machine")).collect();
        let all = all.into_iter().map(|keys| tokio::spawn(async move { public(&keys).await }));
        let all = futures_util::future::join_all(all);
        let release = async {
            while hsm.count('G') == 0 {
                tokio::task::yield_now().await;
            }
            hsm.fault("hang-generate", false);
        };
        let (all, ()) = tokio::join!(all, release);
        let all: Vec<Vec<u8>> = all.into_iter().collect::<Result<_, _>>().unwrap();
        assert!(all.iter().all(|public| *public == all[0]));
        assert_eq!(hsm.count('G'), 1);
    });
}

#[test]
fn the_strength_is_what_the_module_says_and_the_floor_is_kept() {
    isolated_async(async |hsm| {
        let pair = Pair::new();
        let vault = ResourceScope::key_vault(Cloud::Public);
        let software = keys(hsm, "token=app;object=machine");
        assert_eq!(software.strength(), KeyStrength::Software, "SoftHSM does not say that it is hardware");
        let identity = pair.managed_identity(IdentityId::System).with_keys(software);
        let identity = identity.min_strength(KeyStrength::Hardware).build().unwrap();
        let error = identity.bound_token(&vault).await.unwrap_err();
        assert_eq!(error.code(), "min_strength_not_met");
        assert!(pair.emulator().journal().is_empty(), "no byte was sent");
        let trusted =
            TokenKeys::open(hsm.uri("token=app;object=machine"), TokenOptions::default().trust_as_hardware());
        assert_eq!(trusted.unwrap().strength(), KeyStrength::Hardware);
        hsm.fault("hardware", true);
        let hardware = keys(hsm, "token=app;object=machine");
        assert_eq!(hardware.strength(), KeyStrength::Hardware);
        let identity = pair.managed_identity(IdentityId::System).with_keys(hardware);
        let identity = identity.min_strength(KeyStrength::Hardware).build().unwrap();
        identity.bound_token(&vault).await.unwrap();
    });
}

#[test]
fn a_weaker_or_another_token_in_the_place_of_the_first_is_refused() {
    isolated_async(async |hsm| {
        hsm.fault("hardware", true);
        let hardware = keys(hsm, "token=app;object=machine");
        let trusted = TokenOptions::default().trust_as_hardware();
        let trusted = TokenKeys::open(hsm.uri("token=app;object=machine"), trusted).unwrap();
        let public_key = public(&hardware).await;
        hsm.fault("hardware", false);
        let error = hardware.key().await.unwrap_err();
        assert!(error.to_string().contains("does not say any more"), "{error}");
        assert_eq!(public(&trusted).await, public_key, "the user vouches for the token");
        hsm.fault("hardware", true);
        assert_eq!(public(&hardware).await, public_key);
        // Another token with the same label.
        hsm.fault("removed", true);
        hardware.key().await.unwrap_err();
        trusted.key().await.unwrap_err();
        hsm.fault("other-serial", true);
        hsm.fault("removed", false);
        for keys in [&hardware, &trusted] {
            let error = keys.key().await.unwrap_err();
            assert!(error.to_string().contains("a different serial number"), "{error}");
        }
    });
}

/// The provider's errors do not depend on the handle, so the handle and its connections stay in use.
#[test]
fn a_handle_stays_in_use_after_an_error_of_the_provider() {
    isolated_async(async |hsm| {
        let keys = keys(hsm, "token=app;object=machine");
        let place = async || {
            let key = keys.key().await?;
            Ok::<_, KeyError>(std::ptr::from_ref(key.signer::<TokenKey>().unwrap()) as usize)
        };
        let first = place().await.unwrap();
        hsm.fault("sign-fails", true);
        place().await.unwrap_err();
        hsm.fault("sign-fails", false);
        assert_eq!(place().await, Ok(first));
    });
}

#[test]
fn a_key_that_is_gone_is_made_anew_and_one_that_is_weak_is_refused() {
    isolated_async(async |hsm| {
        let pair = Pair::new();
        let vault = ResourceScope::key_vault(Cloud::Public);
        let certificates = MachineCertificates::new();
        let keys = keys(hsm, "token=app;object=machine");
        let before = public(&keys).await;
        let identity =
            pair.managed_identity(IdentityId::System).with_certificates(certificates).with_keys(keys);
        let identity = identity.build().unwrap();
        let old = identity.bound_token(&vault).await.unwrap();
        // The token was cleared.
        hsm.pkcs11_tool(&["--delete-object", "--type", "privkey", "--label", "machine"]);
        hsm.pkcs11_tool(&["--delete-object", "--type", "pubkey", "--label", "machine"]);
        let new = identity.bound_token(&vault).force_refresh().await.unwrap();
        assert_ne!(new.binding().thumbprint(), old.binding().thumbprint());
        assert_ne!(new.binding().chain().public_key_info(), before);
        assert_eq!(issued(&pair), 2);
        // A key that somebody imported under the name of the machine's key.
        hsm.pkcs11_tool(&["--delete-object", "--type", "privkey", "--label", "machine"]);
        let imported = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem();
        std::fs::write(hsm.path("key.pem"), imported).unwrap();
        let file = hsm.path("key.pem");
        hsm.pkcs11_tool(&[
            "--write-object",
            file.to_str().unwrap(),
            "--type",
            "privkey",
            "--label",
            "machine",
            "--id",
            "07",
        ]);
        let error = identity.bound_token(&vault).force_refresh().await.unwrap_err();
        assert_eq!(error.code(), "cryptographic_error");
        assert!(error.to_string().contains("copied out of the token"), "{error}");
    });
}

#[test]
fn an_ec_key_or_a_missing_token_is_an_error_and_no_software_key_takes_its_place() {
    isolated_async(async |hsm| {
        let pair = Pair::new();
        let vault = ResourceScope::key_vault(Cloud::Public);
        OpenToken::open(hsm.uri("token=app;object=ec"), TokenOptions::default())
            .unwrap()
            .generate(KeySpec::P256)
            .unwrap();
        hsm.fault("no-rsa", true);
        let error = keys(hsm, "token=app;object=machine").key().await.unwrap_err();
        assert!(error.to_string().contains("lacks RSA-PSS"), "{error}");
        hsm.fault("no-rsa", false);
        let listed = hsm.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
        assert_eq!(listed.matches("Private Key").count(), 1, "no key was generated: {listed}");
        let identity = pair
            .managed_identity(IdentityId::System)
            .with_keys(keys(hsm, "token=app;object=ec"))
            .build()
            .unwrap();
        let error = identity.bound_token(&vault).await.unwrap_err();
        assert!(error.to_string().contains("not an RSA key"), "{error}");
        let identity =
            pair.managed_identity(IdentityId::System).with_keys(keys(hsm, "token=app;object=machine"));
        let identity = identity.with_certificates(MachineCertificates::new()).build().unwrap();
        hsm.fault("removed", true);
        let error = identity.bound_token(&vault).await.unwrap_err();
        assert_eq!(error.code(), "cryptographic_error");
        assert!(error.to_string().contains("no token"), "{error}");
        assert_eq!(issued(&pair), 0, "no certificate was requested");
        hsm.fault("removed", false);
        identity.bound_token(&vault).await.unwrap();
    });
}
