//! Cases 1 to 17 and 22: the token and the certificate.

use certbound_verifier::{Authorization, BindingPolicy, PeerCertificate, Refusal, Scheme, UnixTime};
use serde_json::json;

use crate::support::{NOW, builder, client, code, decide, decide_as, der, keys, peer, token, verifier};

fn with(peer: &PeerCertificate) -> Refusal {
    decide_as(&verifier(), Scheme::MtlsPop, &token().sign(), peer).unwrap_err()
}

#[test]
fn the_right_token_with_the_right_certificate_is_accepted() {
    let verified = decide(&token().sign()).unwrap();
    assert_eq!(verified.client_id(), Some(crate::support::CLIENT));
    assert_eq!(verified.thumbprint(), client().thumbprint());
    assert_eq!(verified.tenant_id(), Some(crate::support::TENANT));
    assert_eq!(verified.roles().collect::<Vec<_>>(), ["Orders.Read"]);
    assert_eq!(verified.expires_at().as_secs(), NOW.as_secs() + 3600);
}

#[test]
fn v01_no_client_certificate() {
    let refusal = with(&PeerCertificate::none());
    assert_eq!((refusal.status(), refusal.code()), (401, "client_certificate_missing"));
}

#[test]
fn v02_an_unrelated_certificate() {
    let refusal = with(&peer("p256.pem"));
    assert_eq!((refusal.status(), refusal.error()), (401, Some("invalid_token")));
    let bound_to = client().thumbprint().unwrap().x5t_s256();
    let found = peer("p256.pem").thumbprint().unwrap();
    assert_eq!(refusal, Refusal::CertificateMismatch { bound_to, found });
}

#[test]
fn v03_the_same_key_in_a_renewed_certificate() {
    assert_eq!(with(&peer("v1.pem")).code(), "client_certificate_mismatch");
}

#[test]
fn v04_the_same_subject_and_issuer_with_another_key() {
    let look_alike = || {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "rsa");
        parameters.serial_number = Some(7_u64.into());
        parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    };
    let (one, other) = (look_alike(), look_alike());
    let peer = |der: &[u8]| PeerCertificate::from_der(der).unwrap();
    let bound =
        token().claim("cnf", json!({ "x5t#S256": peer(&one).thumbprint().unwrap().x5t_s256() })).sign();
    let decide = |der: &[u8]| code(decide_as(&verifier(), Scheme::MtlsPop, &bound, &peer(der)));
    assert_eq!((decide(&one), decide(&other)), ("accepted", "client_certificate_mismatch"));
}

#[test]
fn v05_a_token_without_cnf_under_mtls_pop() {
    let plain = token().without("cnf").sign();
    assert_eq!(code(decide(&plain)), "unbound_token_under_mtls_pop");
    let when_bound = builder().binding(BindingPolicy::WhenBound).build().unwrap();
    let decision = decide_as(&when_bound, Scheme::MtlsPop, &plain, &client());
    assert_eq!(code(decision), "unbound_token_under_mtls_pop", "under no policy");
}

#[test]
fn v06_a_bound_token_under_bearer_whatever_the_certificate() {
    for peer in [client(), peer("p256.pem"), PeerCertificate::none()] {
        for policy in [BindingPolicy::Required, BindingPolicy::WhenBound] {
            let verifier = builder().binding(policy).build().unwrap();
            let decision = decide_as(&verifier, Scheme::Bearer, &token().sign(), &peer);
            assert_eq!(code(decision), "bound_token_under_bearer");
        }
    }
    // RFC 8705 has no scheme other than `Bearer`.
    let rfc8705 = builder().binding(BindingPolicy::Rfc8705).build().unwrap();
    let bearer = |peer: &PeerCertificate| code(decide_as(&rfc8705, Scheme::Bearer, &token().sign(), peer));
    assert_eq!(bearer(&client()), "accepted");
    assert_eq!(bearer(&peer("p256.pem")), "client_certificate_mismatch");
    assert_eq!(bearer(&PeerCertificate::none()), "client_certificate_missing");
    let plain = token().without("cnf").sign();
    assert_eq!(code(decide_as(&rfc8705, Scheme::Bearer, &plain, &client())), "binding_required");
}

