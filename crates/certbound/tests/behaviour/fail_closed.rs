//! An answer that does not match the request is an error, and nothing of it is cached.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound::cache::Source;
use certbound::error::{AssertionError, Leg, MalformedAnswer, PeerMisbehaved, TransportError};
use certbound::managed_identity::IdentityId;
use certbound::{Authority, Client, Error, ResourceScope, TokenCache};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, LegKind, TokenForm};
use certbound_testkit::{AnsweringTransport, NeverTransport, Pair, ScriptedTransport};

use crate::two_leg::vault;

async fn with_fault(leg: LegKind, result: FaultResult) -> Error {
    let pair = Pair::new();
    pair.emulator().add_fault(Fault::once(Condition::leg(leg), result.clone()));
    let cache = TokenCache::new();
    let leg2 =
        pair.builder(builtin::APP).with_cache(cache.clone()).with_assertions(pair.leg1()).build().unwrap();
    let error = leg2.bound_token(&vault()).await.unwrap_err();
    assert!(cache.is_empty(), "{result:?} left something in the cache");
    // The fault applies once. The next call succeeds, because the failure was not cached. The service may ask to wait.
    pair.clock().advance(error.retry_after().unwrap_or_default());
    leg2.bound_token(&vault()).await.unwrap();
    let expected = if leg == LegKind::Leg1 { Leg::One } else { Leg::Two };
    assert_eq!(error.leg(), Some(expected), "{error}");
    error
}

fn peer(error: &Error) -> &PeerMisbehaved {
    match error {
        Error::PeerMisbehaved { what, .. } => what,
        other => panic!("{other:?}"),
    }
}

