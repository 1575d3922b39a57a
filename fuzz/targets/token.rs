//! Checks arbitrary tokens. The verifier must not panic and must refuse each token, because no input can have a valid
//! signature.
#![no_main]

use std::sync::LazyLock;

use certbound_verifier::{
    Algorithm, Authorization, BindingPolicy, Cloud, Issuer, KeySet, PeerCertificate, PublicKey, Scheme,
    TenantId, UnixTime, Verifier,
};

static FIXTURE: LazyLock<(Verifier, KeySet, PeerCertificate)> = LazyLock::new(|| {
    let tenant = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c").unwrap();
    let entra = Issuer::entra(Cloud::Public, [tenant]).unwrap();
    let other = Issuer::oidc("https://idp.example", [Algorithm::Es256, Algorithm::EdDsa]).unwrap();
    let key = PublicKey::rsa(&[0xff; 256], &[1, 0, 1]).unwrap();
    let keys = KeySet::new().with_key(&entra, "k1", key);
    let builder =
        Verifier::builder().issuer_with_keys(entra, KeySet::new()).issuer_with_keys(other, KeySet::new());
    let builder = builder.audience("api://orders").binding(BindingPolicy::WhenBound);
    (builder.dangerous_any_caller().build().unwrap(), keys, PeerCertificate::none())
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (verifier, keys, peer) = &*FIXTURE;
    let now = UnixTime::from_secs(1_800_000_000);
    if let Ok(authorization) = Authorization::parse(data) {
        assert!(verifier.check(keys, &authorization, peer, now).is_err());
    }
    if let Ok(token) = std::str::from_utf8(data) {
        for scheme in [Scheme::MtlsPop, Scheme::Bearer] {
            let authorization = Authorization::new(scheme, token);
            let explanation = verifier.explain(keys, &authorization, peer, now);
            let refusal = explanation.decision.unwrap_err();
            assert!(!refusal.to_string().contains(|c: char| c.is_control()), "{refusal}");
        }
    }
});
