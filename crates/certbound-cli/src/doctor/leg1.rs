//! Leg 1: its answer, and the type, scope, binding and lifetime of the assertion.

use std::time::Duration;

use certbound::clock::Clock as _;
use certbound::error::Leg;
use certbound_core::time::in_words;

use super::exchange::{Exchange, Given, host_of};
use super::{BEFORE_LEG1, Context, Line};
use crate::failure::Failure;

/// The lines in the order in which the client checks an answer, with their titles.
pub(super) const LINES: [(&str, &str); 5] = [
    ("leg1.answer", "answer"),
    ("leg1.token_type", "token type"),
    ("leg1.scope", "scope"),
    ("leg1.binding", "binding"),
    ("leg1.lifetime", "lifetime"),
];

/// An assertion should not be exchanged if less than this is left of its lifetime.
const SHORT: Duration = Duration::from_secs(300);

/// Returns the line that an error of Leg 1 or of an existing assertion belongs to.
fn of(failure: &Failure) -> &'static str {
    match failure.code.as_str() {
        "token_type_mismatch" => "leg1.token_type",
        "scope_mismatch" | "assertion_wrong_audience" => "leg1.scope",
        "assertion_not_bound"
        | "bound_to_another"
        | "confirmation_missing"
        | "confirmation_invalid"
        | "token_not_bound"
        | "token_unreadable"
        | "binding_not_observed"
        | "binding_changed" => "leg1.binding",
        "assertion_not_jwt" if failure.details.leg.is_some() => "leg1.binding",
        "token_over" | "assertion_expired" | "assertion_spent" | "assertion_without_expiry" => {
            "leg1.lifetime"
        }
        _ => "leg1.answer",
    }
}

/// Returns the failure if Leg 1 or its assertion is at fault.
pub(super) fn failure(exchange: &Exchange) -> Option<&Failure> {
    let failure = exchange.result.as_ref().err()?;
    let of_assertion =
        matches!(failure.code.as_str(), "assertion_expired" | "assertion_spent" | "binding_changed");
    let of_leg2 = match exchange.is_unbound {
        true => exchange.request_of_leg2().is_some(),
        false => failure.details.leg == Some(2),
    };
    (!of_leg2 || of_assertion).then_some(failure)
}

/// The reason for skipped lines if no needed line has failed: Leg 2 looks up its authority before it runs Leg 1.
pub(super) const NOT_RUN: &str = "Leg 2 failed before it ran Leg 1";

pub(super) fn check(context: &mut Context, exchange: Option<&Exchange>) {
    let Some(exchange) = exchange else {
        let reason = context.obstacle(BEFORE_LEG1).unwrap_or_else(|| NOT_RUN.to_owned());
        return LINES.iter().for_each(|(id, title)| context.report.add(Line::skipped(id, *title, &reason)));
    };
    let failed = failure(exchange).map(|failure| (of(failure), failure));
    let given = context.assertions.recorded().given;
    if exchange.result.is_err() && failed.is_none() && given.is_none() {
        return LINES.iter().for_each(|(id, title)| context.report.add(Line::skipped(id, *title, NOT_RUN)));
    }
    let mut needed = None;
    for (id, title) in LINES {
        let line = match (needed, &failed) {
            (Some(needed), _) => Line::needs(id, title, needed),
            (None, Some((at, failure))) if *at == id => {
                needed = Some("Leg 1");
                let line = Line::failed(id, title, failure);
                match id {
                    "leg1.answer" => line,
                    // There is an answer, but the client refused its assertion.
                    _ => Line { summary: "the assertion cannot be used".to_owned(), ..line },
                }
            }
            (None, _) => judged(id, title, context, exchange, given.as_ref()),
        };
        context.report.add(line);
    }
}

/// Describes a fact that the client has checked.
fn judged(
    id: &'static str,
    title: &'static str,
    context: &Context,
    exchange: &Exchange,
    given: Option<&Given>,
) -> Line {
    let is_existing = context.asked.flow.leg1.assertion_file.is_some();
    let request = exchange.requests.iter().find(|request| request.leg == Some(Leg::One));
    let ok = |summary: &str| Line::ok(id, title, summary);
    match id {
        "leg1.answer" if is_existing => Line::skipped(id, title, "an existing assertion replaces Leg 1"),
        "leg1.answer" => match request {
            Some(request) => ok(&format!("an assertion of {}", host_of(&request.token_endpoint))),
            None => ok("an assertion of the platform"),
        },
        "leg1.token_type" if is_existing => Line::skipped(id, title, "an existing assertion replaces Leg 1"),
        "leg1.token_type" if context.is_unbound => ok("Bearer: this platform cannot bind tokens"),
        "leg1.token_type" => ok("mtls_pop"),
        "leg1.scope" if is_existing => match given.and_then(|given| given.claims.as_deref()) {
            Some(claims) => {
                ok(&format!("the audience of the assertion is {}", claims.audiences().join(", ")))
            }
            None => Line::skipped(id, title, "the assertion is not readable"),
        },
        "leg1.scope" => {
            let sent = request.and_then(|request| request.parameter("scope")).map(ToString::to_string);
            let of_cloud = || context.authority.as_ref()?.exchange_scope().ok();
            let scope = sent.or_else(|| of_cloud().map(|scope| scope.as_str().to_owned()));
            ok(&scope.unwrap_or_else(|| "the token exchange of the cloud".to_owned()))
        }
        "leg1.binding" if context.is_unbound => Line::skipped(id, title, "this platform cannot bind tokens"),
        "leg1.binding" => match context.certificate.as_ref() {
            Some(certificate) => {
                ok(&format!("the assertion is bound to the certificate {}", certificate.thumbprint()))
            }
            None => Line::skipped(id, title, "no certificate is used"),
        },
        _ => lifetime(id, title, context, given),
    }
}

fn lifetime(id: &'static str, title: &'static str, context: &Context, given: Option<&Given>) -> Line {
    let Some(end) = given.and_then(|given| given.expires_at) else {
        return Line::skipped(id, title, "the assertion is not readable");
    };
    let left = end.since(context.clock.now());
    let summary = format!("expires at {end}, in {}", in_words(left));
    match left < SHORT {
        true => Line::warning(id, title, summary, "get a new assertion for each exchange"),
        false => Line::ok(id, title, summary),
    }
}
