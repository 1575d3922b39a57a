//! Tests of the checklist itself: each fault makes exactly the lines about it fail. A checklist that cannot fail proves
//! nothing.

use std::collections::BTreeSet;
use std::path::Path;

use certbound_cli::demo::{self, How, Report, Tamper};
use certbound_emulator::{Condition, Fault, FaultResult, LegKind, PlatformEndpoint, TokenForm};

/// The names of all lines. Scripts rely on them.
const ALL: &[&str] = &[
    "leg1.exchange-scope",
    "leg1.bound-token-requested",
    "leg1.assertion-not-empty",
    "leg1.real-region",
    "leg1.certificate-only",
    "leg2.assertion-provider",
    "leg2.provider-returns-bound-assertion",
    "leg2.binding-certificate",
    "leg2.bound-token-requested",
    "leg2.no-certificate-credential",
    "leg2.no-experimental-switch",
    "jwt-pop.client-assertion",
    "jwt-pop.client-assertion-type",
    "jwt-pop.mtls-endpoint",
    "jwt-pop.provider-invoked",
    "jwt-pop.token-endpoint-provided",
    "token.type-mtls-pop",
    "token.resource-scope",
    "token.calls-resource",
    "token.binding-maintained",
    "token.cached",
    "call.graph",
    "call.custom-api",
    "bearer.jwt-pop",
    "bearer.calls-resource",
    "cross-tenant.exchange",
    "cross-application.exchange",
    "machine.leg1-certificate",
    "machine.leg2-bound",
    "machine.leg2-bearer",
    "machine.is-not-leg2",
    "refused.no-certificate",
    "refused.other-certificate",
    "refused.bearer-scheme",
    "refused.host-that-does-not-ask",
    "refused.exchange-with-other-certificate",
    "refused.exchange-as-jwt-bearer",
    "docs.two-leg",
    "docs.legs",
    "docs.assertion",
    "docs.jwt-pop",
    "docs.direct-apart",
];

/// The lines on Leg 2's request of the main flow. Without an assertion the request is not sent.
const LEG_2_REQUEST: &[&str] = &[
    "leg2.assertion-provider",
    "leg2.provider-returns-bound-assertion",
    "leg2.binding-certificate",
    "leg2.bound-token-requested",
    "leg2.no-certificate-credential",
    "jwt-pop.client-assertion",
    "jwt-pop.client-assertion-type",
    "jwt-pop.mtls-endpoint",
    "jwt-pop.provider-invoked",
    "jwt-pop.token-endpoint-provided",
];

/// The lines that need the token of the main flow.
const TOKEN: &[&str] = &[
    "token.type-mtls-pop",
    "token.resource-scope",
    "token.calls-resource",
    "token.binding-maintained",
    "token.cached",
    "refused.no-certificate",
    "refused.other-certificate",
    "refused.bearer-scheme",
];

/// The lines that need a bound token other than that of the main flow.
const OTHER_BOUND_TOKENS: &[&str] = &[
    "call.graph",
    "call.custom-api",
    "cross-tenant.exchange",
    "cross-application.exchange",
    "refused.host-that-does-not-ask",
];

const BEARER: &[&str] = &["bearer.jwt-pop", "bearer.calls-resource"];
/// The lines with a managed identity as Leg 1.
const MACHINE: &[&str] = &["machine.leg1-certificate", "machine.leg2-bound", "machine.leg2-bearer"];
const MACHINES_LEG_2: &[&str] = &["machine.leg2-bound", "machine.leg2-bearer"];
/// The lines that run Leg 1 and write Leg 2 by hand.
const BY_HAND: &[&str] = &["refused.exchange-with-other-certificate", "refused.exchange-as-jwt-bearer"];

