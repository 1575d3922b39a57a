//! Keys of a machine: the accepted kinds, the time of the request for the key, and the time limits of key stores and
//! hooks.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certbound::certificate::{SignatureScheme, Signer};
use certbound::error::KeyError;
use certbound::managed_identity::{
    Attestation, AttestationRequest, IdentityId, KeyProvider, KeyStrength, MachineCertificates, MachineKey,
    SoftwareKeys,
};
use certbound::state::StateDirectory;
use certbound::{ManagedIdentity, Secret};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, PlatformEndpoint};
use certbound_testkit::{GatedTransport, Pair};

use crate::machine_blame::Words;
use crate::machine_certificates::{DAY, HOUR, until};
use crate::managed_identity::{CLAIMS, asked, refuse_once};
use crate::two_leg::vault;

/// A signer that supports these schemes and never signs.
struct ForShow(&'static [SignatureScheme]);

impl Signer for ForShow {
    fn schemes(&self) -> &[SignatureScheme] {
        self.0
    }

    fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, KeyError> {
        Err(KeyError::new("this signer never signs"))
    }
}

fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut openssl = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(input).unwrap();
    let output = openssl.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[tokio::test]
async fn a_key_is_rsa_of_2048_bits_or_more() {
    let rsa = |bits: &str| {
        let private = openssl(&["genrsa", bits], b"");
        openssl(&["rsa", "-pubout", "-outform", "DER"], &private)
    };
    let pss = || ForShow(&[SignatureScheme::RsaPkcs1Sha256, SignatureScheme::RsaPssSha256]);
    let taken = MachineKey::new(&rsa("3072"), pss()).unwrap();
    assert!(taken.signer::<ForShow>().is_some(), "a hook gets the provider's own type");
    let software = SoftwareKeys::new().key().await.unwrap();
    assert!(software.signer::<ForShow>().is_none());
    let without = MachineKey::new(software.public_key(), ForShow(&[SignatureScheme::RsaPkcs1Sha256]));
    assert!(without.unwrap_err().to_string().contains("RSA-PSS"));
    let mut trailing = software.public_key().to_vec();
    trailing.push(0);
    let ec = rcgen::KeyPair::generate().unwrap();
    for (public, word) in [
        (rsa("1024"), "1024 bits"),
        (rcgen::PublicKeyData::subject_public_key_info(&ec), "RSA"),
        (trailing, "RSA"),
        (Vec::new(), "RSA"),
    ] {
        let error = MachineKey::new(&public, pss()).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn an_identity_tells_whether_its_key_outlives_the_process() {
    let pair = Pair::new();
    let folder = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(folder.path().join("state")).unwrap();
    let persistent = |keys| {
        let builder = pair.managed_identity(IdentityId::System).with_keys(keys);
        builder.build().unwrap().has_persistent_key()
    };
    assert!(!persistent(SoftwareKeys::new()) && persistent(SoftwareKeys::kept_in(&state)));
    assert!(!pair.managed_identity(IdentityId::System).build().unwrap().has_persistent_key());
    for (strength, persists) in [(KeyStrength::Software, false), (KeyStrength::Hardware, true)] {
        let elsewhere = Counted { strength, asked: Arc::default(), key: None };
        let identity = pair.managed_identity(IdentityId::System).with_keys(elsewhere).build().unwrap();
        assert_eq!(identity.has_persistent_key(), persists, "the default of a key store: {strength}");
    }
}

/// A provider that counts the requests for its key. Without a key it never answers.
struct Counted {
    strength: KeyStrength,
    asked: Arc<AtomicUsize>,
    key: Option<MachineKey>,
}

impl KeyProvider for Counted {
    fn strength(&self) -> KeyStrength {
        self.strength
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.key.clone() {
            Some(key) => Ok(key),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test]
async fn the_key_is_made_while_the_platform_is_asked() {
    let pair = Pair::new();
    let gate = GatedTransport::new(pair.transport());
    let asked = Arc::new(AtomicUsize::new(0));
    let keys = Counted {
        strength: KeyStrength::Software,
        asked: Arc::clone(&asked),
        key: SoftwareKeys::new().key().await.ok(),
    };
    let builder = pair.managed_identity(IdentityId::System).with_transport(gate.clone()).with_keys(keys);
    let identity = builder.build().unwrap();
    gate.close("getplatformmetadata");
    let minting = tokio::spawn(async move { identity.bound_token(&vault()).await });
    until(|| gate.waiting() == 1).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1, "before the platform answered");
    gate.open();
    minting.await.unwrap().unwrap();
}

/// Time is paused: it advances when all tasks wait.
#[tokio::test(start_paused = true)]
async fn a_key_store_that_hangs_is_given_up() {
    let pair = Pair::new();
    let keys = Counted { strength: KeyStrength::Software, asked: Arc::default(), key: None };
    let identity = pair.managed_identity(IdentityId::System).with_keys(keys).build().unwrap();
    let error = identity.bound_token(&vault()).await.unwrap_err();
    assert_eq!(error.code(), "cryptographic_error");
    assert!(error.to_string().contains("60 s"), "{error}");
}

/// A hook that never answers.
struct Silent;

impl Attestation for Silent {
    async fn attest(&self, _: &AttestationRequest) -> Result<Secret, String> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_attestation_hook_that_hangs_is_given_up() {
    let pair = Pair::new();
    let identity = pair.managed_identity(IdentityId::System).with_attestation(Silent).build().unwrap();
    let error = identity.bound_token(&vault()).await.unwrap_err();
    assert_eq!(error.code(), "attestation_failed");
    assert!(error.to_string().contains("60 s"), "{error}");
}

/// A hook that records its requests: endpoint, client id and tenant.
struct Recording(Words, Arc<Mutex<Vec<[String; 3]>>>);

impl Attestation for Recording {
    async fn attest(&self, request: &AttestationRequest) -> Result<Secret, String> {
        let AttestationRequest { endpoint, client_id, tenant_id, .. } = request;
        self.1.lock().unwrap().push([endpoint.clone(), client_id.clone(), tenant_id.clone()]);
        self.0.attest(request).await
    }
}

/// The endpoint follows from the cloud and the region of the machine, unless the metadata service does not name them or
/// the region could lead to another host.
#[tokio::test]
async fn the_attestation_hook_is_told_the_endpoint_of_the_region_and_the_tenant() {
    let status = |status: u16, body: &str| FaultResult::Status {
        status,
        body: body.to_owned(),
        retry_after: None,
        headers: [].into(),
    };
    let without = |name: &str| FaultResult::WithoutMember { name: name.to_owned() };
    let named = "https://certbound.attest.azure.net";
    let of_region = "https://westus3.attestation.microsoft.com";
    for (fault, endpoint) in [
        (None, of_region),
        (Some(without("azEnvironment")), named),
        (Some(without("location")), named),
        (Some(status(404, "")), named),
        (Some(FaultResult::MalformedJson), named),
        (Some(status(200, r#"{"azEnvironment":"AzurePublicCloud","location":"evil.example/"}"#)), named),
        (
            Some(status(200, r#"{"azEnvironment":"AzureBleuCloud","location":"FranceCentral"}"#)),
            "https://francecentral.attestation.sovcloud-identity.fr",
        ),
    ] {
        let pair = Pair::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let hook = Recording(Words::of(&pair, &["right"]).0, Arc::clone(&seen));
        let identity = pair.managed_identity(IdentityId::System).with_attestation(hook).build().unwrap();
        let case = format!("{fault:?}");
        if let Some(fault) = fault {
            let condition = Condition::endpoint(PlatformEndpoint::InstanceMetadata);
            pair.emulator().add_fault(Fault::always(condition, fault));
        }
        identity.bound_token(&vault()).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 1, "{case}");
        assert_eq!(seen[0], [endpoint, builtin::SYSTEM_IDENTITY, builtin::TENANT], "{case}");
    }
    // Without a hook the description of the machine is not needed.
    let pair = Pair::new();
    let identity = pair.managed_identity(IdentityId::System).build().unwrap();
    identity.bound_token(&vault()).await.unwrap();
    assert_eq!(asked(&pair), ["getplatformmetadata", "issuecredential", "token"]);
}

/// A provider whose first call panics. Each caller gets an error, and the next call succeeds.
struct Panics(AtomicUsize, MachineKey);

impl KeyProvider for Panics {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        tokio::task::yield_now().await;
        assert!(self.0.fetch_add(1, Ordering::SeqCst) > 0, "the first call panics");
        Ok(self.1.clone())
    }
}

#[tokio::test]
async fn a_key_store_that_panics_is_an_error_to_all_who_wait() {
    let pair = Pair::new();
    let keys = Panics(AtomicUsize::new(0), SoftwareKeys::new().key().await.unwrap());
    let identity = pair.managed_identity(IdentityId::System).with_keys(keys).build().unwrap();
    let scope = vault();
    let both = futures_util::future::join(async { identity.bound_token(&scope).await }, async {
        identity.assertion().await
    });
    let (token, assertion) = both.await;
    assert_eq!(token.unwrap_err().code(), "cryptographic_error");
    assert_eq!(assertion.map(drop).unwrap_err().code(), "cryptographic_error");
    identity.bound_token(&scope).await.unwrap();
}

#[tokio::test]
async fn an_attestation_of_a_key_is_used_until_it_nears_its_end() {
    let pair = Pair::new();
    let certificates = MachineCertificates::new();
    let (hook, calls) = Words::of(&pair, &["right"]);
    let builder = |id| pair.managed_identity(id).with_certificates(certificates.clone());
    let identity = builder(IdentityId::System).with_attestation(hook).build().unwrap();
    let calls = || calls.load(Ordering::SeqCst);
    let mint = async |identity: &ManagedIdentity| {
        refuse_once(&pair, 1_000_901);
        identity.bound_token(&vault()).claims(CLAIMS).await.unwrap();
    };
    identity.bound_token(&vault()).await.unwrap();
    mint(&identity).await;
    assert_eq!((calls(), certificates.len()), (1, 1), "the certificate was blamed, not the attestation");
    // Another identity with another hook and the same key.
    let (other_hook, other_calls) = Words::of(&pair, &["right"]);
    let other_calls = || other_calls.load(Ordering::SeqCst);
    let user = IdentityId::client_id(builtin::USER_IDENTITY).unwrap();
    let user = builder(user).with_attestation(other_hook).build().unwrap();
    user.bound_token(&vault()).await.unwrap();
    assert_eq!((other_calls(), certificates.len()), (0, 2));
    // The attestation token expires after a day.
    pair.clock().advance(DAY - Duration::from_secs(301));
    mint(&identity).await;
    assert_eq!((calls(), other_calls()), (1, 0));
    pair.clock().advance(Duration::from_secs(2));
    mint(&user).await;
    assert_eq!((calls(), other_calls()), (1, 1));
    pair.clock().advance(HOUR);
    mint(&identity).await;
    assert_eq!((calls(), other_calls()), (1, 1));
}