/// This policy is for a migration in steps. A client with a bound token must present the token's certificate, also
/// under `Bearer`, the only scheme of RFC 8705.
#[test]
fn v06_a_bound_token_must_match_where_unbound_ones_are_accepted_under_bearer_too() {
    let verifier = builder().binding(BindingPolicy::Rfc8705WhenBound).build().unwrap();
    let (bound, plain) = (token().sign(), token().without("cnf").sign());
    let decide =
        |scheme, token: &str, peer: &PeerCertificate| code(decide_as(&verifier, scheme, token, peer));
    for scheme in [Scheme::Bearer, Scheme::MtlsPop] {
        assert_eq!(decide(scheme, &bound, &client()), "accepted");
        assert_eq!(decide(scheme, &bound, &peer("p256.pem")), "client_certificate_mismatch");
        assert_eq!(decide(scheme, &bound, &PeerCertificate::none()), "client_certificate_missing");
    }
    for peer in [client(), PeerCertificate::none()] {
        assert_eq!(decide(Scheme::Bearer, &plain, &peer), "accepted");
        assert_eq!(decide(Scheme::MtlsPop, &plain, &peer), "unbound_token_under_mtls_pop");
    }
    let strange = token().claim("cnf", json!({ "jkt": "x" })).sign();
    assert_eq!(decide(Scheme::Bearer, &strange, &client()), "confirmation_not_understood");
}

#[test]
fn v07_an_unbound_token_under_bearer_by_policy() {
    let plain = token().without("cnf").sign();
    let decision = |policy| {
        let verifier = builder().binding(policy).build().unwrap();
        decide_as(&verifier, Scheme::Bearer, &plain, &PeerCertificate::none())
    };
    assert_eq!(code(decision(BindingPolicy::Required)), "binding_required");
    assert_eq!(code(decision(BindingPolicy::Rfc8705)), "binding_required");
    let verified = decision(BindingPolicy::WhenBound).unwrap();
    assert_eq!(verified.thumbprint(), None);
    // A certificate on the connection does not bind a token without `cnf`.
    let verifier = builder().binding(BindingPolicy::WhenBound).build().unwrap();
    let verified = decide_as(&verifier, Scheme::Bearer, &plain, &client()).unwrap();
    assert_eq!(verified.thumbprint(), None);
}

#[test]
fn v08_to_v12_a_cnf_that_is_not_exactly_one_canonical_thumbprint() {
    let right = client().thumbprint().unwrap();
    let text = right.x5t_s256();
    let last = text.chars().last().unwrap();
    // This replaces the last character by the next character of the alphabet. Only a bit outside the hash changes.
    let spare = format!("{}{}", &text[..42], char::from_u32(u32::from(last) + 1).unwrap());
    let standard = { text.replace('-', "+").replace('_', "/") };
    let cases = [
        json!({ "x5t": text }),             // case 8
        json!({ "x5t#S256": right.hex() }), // case 9
        json!({ "x5t#S256": format!("{text}=") }),
        json!({ "x5t#S256": format!("{text}A") }),
        json!({ "x5t#S256": format!("+{}", &standard[1..]) }),
        json!({ "x5t#S256": spare }), // case 10
        json!(text),                  // case 11
        json!([text]),
        json!(null),
        json!({}),
        json!({ "x5t#S256": 7 }),
        json!({ "x5t#S256": null }),
        json!({ "x5t#S256": text, "jkt": "x" }), // case 12
        json!({ "x5t#S256": text, "jwk": {} }),
        json!({ "x5t#S256": text, "kid": "x" }),
    ];
    for cnf in cases {
        let decision = decide(&token().claim("cnf", cnf.clone()).sign());
        assert_eq!(code(decision), "confirmation_not_understood", "{cnf}");
    }
}

#[test]
fn v13_the_thumbprint_in_the_header_is_irrelevant() {
    let peer = peer("p256.pem");
    let theirs = peer.thumbprint().unwrap().x5t_s256();
    let token = token().header("x5t#S256", json!(theirs)).sign();
    assert_eq!(code(decide_as(&verifier(), Scheme::MtlsPop, &token, &peer)), "client_certificate_mismatch");
}

#[test]
fn v14_the_hash_of_anything_but_the_der_does_not_match() {
    use certbound_core::certificate::CertificateChain;
    use certbound_verifier::Thumbprint;
    let leaf = der("rsa.pem");
    let chain = CertificateChain::from_der(vec![leaf.clone()]).unwrap();
    let pem =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/certificates/rsa.pem")).unwrap();
    let whole_chain = [leaf, der("ca.pem")].concat();
    for bytes in [pem.as_slice(), chain.public_key_info(), &whole_chain] {
        let cnf = json!({ "x5t#S256": Thumbprint::of_der(bytes).x5t_s256() });
        assert_eq!(code(decide(&token().claim("cnf", cnf).sign())), "client_certificate_mismatch");
    }
}

