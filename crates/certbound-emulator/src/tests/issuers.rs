//! External issuers with fetched keys, flexible credentials, credentials and assertions that depend on time, and keys
//! from a seed.

use serde_json::json;

use super::signed::{
    EXTERNAL, changed, external, external_body, external_header, with_external_issuer,
    with_external_issuer_and,
};
use super::*;

const GITHUB: &str = "https://token.actions.githubusercontent.com";

#[test]
fn a_flexible_credential_looks_into_the_claims() {
    let emulator = with_external_issuer_and(|world| {
        world.external_issuers[0].issuer = GITHUB.to_owned();
        let credential = &mut world.application_mut(BARE_APP).unwrap().federated_credentials[0];
        credential.issuer = GITHUB.to_owned();
        credential.subject = String::new();
        let expression = "claims['sub'] matches 'repo:contoso/*:ref:refs/heads/main' and claims['job_workflow_ref'] eq 'w'";
        credential.claims_matching_expression = Some(expression.to_owned());
        assert_eq!(world.check(), Ok(()));
    });
    let with = |subject: &str, workflow: Value| {
        let body = changed(external_body(), "iss", json!(GITHUB));
        let body = changed(changed(body, "sub", json!(subject)), "job_workflow_ref", workflow);
        external(external_header(), body).code(&emulator)
    };
    assert_eq!(with("repo:contoso/app:ref:refs/heads/main", json!("w")), 0);
    assert_eq!(with("repo:Contoso/app:ref:refs/heads/main", json!("w")), 7_002_131);
    assert_eq!(with("repo:contoso/app:ref:refs/heads/main2", json!("w")), 7_002_131);
    assert_eq!(with("repo:contoso/app:ref:refs/heads/main", json!(["w"])), 7_002_131);
    assert_eq!(with("repo:contoso/app:ref:refs/heads/main", Value::Null), 7_002_131);
}

#[test]
fn a_new_credential_takes_its_time() {
    let emulator = with_external_issuer_and(|world| world.propagation_seconds = 120);
    let at = |seconds| Ask { now: later(seconds), ..external(external_header(), external_body()) };
    assert_eq!(at(0).code(&emulator), 70_021);
    assert_eq!(at(119).code(&emulator), 70_021);
    assert_eq!(at(120).code(&emulator), 0);
}

#[test]
fn s73_an_assertion_works_once_where_that_is_the_rule() {
    let emulator = with_external_issuer_and(|world| world.one_time_assertions = true);
    let ask = |jti: Value| external(external_header(), changed(external_body(), "jti", jti));
    assert_eq!(ask(json!("1")).code(&emulator), 0);
    assert_eq!(ask(json!("1")).code(&emulator), 700_024);
    assert_eq!(ask(json!("2")).code(&emulator), 0);
    assert_eq!(ask(Value::Null).code(&emulator), 0);
    assert_eq!(ask(Value::Null).code(&emulator), 700_024);
    // An assertion that was refused for a different reason does not count as used.
    let wrong_scope = Ask { scope: "https://nowhere.example/.default", ..ask(json!("3")) };
    assert_eq!(wrong_scope.code(&emulator), 500_011);
    assert_eq!(ask(json!("3")).code(&emulator), 0);
    emulator.reset();
    assert_eq!(ask(json!("1")).code(&emulator), 0);
    // Without the setting, an assertion works until it expires.
    let emulator = with_external_issuer();
    assert_eq!((ask(json!("1")).code(&emulator), ask(json!("1")).code(&emulator)), (0, 0));
}

#[test]
fn an_issuer_is_asked_when_its_key_is_needed_and_not_again_for_a_while() {
    let mut keys = Vec::new();
    let emulator =
        with_external_issuer_and(|world| keys = std::mem::take(&mut world.external_issuers[0].keys));
    let ask = || external(external_header(), external_body());
    let wanted = |ask: &Ask<'_>, seconds| {
        let request = post(ask.tenant, ask.body());
        emulator.issuer_to_ask(later(seconds), &request).map(|issuer| issuer.issuer.clone())
    };
    let asked = Some(EXTERNAL.to_owned());
    assert_eq!(wanted(&ask(), 0), asked);
    assert_eq!(ask().code(&emulator), 90_061);
    emulator.learn_issuer(EXTERNAL, Err("it is unreachable".to_owned()), later(0));
    assert_eq!((wanted(&ask(), 9), wanted(&ask(), 10)), (None, asked.clone()));
    emulator.learn_issuer(EXTERNAL, Ok(keys), later(10));
    assert_eq!(ask().code(&emulator), 0);
    assert_eq!((wanted(&ask(), 309), wanted(&ask(), 310)), (None, asked.clone()));
    // This token names a key that the issuer did not publish at the first fetch.
    let other = external(json!({"alg": "RS256", "kid": "k2"}), external_body());
    assert_eq!((wanted(&other, 19), wanted(&other, 20)), (None, asked.clone()));
    assert_eq!(other.code(&emulator), 700_027);
    // After a failure the earlier keys stay valid, and their expiry does not change.
    emulator.learn_issuer(EXTERNAL, Err("it is unreachable".to_owned()), later(20));
    assert_eq!(ask().code(&emulator), 0);
    assert_eq!((wanted(&other, 29), wanted(&other, 30)), (None, asked.clone()));
    assert_eq!((wanted(&ask(), 309), wanted(&ask(), 310)), (None, asked.clone()));
    emulator.learn_issuer(EXTERNAL, Err("it is unreachable".to_owned()), later(310));
    assert_eq!(ask().code(&emulator), 90_061);
    // The emulator fetches no keys from an issuer that the application does not trust.
    for stranger in [
        Ask { client_id: APP, ..ask() },
        external(external_header(), changed(external_body(), "iss", json!("https://evil.example"))),
    ] {
        assert_eq!(wanted(&stranger, 10_000), None);
    }
}

#[test]
fn a_seed_gives_the_same_keys_again() {
    let world = World::built_in();
    let keys = |seed: &str| {
        let keys = EmulatorKeys::from_seed(&world, NOW, seed).unwrap();
        let emulator = Emulator::with_keys(world.clone(), keys, Arc::new(Fixed)).unwrap();
        let modulus = |emulator: &Emulator| {
            emulator.current_key().unwrap().public().rsa_components().unwrap().0.to_vec()
        };
        let first = modulus(&emulator);
        emulator.rotate_keys().unwrap();
        (emulator.client_identity().key_pem.clone(), first, modulus(&emulator))
    };
    let one = keys("one");
    assert_eq!(keys("one"), one);
    assert_ne!(keys("two").0, one.0);
    assert_ne!(one.1, one.2);
}

#[test]
fn a_seed_and_a_serial_number_give_the_same_certificate_again() {
    let world = World::built_in();
    let leaf = |seed: &str, serial: u64| {
        let keys = EmulatorKeys::from_seed(&world, NOW, seed).unwrap();
        let emulator = Emulator::with_keys(world.clone(), keys, Arc::new(Fixed)).unwrap();
        let key = KeyKind::Existing(emulator.client_identity().key_pem.clone());
        let options = IssueOptions::new("app").with_key(key).valid(NOW, later(60)).with_serial(serial);
        emulator.issue_client_certificate(&options).unwrap().leaf_der().to_vec()
    };
    let one = leaf("one", 1);
    assert_eq!(leaf("one", 1), one);
    assert_ne!(leaf("one", 2), one);
    assert_ne!(leaf("two", 1), one);
}
