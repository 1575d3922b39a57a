//! Leg 2: the call of Leg 1, the request of the exchange, and its answer.

use certbound::observe::{ObservedRequest, ObservedValue};

use super::exchange::{Exchange, host_of};
use super::{BEFORE_LEG1, Context, Line, leg1, token};

/// The lines with their titles.
const LINES: [(&str, &str); 6] = [
    ("leg2.provider", "assertion provider"),
    ("leg2.assertion", "client_assertion"),
    ("leg2.assertion_type", "client_assertion_type"),
    ("leg2.host", "mTLS host"),
    ("leg2.certificate", "client certificate"),
    ("leg2.answer", "answer"),
];

/// The fix for facts that the library guarantees.
const REPORT: &str = "report this as a bug of certbound";

pub(super) fn check(context: &mut Context, exchange: Option<&Exchange>) {
    let request = exchange.and_then(Exchange::request_of_leg2);
    let (Some(exchange), Some(request)) = (exchange, request) else {
        let lines_of_leg1 = leg1::LINES.map(|(id, _)| id);
        let needed = [BEFORE_LEG1, &lines_of_leg1].concat();
        let reason = context.obstacle(&needed).unwrap_or_else(|| leg1::NOT_RUN.to_owned());
        return without_request(context, exchange, &reason);
    };
    for (id, title) in LINES {
        let line = match id {
            "leg2.provider" => provider(context),
            "leg2.answer" => answer(exchange, request),
            _ => of_request(id, title, context, exchange, request),
        };
        context.report.add(line);
    }
}

/// Adds the lines if no request of Leg 2 was sent. Leg 2 can fail before its request, for example at discovery.
fn without_request(context: &mut Context, exchange: Option<&Exchange>, reason: &str) {
    let failure = exchange.filter(|it| leg1::failure(it).is_none()).and_then(|it| it.result.as_ref().err());
    for (id, title) in LINES {
        context.report.add(match failure {
            Some(failure) if id == "leg2.answer" => Line::failed(id, title, failure),
            Some(_) => Line::skipped(id, title, "no request of Leg 2 was sent"),
            None => Line::skipped(id, title, reason),
        });
    }
}

fn provider(context: &Context) -> Line {
    let (id, title) = LINES[0];
    let asked_for = context.assertions.recorded().asked_for;
    match asked_for.as_slice() {
        [endpoint] => {
            Line::ok(id, title, format!("called once, for the token endpoint of {}", host_of(endpoint)))
        }
        calls => {
            let summary = format!("called {} times for one exchange", calls.len());
            Line::warning(id, title, summary, "see the requests with --trace")
        }
    }
}

fn of_request(
    id: &'static str,
    title: &'static str,
    context: &Context,
    exchange: &Exchange,
    request: &ObservedRequest,
) -> Line {
    let checks = exchange.jwt_pop.checks();
    let holds = |name: &str| checks.iter().any(|check| check.id == name && check.ok);
    let parameter = |name: &str| request.parameter(name).map(ToString::to_string).unwrap_or_default();
    let line = |ok: bool, summary: String| match ok {
        true => Line::ok(id, title, summary),
        false => Line::wrong(id, title, summary, REPORT),
    };
    match id {
        "leg2.assertion" => {
            let says = match request.parameter("client_assertion") {
                Some(ObservedValue::Redacted(length)) => format!("{length} bytes, not shown"),
                Some(ObservedValue::Plain(_)) => "present".to_owned(),
                None => "missing".to_owned(),
            };
            // The report on `jwt-pop` does not contain a request without a certificate.
            let is_there = holds("client_assertion") || context.is_unbound && says != "missing";
            line(is_there, says)
        }
        "leg2.assertion_type" if context.is_unbound => {
            Line::ok(id, title, parameter("client_assertion_type"))
        }
        "leg2.assertion_type" => line(holds("jwt_pop"), parameter("client_assertion_type")),
        _ if context.is_unbound => Line::skipped(id, title, "without a certificate Leg 2 uses no mutual TLS"),
        "leg2.host" => {
            let is_entra = context.authority.as_ref().is_some_and(is_entra);
            line(holds("mtls_endpoint") || !is_entra, host_of(&request.url).to_owned())
        }
        _ => {
            let expected = context.certificate.as_ref().map(certbound::BindingCertificate::thumbprint);
            match request.presents {
                Some(presented) if Some(presented) == expected => {
                    Line::ok(id, title, "TLS presents the certificate of Leg 1")
                }
                Some(presented) => line(false, format!("TLS presents another certificate: {presented}")),
                None => line(false, "TLS presents no certificate".to_owned()),
            }
        }
    }
}

/// Only Entra has special hosts for mutual TLS.
fn is_entra(authority: &certbound::Authority) -> bool {
    authority.kind() == certbound::authority::AuthorityKind::Entra
}

fn answer(exchange: &Exchange, request: &ObservedRequest) -> Line {
    let (id, title) = LINES[5];
    match &exchange.result {
        Err(failure) if token::of(failure).is_none() => Line::failed(id, title, failure),
        _ => Line::ok(id, title, format!("a token of {}", host_of(&request.token_endpoint))),
    }
}