/// Acceptance check 6, in both legs.
#[tokio::test]
async fn a_bearer_answer_is_a_downgrade() {
    for leg in [LegKind::Leg1, LegKind::Leg2] {
        let error = with_fault(leg, FaultResult::BearerForMtlsPop).await;
        assert_eq!(error.code(), "token_type_mismatch");
        assert!(
            matches!(peer(&error), PeerMisbehaved::TokenTypeDowngraded { asked: "mtls_pop", .. }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_token_bound_to_another_certificate_is_refused() {
    for leg in [LegKind::Leg1, LegKind::Leg2] {
        let error = with_fault(leg, FaultResult::ForeignCnf).await;
        assert!(matches!(peer(&error), PeerMisbehaved::BoundToAnother { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_jwt_without_cnf_is_not_bound_whatever_the_answer_says() {
    let error = with_fault(LegKind::Leg1, FaultResult::NoCnf).await;
    assert!(matches!(peer(&error), PeerMisbehaved::AssertionNotBound), "{error:?}");
    let error = with_fault(LegKind::Leg2, FaultResult::NoCnf).await;
    assert_eq!((peer(&error), error.code()), (&PeerMisbehaved::ConfirmationMissing, "confirmation_missing"));
    assert!(!error.is_transient() && !error.fix().is_empty());
}

#[tokio::test]
async fn a_jwt_that_can_be_read_in_two_ways_is_refused() {
    for form in [TokenForm::CnfTwice, TokenForm::PaddedPayload, TokenForm::FourthPart] {
        for leg in [LegKind::Leg1, LegKind::Leg2] {
            let error = with_fault(leg, FaultResult::TokenForm(form)).await;
            assert!(matches!(peer(&error), PeerMisbehaved::TokenUnreadable(_)), "{form:?} {error:?}");
            assert_eq!(error.code(), "token_unreadable");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_no_assertion_and_is_refused_where_the_binding_must_be_seen() {
    for form in [TokenForm::Opaque, TokenForm::Encrypted] {
        let error = with_fault(LegKind::Leg1, FaultResult::TokenForm(form)).await;
        assert_eq!(*peer(&error), PeerMisbehaved::BadAssertion(AssertionError::Unreadable));

        let pair = Pair::new();
        let fault = || {
            let fault = Fault::once(Condition::leg(LegKind::Leg2), FaultResult::TokenForm(form));
            pair.emulator().add_fault(fault);
        };
        let cache = TokenCache::new();
        let builder = || pair.builder(builtin::APP).with_cache(cache.clone());
        let any = builder().with_assertions(pair.leg1()).build().unwrap();
        let seen = builder().require_observed_binding().with_assertions(pair.leg1()).build().unwrap();
        fault();
        assert!(!any.bound_token(&vault()).await.unwrap().details().binding_observed, "{form:?}");
        // The cached token is not returned to a client that requires an observed binding.
        fault();
        let error = seen.bound_token(&vault()).await.unwrap_err();
        assert_eq!(
            (peer(&error), error.code()),
            (&PeerMisbehaved::BindingNotObserved, "binding_not_observed")
        );
        assert_eq!((cache.len(), error.leg()), (1, Some(Leg::Two)));
        assert!(seen.bound_token(&vault()).await.unwrap().details().binding_observed);
        assert!(seen.resource(&vault()).token().await.unwrap().details().binding_observed);
        assert_eq!(any.bound_token(&vault()).await.unwrap().details().source, Source::Cache);
    }
}

#[tokio::test]
async fn a_machines_tokens_are_looked_at_alike() {
    let pair = Pair::new();
    let machine = || pair.managed_identity(IdentityId::System);
    let (any, seen) = (machine().build().unwrap(), machine().require_observed_binding().build().unwrap());
    for (result, code) in [
        (FaultResult::NoCnf, Some("confirmation_missing")),
        (FaultResult::ForeignCnf, Some("bound_to_another")),
        (FaultResult::TokenForm(TokenForm::CnfTwice), Some("token_unreadable")),
        (FaultResult::TokenForm(TokenForm::Opaque), None),
    ] {
        let fault = |leg| pair.emulator().add_fault(Fault::once(Condition::leg(leg), result.clone()));
        fault(LegKind::Direct);
        let token = any.bound_token(&vault()).force_refresh().await;
        assert_eq!(token.as_ref().err().map(Error::code), code, "{result:?}");
        fault(LegKind::Direct);
        let error = seen.bound_token(&vault()).force_refresh().await.unwrap_err();
        assert_eq!(error.code(), code.unwrap_or("binding_not_observed"), "{result:?}");
        fault(LegKind::Leg1);
        assert!(any.assertion().await.is_err(), "{result:?}");
    }
}

#[tokio::test]
async fn scope_emptiness_and_redirects_are_looked_at() {
    let error = with_fault(LegKind::Leg2, FaultResult::WrongScope).await;
    assert!(matches!(peer(&error), PeerMisbehaved::ScopeMismatch { .. }), "{error:?}");

    let error = with_fault(LegKind::Leg2, FaultResult::EmptyToken).await;
    assert_eq!(*peer(&error), PeerMisbehaved::Malformed(MalformedAnswer::EmptyToken));

    let location = "https://evil.example/token".to_owned();
    let error = with_fault(LegKind::Leg2, FaultResult::Redirect307 { location }).await;
    let redirect = MalformedAnswer::Redirect { status: 307, to: "evil.example".to_owned() };
    assert_eq!(*peer(&error), PeerMisbehaved::Malformed(redirect));
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_broken_connection_is_transient_and_a_refusal_by_status_is_kept() {
    for result in [FaultResult::ConnectionReset, FaultResult::TruncatedBody] {
        let error = with_fault(LegKind::Leg2, result).await;
        assert!(
            matches!(error, Error::Transport { cause: TransportError::Interrupted { .. }, .. }),
            "{error:?}"
        );
        assert!(error.is_transient());
    }
    let busy = FaultResult::Status {
        status: 429,
        body: "Too Many Requests".into(),
        retry_after: Some(60),
        headers: [].into(),
    };
    let error = with_fault(LegKind::Leg2, busy).await;
    let Error::Refused { answer, .. } = &error else { panic!("{error:?}") };
    assert_eq!(
        (answer.code.as_str(), answer.retry_after),
        ("request_throttled", Some(Duration::from_secs(60)))
    );
    assert!(error.is_transient());
}

#[tokio::test]
async fn answers_that_break_the_protocol_each_have_a_code() {
    let cases: [(&str, &str); 7] = [
        ("not json", "json_parse_failed"),
        (r#"{"token_type":"mtls_pop","access_token":"a","expires_in":3599"#, "json_parse_failed"),
        (r#"{"access_token":"a","expires_in":3599}"#, "token_type_missing"),
        (r#"{"token_type":"mtls_pop","expires_in":3599}"#, "answer_missing_field"),
        (
            r#"{"token_type":"mtls_pop","access_token":"a","access_token":"b","expires_in":1}"#,
            "answer_duplicate_field",
        ),
        (r#"{"token_type":"mtls_pop","access_token":[],"expires_in":3599}"#, "answer_wrong_type"),
        (r#"{"token_type":"mtls_pop","access_token":"a","expires_in":0}"#, "token_over"),
    ];
    let pair = Pair::new();
    for (body, code) in cases {
        let client = certbound::Client::builder(pair.authority(), builtin::APP)
            .with_transport(ScriptedTransport::default().then(200, body))
            .with_clock(pair.clock().clone())
            .with_certificate(pair.certificate())
            .build()
            .unwrap();
        let error = client.bound_token(&vault()).await.unwrap_err();
        assert_eq!(error.code(), code, "{body}");
        assert!(!error.fix().is_empty());
    }
}

#[tokio::test]
async fn an_opaque_token_is_taken_and_says_that_its_binding_was_not_seen() {
    let pair = Pair::new();
    let body = r#"{"token_type":"MTLS_POP","access_token":"opaque","expires_in":"3599"}"#;
    let client = certbound::Client::builder(pair.authority(), builtin::APP)
        .with_transport(ScriptedTransport::default().then(200, body))
        .with_clock(pair.clock().clone())
        .with_certificate(pair.certificate())
        .build()
        .unwrap();
    let token = client.bound_token(&vault()).await.unwrap();
    assert!(!token.details().binding_observed);
    assert!(!token.details().scopes_granted);
    assert!(token.scopes().eq([vault().as_str()]));
}

#[tokio::test]
async fn a_certificate_out_of_its_dates_sends_nothing() {
    let pair = Pair::new();
    let client = certbound::Client::builder(pair.authority(), builtin::APP)
        .with_transport(NeverTransport)
        .with_clock(pair.clock().clone())
        .with_certificate(pair.certificate())
        .build()
        .unwrap();
    pair.clock().set(pair.certificate().chain().not_after());
    let error = client.bound_token(&vault()).await.unwrap_err();
    assert_eq!(error.code(), "certificate_not_valid_now");
    assert_eq!(client.assertion().await.unwrap_err().code(), "certificate_not_valid_now");
    pair.clock().set(pair.certificate().chain().not_before().minus(Duration::from_secs(1)));
    assert_eq!(client.bound_token(&vault()).await.unwrap_err().code(), "certificate_not_valid_now");
}

/// If the type of an answer does not state that the token is bound, the claims of the token must state the binding,
/// without duplicate members.
#[tokio::test]
async fn a_bearer_token_of_an_issuer_is_bound_only_by_claims_that_say_one_thing() {
    let pair = Pair::new();
    let certificate = pair.certificate();
    let thumbprint = certificate.thumbprint().x5t_s256();
    let cnf = format!(r#""cnf":{{"x5t#S256":"{thumbprint}"}}"#);
    let nested = format!("{}{}", "[".repeat(40), "]".repeat(40));
    for (claims, code) in [
        (format!(r#"{{"sub":"a",{cnf}}}"#), None),
        (r#"{"sub":"a"}"#.to_owned(), Some("token_not_bound")),
        (format!(r#"{{"sub":"a","sub":"b",{cnf}}}"#), Some("token_not_bound")),
        (format!(r#"{{"deep":{nested},{cnf}}}"#), Some("token_not_bound")),
    ] {
        let jwt = format!("eyJhbGciOiJSUzI1NiJ9.{}.AA", URL_SAFE_NO_PAD.encode(&claims));
        let transport = AnsweringTransport::new(move |seen| match seen.method.as_str() {
            "GET" => (
                200,
                r#"{"issuer":"https://idp.example","token_endpoint":"https://idp.example/t",
                    "mtls_endpoint_aliases":{"token_endpoint":"https://mtls.idp.example/t"},
                    "tls_client_certificate_bound_access_tokens":true}"#
                    .to_owned(),
            ),
            _ => (200, format!(r#"{{"token_type":"Bearer","access_token":"{jwt}","expires_in":3600}}"#)),
        });
        let builder = Client::builder(Authority::oidc("https://idp.example").unwrap(), "app")
            .with_clock(pair.clock().clone());
        let client = builder.with_transport(transport).with_certificate(certificate.clone()).build().unwrap();
        let scope = ResourceScope::of_other_authority("read").unwrap();
        let token = client.bound_token(&scope).await;
        assert_eq!(token.as_ref().err().map(Error::code), code, "{claims}");
    }
}
