use std::time::Duration;

use super::*;
use crate::{Condition, Fault, FaultEffect, FaultResult, LegKind};

#[test]
fn a_fault_of_leg_2_leaves_leg_1_alone_and_happens_once() {
    let emulator = emulator();
    emulator.add_fault(Fault::once(Condition::leg(LegKind::Leg2), FaultResult::BearerForMtlsPop));
    let leg_2 = Ask::leg2(&emulator);
    let body = json_of(&leg_2.send(&emulator));
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(json_of(&leg_2.send(&emulator))["token_type"], "mtls_pop");
    let faults: Vec<_> = emulator.journal().iter().map(|entry| entry.fault).collect();
    assert_eq!(faults, [None, Some("bearer_for_mtls_pop"), None]);
}

#[test]
fn each_altered_token_is_wrong_in_the_way_it_says() {
    let emulator = emulator();
    let spoiled = |result: FaultResult| {
        emulator.add_fault(Fault::once(Condition::any(), result));
        json_of(&Ask::leg1(&emulator).send(&emulator))
    };
    let right = claims(&Ask::leg1(&emulator).token(&emulator));

    let foreign = spoiled(FaultResult::ForeignCnf);
    let found = claims(foreign["access_token"].as_str().unwrap());
    assert!(found.confirmation().unwrap().is_some());
    assert_ne!(found.confirmation(), right.confirmation());
    assert_eq!(foreign["token_type"], "mtls_pop");

    let none = spoiled(FaultResult::NoCnf);
    assert_eq!(claims(none["access_token"].as_str().unwrap()).confirmation(), Ok(None));
    assert_eq!(none["token_type"], "mtls_pop");

    assert_eq!(spoiled(FaultResult::WrongScope)["scope"], "https://wrong.example/.default");
    assert_eq!(spoiled(FaultResult::EmptyToken)["access_token"], "");
}

#[test]
fn what_only_a_transport_can_do_is_left_to_it() {
    let emulator = emulator();
    let effect = |result: FaultResult| {
        emulator.add_fault(Fault::once(Condition::any(), result));
        let response = Ask::leg1(&emulator).send(&emulator);
        (response.extensions().get::<FaultEffect>().copied(), response)
    };
    assert_eq!(effect(FaultResult::ConnectionReset).0, Some(FaultEffect::Reset));
    let (delay, response) = effect(FaultResult::Delay { milliseconds: 20 });
    assert_eq!((delay, code(&response)), (Some(FaultEffect::Delay(Duration::from_millis(20))), 0));
    let (truncated, response) = effect(FaultResult::TruncatedBody);
    assert_eq!(truncated, Some(FaultEffect::TruncateBody(response.body().len() / 2)));
    let (none, response) =
        effect(FaultResult::Redirect307 { location: "https://elsewhere.example/".to_owned() });
    assert_eq!((none, response.status().as_u16()), (None, 307));
    assert_eq!(response.headers()["location"], "https://elsewhere.example/");
    let busy =
        FaultResult::Status { status: 429, body: "Too Many Requests".to_owned(), retry_after: Some(60) };
    let (_, response) = effect(busy);
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"60".parse().unwrap())
    );
}