#[test]
fn v15_v16_only_the_first_certificate_of_the_connection_counts() {
    let bound = token().sign();
    let connection = |chain: &[Vec<u8>]| PeerCertificate::of_connection(Some(chain)).unwrap();
    for second in [vec![der("p256.pem"), der("rsa.pem")], vec![der("ca.pem"), der("rsa.pem")]] {
        let decision = decide_as(&verifier(), Scheme::MtlsPop, &bound, &connection(&second));
        assert_eq!(code(decision), "client_certificate_mismatch");
    }
    let first = connection(&[der("rsa.pem"), der("ca.pem")]);
    assert_eq!(code(decide_as(&verifier(), Scheme::MtlsPop, &bound, &first)), "accepted");
    assert_eq!(PeerCertificate::of_connection::<Vec<u8>>(Some(&[])).unwrap(), PeerCertificate::none());
}

#[test]
fn v17_a_certificate_outside_its_dates() {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    let make = |from: i32, to: i32| {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.not_before = date_time_ymd(from, 1, 1);
        parameters.not_after = date_time_ymd(to, 1, 1);
        let der = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        PeerCertificate::from_der(&der).unwrap()
    };
    // `NOW` is in January 2027.
    for (peer, expected) in [
        (make(2020, 2026), "client_certificate_dates"),
        (make(2028, 2030), "client_certificate_dates"),
        (make(2020, 2030), "accepted"),
    ] {
        let cnf = json!({ "x5t#S256": peer.thumbprint().unwrap().x5t_s256() });
        let token = token().claim("cnf", cnf).sign();
        assert_eq!(code(decide_as(&verifier(), Scheme::MtlsPop, &token, &peer)), expected);
        let lenient = builder().accept_any_certificate_dates().build().unwrap();
        assert_eq!(code(decide_as(&lenient, Scheme::MtlsPop, &token, &peer)), "accepted");
    }
}

#[test]
fn v17_a_certificate_counts_from_its_first_second_to_its_last() {
    let peer = client();
    let decide_at = |now: UnixTime| {
        let now_secs = now.as_secs();
        let token = token()
            .claim("iat", json!(now_secs))
            .claim("nbf", json!(now_secs))
            .claim("exp", json!(now_secs + 3600))
            .sign();
        verifier().check(&keys(), &Authorization::new(Scheme::MtlsPop, &token), &peer, now)
    };
    let early = UnixTime::from_secs(4000);
    let Err(Refusal::CertificateDates { from, to, now }) = decide_at(early) else {
        panic!("the certificate was not valid in 1970");
    };
    assert_eq!(now, early);
    let at = |now| code(decide_at(now));
    let second = std::time::Duration::from_secs(1);
    assert_eq!((at(from), at(to)), ("accepted", "accepted"));
    assert_eq!(at(UnixTime::from_secs(from.as_secs() - 1)), "client_certificate_dates");
    assert_eq!(at(to.plus(second)), "client_certificate_dates");
}

/// The certificate and its thumbprint are from RFC 8705, appendix A. The sample of section 3.1 is not canonical
/// base64url, so it is not the thumbprint of a certificate.
#[test]
fn the_vector_of_rfc_8705_passes_and_its_non_canonical_sample_is_refused() {
    let peer = peer("rfc8705-appendix-a.pem");
    let decide = |claim: &str| {
        let token = token().claim("cnf", json!({ "x5t#S256": claim })).sign();
        // The certificate was valid until 2022.
        let verifier = builder().accept_any_certificate_dates().build().unwrap();
        code(decide_as(&verifier, Scheme::MtlsPop, &token, &peer))
    };
    assert_eq!(decide("A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"), "accepted");
    assert_eq!(decide("bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"), "confirmation_not_understood");
}

/// The decision depends on the certificate of each request, even if the token was accepted before.
#[tokio::test]
async fn v22_a_remembered_token_is_not_accepted_with_another_certificate() {
    use certbound_verifier::Authorization;
    let verifier = builder_at_now().remember(16).build().unwrap();
    let token = token().sign();
    let authorization = Authorization::new(Scheme::MtlsPop, &token);
    for _ in 0..2 {
        assert_eq!(code(verifier.verify(&authorization, &client()).await), "accepted");
        let other = verifier.verify(&authorization, &peer("p256.pem")).await;
        assert_eq!(code(other), "client_certificate_mismatch");
        let none = verifier.verify(&authorization, &PeerCertificate::none()).await;
        assert_eq!(code(none), "client_certificate_missing");
        let bearer = Authorization::new(Scheme::Bearer, &token);
        assert_eq!(code(verifier.verify(&bearer, &client()).await), "bound_token_under_bearer");
    }
}

