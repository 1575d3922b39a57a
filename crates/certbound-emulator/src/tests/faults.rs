use std::time::Duration;

use super::*;
use certbound_core::received::Received;

use crate::world::builtin::VAULT_HOST;
use crate::{Condition, Fault, FaultEffect, FaultResult, LegKind, TokenForm};

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
fn a_leg_is_told_by_its_resource_whatever_scopes_stand_beside_it() {
    let emulator = emulator();
    for (leg, scope) in [
        (LegKind::Direct, "https://vault.azure.net/.default openid offline_access profile"),
        (LegKind::Leg1, "openid api://AzureADTokenExchange/.default"),
    ] {
        emulator.add_fault(Fault::once(Condition::leg(leg), FaultResult::EmptyToken));
        let body = json_of(&Ask { scope, ..Ask::leg1(&emulator) }.send(&emulator));
        assert_eq!(body["access_token"], "", "{scope}");
    }
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
fn a_token_comes_in_forms_that_no_strict_client_reads() {
    let emulator = emulator();
    let token = |form: TokenForm| {
        emulator.add_fault(Fault::once(Condition::any(), FaultResult::TokenForm(form)));
        let body = json_of(&Ask::leg1(&emulator).send(&emulator));
        assert_eq!(body["token_type"], "mtls_pop");
        body["access_token"].as_str().unwrap().to_owned()
    };
    assert!(matches!(Received::read(&token(TokenForm::Opaque)), Ok(Received::Opaque)));
    assert!(matches!(Received::read(&token(TokenForm::Encrypted)), Ok(Received::Encrypted)));
    for form in [TokenForm::CnfTwice, TokenForm::PaddedPayload, TokenForm::FourthPart] {
        assert!(Received::read(&token(form)).is_err(), "{form:?}");
    }
    assert!(matches!(Received::read(&Ask::leg1(&emulator).token(&emulator)), Ok(Received::Signed(_))));
}

#[test]
fn a_refusal_by_number_has_the_services_shape() {
    let emulator = emulator();
    let refuse = |text: &str| {
        emulator.add_fault(serde_json::from_str(text).unwrap());
        let response = Ask::leg1(&emulator).send(&emulator);
        (response.status().as_u16(), json_of(&response))
    };
    let (status, body) = refuse(r#"{"result":{"refusal":{"aadsts":700223}}}"#);
    assert_eq!((status, body["error"].as_str()), (401, Some("invalid_client")));
    assert_eq!(emulator.journal().last().unwrap().aadsts, Some(700_223));
    assert!(body["error_description"].as_str().unwrap().starts_with("AADSTS700223: A rule of this emulator"));
    assert_eq!((body.get("suberror"), body.get("claims")), (None, None));

    let claims = r#"{"access_token":{"acrs":{"essential":true}}}"#;
    let fault = serde_json::json!({ "result": { "refusal": {
        "aadsts": 53003, "error": "invalid_grant", "status": 403, "suberror": "message_only", "claims": claims,
    }}});
    let (status, body) = refuse(&fault.to_string());
    assert_eq!((status, body["error"].as_str()), (403, Some("invalid_grant")));
    assert_eq!((body["suberror"].as_str(), body["claims"].as_str()), (Some("message_only"), Some(claims)));
    assert_eq!(Ask::leg1(&emulator).code(&emulator), 0, "once");
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
    let busy = FaultResult::Status {
        status: 429,
        body: "Too Many Requests".to_owned(),
        retry_after: Some(60),
        headers: [].into(),
    };
    let (_, response) = effect(busy);
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"60".parse().unwrap())
    );
}

#[test]
fn a_claims_challenge_is_for_calls_with_a_token_and_stands_under_bearer() {
    let emulator = emulator();
    let bound_token = Ask { scope: VAULT_SCOPE, ..Ask::leg1(&emulator) }.token(&emulator);
    let call = |token: Option<&str>| {
        let mut request = http::Request::get("/secrets/demo").header("host", VAULT_HOST);
        if let Some(token) = token {
            let value = format!("mtls_pop {token}");
            request = request.header("authorization", value).header("x-ms-tokenboundauth", "true");
        }
        let request = request.body(bytes::Bytes::new()).unwrap();
        emulator.handle(NOW, &with(VAULT_HOST, emulator.client_identity()), request)
    };
    emulator.add_fault(Fault::once(Condition::any(), FaultResult::ClaimsChallenge { claims: None }));
    // Neither a token request nor a call without a token uses the rule up.
    Ask::leg2(&emulator).token(&emulator);
    assert!(!call(None).headers()["www-authenticate"].to_str().unwrap().contains("claims"));
    let challenged = call(Some(&bound_token));
    assert_eq!(challenged.status(), 401);
    let challenge = challenged.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("Bearer realm=\"\", authorization_uri=\"https://login."), "{challenge}");
    assert!(challenge.contains("error=\"insufficient_claims\", claims=\""), "{challenge}");
    assert_eq!(call(Some(&bound_token)).status(), 200, "once");
    let faults: Vec<_> = emulator.journal().iter().filter_map(|entry| entry.fault).collect();
    assert_eq!(faults, ["claims_challenge"]);
}
