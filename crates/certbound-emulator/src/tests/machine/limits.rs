//! The limits of the machine's services, and the tokens and certificates that they cache.

use super::*;
use crate::world::builtin::{SYSTEM_IDENTITY_PRINCIPAL, USER_IDENTITY_PRINCIPAL};

/// Returns the answer `seconds` after [`NOW`].
fn at(emulator: &Emulator, seconds: u64, path: &str) -> Response<Bytes> {
    let method = if path.starts_with(ISSUE) { Method::POST } else { Method::GET };
    let request = bare(&method, path).header("host", HOST).header("metadata", "true");
    emulator.handle_machine(later(seconds), HOST, request.body(Bytes::new()).unwrap())
}

fn token(response: &Response<Bytes>) -> String {
    json_of(response)["access_token"].as_str().unwrap().to_owned()
}

fn owner(response: &Response<Bytes>) -> String {
    claims(&token(response)).string("oid").unwrap().to_owned()
}

fn throttled() -> Emulator {
    emulator_with(|world| world.machine.throttled = true)
}

#[test]
fn s85_too_many_calls_in_a_second_are_refused_and_the_next_second_is_another() {
    for (path, right) in [(TOKEN, 200), (METADATA, 200), (ISSUE, 400)] {
        let emulator = throttled();
        let first: Vec<u16> = (0..25).map(|_| at(&emulator, 0, path).status().as_u16()).collect();
        assert_eq!(first, [vec![right; 20], vec![429; 5]].concat(), "{path}");
        assert_eq!(at(&emulator, 1, path).status(), right, "{path}");
    }
    // The limit applies to all operations for identities together.
    let emulator = throttled();
    (0..20).for_each(|_| drop(at(&emulator, 0, TOKEN)));
    assert_eq!(at(&emulator, 0, METADATA).status(), 429);
    assert_eq!(at(&emulator, 0, COMPUTE).status(), 200, "the description has its own limit");
    // A request that is refused because it lacks the header `Metadata` is not counted.
    let emulator = throttled();
    (0..25).for_each(|_| drop(send(&emulator, bare(&Method::GET, TOKEN).header("host", HOST), "")));
    assert_eq!(at(&emulator, 0, TOKEN).status(), 200);
}

#[test]
fn s85_the_rest_is_five_calls_a_second() {
    let emulator = throttled();
    let first: Vec<u16> = (0..7).map(|_| at(&emulator, 0, LOCATION).status().as_u16()).collect();
    assert_eq!(first, [vec![200; 5], vec![429; 2]].concat());
    assert_eq!(
        (at(&emulator, 0, TOKEN).status().as_u16(), at(&emulator, 1, COMPUTE).status().as_u16()),
        (200, 200)
    );
}

#[test]
fn s85_a_sixth_call_at_once_is_refused_and_each_has_its_own_identitys_token() {
    let emulator = throttled();
    let users = format!("{TOKEN}&client_id={USER_IDENTITY}");
    // A call counts until its answer is dropped.
    let open: Vec<_> =
        [TOKEN, &users, TOKEN, &users, METADATA].iter().map(|path| at(&emulator, 0, path)).collect();
    for path in [TOKEN, &users, METADATA, ISSUE] {
        assert_eq!(at(&emulator, 1, path).status(), 429, "{path}");
    }
    assert_eq!(at(&emulator, 1, COMPUTE).status(), 200);
    let owners: Vec<_> = open[..4].iter().map(owner).collect();
    let (system, user) = (SYSTEM_IDENTITY_PRINCIPAL, USER_IDENTITY_PRINCIPAL);
    assert_eq!(owners, [system, user, system, user]);
    drop(open);
    assert_eq!(at(&emulator, 1, TOKEN).status(), 200);
    // A world without `throttled` has no limit.
    let patient = emulator_with(|_| {});
    let open: Vec<_> = (0..30).map(|_| at(&patient, 0, TOKEN)).collect();
    assert!(open.iter().all(|answer| answer.status() == 200));
}

#[test]
fn a_reset_forgets_the_calls_and_the_tokens() {
    let emulator = throttled();
    let open: Vec<_> = (0..5).map(|_| at(&emulator, 0, TOKEN)).collect();
    (0..20).for_each(|_| drop(at(&emulator, 0, TOKEN)));
    assert_eq!(at(&emulator, 0, TOKEN).status(), 429);
    emulator.reset();
    let after = at(&emulator, 0, TOKEN);
    assert_eq!(after.status(), 200);
    assert_ne!(token(&after), token(&open[0]));
}

#[test]
fn a_token_is_given_again_until_its_end_is_near() {
    let emulator = emulator();
    let first = at(&emulator, 0, TOKEN);
    let near = 86_400 - 300;
    let again = at(&emulator, near - 1, TOKEN);
    assert_eq!(token(&first), token(&again));
    let body = json_of(&again);
    assert_eq!((&body["expires_on"], &body["expires_in"]), (&json_of(&first)["expires_on"], &json!("300")));
    let other = |path: &str| token(&at(&emulator, 1, path));
    let graph = TOKEN.replace("vault.azure.net", "graph.microsoft.com");
    assert_ne!(other(&graph), token(&first), "another resource");
    assert_ne!(other(&format!("{TOKEN}&client_id={USER_IDENTITY}")), token(&first), "another identity");
    let newer = TOKEN.replace("2018-02-01", "2021-12-13");
    assert_eq!(other(&newer), token(&first), "another version");
    let next = at(&emulator, near, TOKEN);
    assert_ne!(token(&first), token(&next));
    assert_eq!(json_of(&next)["expires_in"], "86399");
}

#[test]
fn a_fault_that_spoils_a_token_spoils_no_other_and_does_not_stay() {
    use crate::{Condition, Fault, FaultResult};

    let emulator = emulator();
    let right = token(&at(&emulator, 0, TOKEN));
    emulator.add_fault(Fault::once(Condition::any(), FaultResult::EmptyToken));
    assert_eq!(token(&at(&emulator, 1, TOKEN)), "");
    assert_eq!(token(&at(&emulator, 1, TOKEN)), right);
}