/// A function decides about tenants, and its decision can change.
#[tokio::test]
async fn a_remembered_token_is_refused_if_its_tenant_is_no_longer_accepted() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use certbound_verifier::{Authorization, Cloud, Issuer, KeySet, Verifier};
    let accepts = Arc::new(AtomicBool::new(true));
    let rule = Arc::clone(&accepts);
    let issuer = Issuer::entra_where(Cloud::Public, move |_| rule.load(Ordering::SeqCst));
    let keys = KeySet::new().with_key(&issuer, crate::support::KID, crate::support::public_key());
    let builder = Verifier::builder().issuer_with_keys(issuer, keys).audience(crate::support::AUDIENCE);
    let builder = builder.any_role(["Orders.Read"]).with_clock(crate::keys::At::now()).remember(16);
    let verifier = builder.build().unwrap();
    let token = token().sign();
    let decide =
        async || code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await);
    assert_eq!((decide().await, decide().await), ("accepted", "accepted"));
    accepts.store(false, Ordering::SeqCst);
    assert_eq!(decide().await, "tenant_not_allowed");
}

/// The decision about an unbound token does not depend on the connection's certificate, even if the decision is
/// remembered.
#[tokio::test]
async fn v17_a_remembered_plain_token_does_not_depend_on_a_certificates_dates() {
    let expired = {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let der = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
        PeerCertificate::from_der(&der).unwrap()
    };
    let verifier = builder_at_now().binding(BindingPolicy::WhenBound).remember(16).build().unwrap();
    let plain = token().without("cnf").sign();
    for _ in 0..2 {
        let authorization = Authorization::new(Scheme::Bearer, &plain);
        assert_eq!(code(verifier.verify(&authorization, &expired).await), "accepted");
    }
}

fn builder_at_now() -> certbound_verifier::VerifierBuilder {
    use crate::support::{AUDIENCE, issuer};
    certbound_verifier::Verifier::builder()
        .issuer_with_keys(issuer(), keys())
        .audience(AUDIENCE)
        .any_role(["Orders.Read"])
        .with_clock(crate::keys::At::now())
}

/// Each step has its own outcome. The verifier does not reach the steps after a refusal.
#[test]
fn a_decision_is_explained_step_by_step() {
    use certbound_verifier::{Outcome, Step};
    let explain = |token: &str, peer: &PeerCertificate| {
        verifier().explain(&keys(), &Authorization::new(Scheme::MtlsPop, token), peer, NOW)
    };
    let good = explain(&token().sign(), &client());
    assert!(good.decision.is_ok());
    assert_eq!(good.steps.iter().map(|(step, _)| *step).collect::<Vec<_>>(), Step::ALL);
    let seen = |step: Step| {
        good.steps.iter().find_map(|(of, outcome)| match outcome {
            Outcome::Passed(seen) if *of == step => Some(seen.clone()),
            _ => None,
        })
    };
    assert!(seen(Step::Binding).unwrap().contains(&client().thumbprint().unwrap().x5t_s256()));
    assert!(seen(Step::CertificateDates).unwrap().starts_with("expires in "));
    assert_eq!(seen(Step::Caller).unwrap(), crate::support::CLIENT);
    assert_eq!(seen(Step::Permission).unwrap(), "the token has a required role or scope");

    let bad = explain(&token().sign(), &peer("p256.pem"));
    let refusal = bad.decision.unwrap_err();
    for (at, (step, outcome)) in bad.steps.iter().enumerate() {
        let binding = Step::ALL.iter().position(|step| *step == Step::Binding).unwrap();
        match at.cmp(&binding) {
            std::cmp::Ordering::Less => assert!(matches!(outcome, Outcome::Passed(_)), "{step}"),
            std::cmp::Ordering::Equal => assert_eq!(*outcome, Outcome::Refused(refusal.clone())),
            std::cmp::Ordering::Greater => assert_eq!(*outcome, Outcome::NotReached, "{step}"),
        }
    }
    let ids: std::collections::HashSet<_> = Step::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(ids.len(), Step::ALL.len());
}