struct Case {
    name: &'static str,
    fault: Fault,
    must_fail: &'static [&'static [&'static str]],
}

fn cases() -> Vec<Case> {
    let (leg1, leg2) = (|| Condition::leg(LegKind::Leg1), || Condition::leg(LegKind::Leg2));
    let resource = || Condition::leg(LegKind::Resource);
    let issue = || Condition::endpoint(PlatformEndpoint::IssueCredential);
    let redirect = || FaultResult::Redirect307 { location: "https://login.microsoftonline.com/".to_owned() };
    let status =
        |status| FaultResult::Status { status, body: "{}".to_owned(), retry_after: None, headers: [].into() };
    let case = |name, fault, must_fail| Case { name, fault, must_fail };

    const NOTHING_AFTER_LEG_1: &[&[&str]] = &[&["leg1.assertion-not-empty"], LEG_2_REQUEST, TOKEN];
    const NO_LEG_1_AT_ALL: &[&[&str]] =
        &[&["leg1.assertion-not-empty"], LEG_2_REQUEST, TOKEN, OTHER_BOUND_TOKENS, BEARER, BY_HAND, MACHINE];
    vec![
        case(
            "Leg 1 downgraded once",
            Fault::once(leg1(), FaultResult::BearerForMtlsPop),
            NOTHING_AFTER_LEG_1,
        ),
        case(
            "Leg 1 always downgraded",
            Fault::always(leg1(), FaultResult::BearerForMtlsPop),
            NO_LEG_1_AT_ALL,
        ),
        case("Leg 1 bound to another", Fault::once(leg1(), FaultResult::ForeignCnf), NOTHING_AFTER_LEG_1),
        case(
            "Leg 1 always bound to another",
            Fault::always(leg1(), FaultResult::ForeignCnf),
            NO_LEG_1_AT_ALL,
        ),
        case("Leg 1 not bound", Fault::once(leg1(), FaultResult::NoCnf), NOTHING_AFTER_LEG_1),
        case("Leg 1 for another scope", Fault::once(leg1(), FaultResult::WrongScope), NOTHING_AFTER_LEG_1),
        case("Leg 1 empty", Fault::once(leg1(), FaultResult::EmptyToken), NOTHING_AFTER_LEG_1),
        case("Leg 1 redirected", Fault::once(leg1(), redirect()), NOTHING_AFTER_LEG_1),
        case("Leg 2 downgraded once", Fault::once(leg2(), FaultResult::BearerForMtlsPop), &[TOKEN]),
        case(
            // A Leg 2 that requests a Bearer token gets a correct answer, so only bound tokens fail.
            "Leg 2 always downgraded",
            Fault::always(leg2(), FaultResult::BearerForMtlsPop),
            &[TOKEN, OTHER_BOUND_TOKENS, &["machine.leg2-bound"]],
        ),
        case("Leg 2 bound to another", Fault::once(leg2(), FaultResult::ForeignCnf), &[TOKEN]),
        case(
            "Leg 2 always bound to another",
            Fault::always(leg2(), FaultResult::ForeignCnf),
            &[TOKEN, OTHER_BOUND_TOKENS, BEARER, MACHINES_LEG_2],
        ),
        case("Leg 2 not bound", Fault::once(leg2(), FaultResult::NoCnf), &[TOKEN]),
        case(
            // A client cannot read an opaque token, so the client accepts the token, and the resource refuses it.
            "Leg 2 opaque",
            Fault::once(leg2(), FaultResult::TokenForm(TokenForm::Opaque)),
            &[&[
                "token.calls-resource",
                "token.binding-maintained",
                "refused.no-certificate",
                "refused.other-certificate",
                "refused.bearer-scheme",
            ]],
        ),
        case("Leg 2 for another scope", Fault::once(leg2(), FaultResult::WrongScope), &[TOKEN]),
        case("Leg 2 empty", Fault::once(leg2(), FaultResult::EmptyToken), &[TOKEN]),
        case("Leg 2 redirected", Fault::once(leg2(), redirect()), &[TOKEN]),
        case("Leg 2 reset", Fault::once(leg2(), FaultResult::ConnectionReset), &[TOKEN]),
        case("Leg 2 truncated", Fault::once(leg2(), FaultResult::TruncatedBody), &[TOKEN]),
        case("Leg 2 throttled", Fault::once(leg2(), status(429)), &[TOKEN]),
        case("the resource fails once", Fault::once(resource(), status(500)), &[&["token.calls-resource"]]),
        case(
            "a resource that takes anything",
            Fault::always(resource(), status(200)),
            &[&["refused.no-certificate", "refused.other-certificate", "refused.bearer-scheme"]],
        ),
        case(
            "a machine's certificate for another key",
            Fault::always(issue(), FaultResult::ForeignKeyCertificate),
            &[MACHINE],
        ),
        case(
            "a machine's certificate that is over",
            Fault::always(issue(), FaultResult::ExpiredCertificate),
            &[MACHINE],
        ),
        case(
            "a machine's certificate for another identity, once",
            Fault::once(issue(), FaultResult::ForeignIdentityCertificate),
            &[MACHINE],
        ),
        case(
            "a metadata service that is none",
            Fault::always(Condition::endpoint(PlatformEndpoint::PlatformMetadata), FaultResult::WrongServer),
            &[MACHINE],
        ),
        case("late answers", Fault::once(Condition::any(), FaultResult::Delay { milliseconds: 50 }), &[]),
    ]
}

#[tokio::test]
async fn without_a_fault_every_line_holds_and_is_known() {
    let report = demo::run(program(), &[]).await;
    assert_eq!(failing(&report), BTreeSet::new(), "{report:#?}");
    let ids: Vec<&str> = report.checks.iter().map(|check| check.id).collect();
    assert_eq!(ids, ALL);
    assert_eq!((report.passed, report.failed), (ALL.len(), 0));
    assert!(report.checks.iter().all(|check| !check.detail.is_empty() && !check.text.is_empty()));
    let texts = report.checks.iter().filter(|check| check.how == How::Text).map(|check| check.id);
    assert!(texts.eq(ALL.iter().copied().filter(|id| id.starts_with("docs."))));
}

#[tokio::test]
async fn each_fault_makes_exactly_its_lines_fail() {
    for Case { name, fault, must_fail } in cases() {
        let report = demo::run(program(), &[fault]).await;
        let expected: BTreeSet<&str> = must_fail.iter().copied().flatten().copied().collect();
        assert_eq!(failing(&report), expected, "{name}: {report:#?}");
        assert_eq!(report.checks.len(), ALL.len(), "{name}: a line was left out");
    }
}

#[tokio::test]
async fn each_spoiled_request_makes_exactly_its_lines_fail() {
    let cases: [(Tamper, &[&[&str]]); 5] = [
        (
            // The service does not bind a token to a jwt-bearer assertion. It still issues the Bearer token.
            Tamper::JwtBearer,
            &[
                &["jwt-pop.client-assertion-type", "bearer.jwt-pop"],
                TOKEN,
                OTHER_BOUND_TOKENS,
                MACHINES_LEG_2,
            ],
        ),
        (
            Tamper::NoCertificate,
            &[
                &["leg1.assertion-not-empty", "leg1.certificate-only"],
                LEG_2_REQUEST,
                TOKEN,
                OTHER_BOUND_TOKENS,
                BEARER,
                BY_HAND,
                MACHINE,
            ],
        ),
        (
            Tamper::GlobalHost,
            &[&["leg1.real-region", "jwt-pop.mtls-endpoint", "jwt-pop.token-endpoint-provided"]],
        ),
        (
            Tamper::NotBoundInLeg2,
            &[&["leg2.bound-token-requested", "machine.leg2-bound"], TOKEN, OTHER_BOUND_TOKENS],
        ),
        (Tamper::MachineInLeg1, &[&["machine.is-not-leg2"]]),
    ];
    for (tamper, must_fail) in cases {
        let report = demo::run_tampered(program(), &[], tamper).await;
        let expected: BTreeSet<&str> = must_fail.iter().copied().flatten().copied().collect();
        assert_eq!(failing(&report), expected, "{tamper:?}: {report:#?}");
    }
}

/// A line that failed because of an earlier failure reports that failure.
#[tokio::test]
async fn a_failed_leg_1_is_the_reason_of_what_could_not_follow() {
    let fault = Fault::always(Condition::leg(LegKind::Leg1), FaultResult::BearerForMtlsPop);
    let report = demo::run(program(), &[fault]).await;
    for check in report.checks.iter().filter(|check| !check.ok) {
        assert!(check.detail.contains("token_type_mismatch"), "{}: {}", check.id, check.detail);
    }
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_certbound"))
}

fn failing(report: &Report) -> BTreeSet<&str> {
    report.checks.iter().filter(|check| !check.ok).map(|check| check.id).collect()
}
