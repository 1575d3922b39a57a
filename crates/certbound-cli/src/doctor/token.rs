//! The token for the resource: type, scope, binding and lifetime.

use certbound::clock::Clock as _;
use certbound_core::time::in_words;

use super::exchange::Exchange;
use super::{BEFORE_LEG1, Context, Line, leg1};
use crate::failure::Failure;
use crate::output::Token;
use crate::plan::Kind;

/// The lines in the order in which the client checks a token, with their titles.
const LINES: [(&str, &str); 4] = [
    ("token.type", "token type"),
    ("token.scope", "scope"),
    ("token.binding", "binding"),
    ("token.lifetime", "lifetime"),
];

/// Returns the line of an error of Leg 2, if the error is about the token of the answer.
pub(super) fn of(failure: &Failure) -> Option<&'static str> {
    Some(match failure.code.as_str() {
        "token_type_mismatch" => "token.type",
        "scope_mismatch" => "token.scope",
        "bound_to_another"
        | "confirmation_missing"
        | "confirmation_invalid"
        | "token_not_bound"
        | "token_unreadable"
        | "binding_not_observed" => "token.binding",
        "token_over" => "token.lifetime",
        _ => return None,
    })
}

pub(super) fn check(context: &mut Context, exchange: Option<&Exchange>) {
    let lines_before = leg1::LINES.map(|(id, _)| id);
    let needed = [BEFORE_LEG1, &lines_before, &["leg2.answer"]].concat();
    if let Some(reason) = context.obstacle(&needed) {
        return LINES.iter().for_each(|(id, title)| context.report.add(Line::skipped(id, *title, &reason)));
    }
    let Some(exchange) = exchange else { return };
    let mut needed = None;
    for (id, title) in LINES {
        let line = match (needed, &exchange.result) {
            (Some(needed), _) => Line::needs(id, title, needed),
            (None, Err(failure)) if of(failure) == Some(id) => {
                needed = Some("Token");
                Line { summary: "the token cannot be used".to_owned(), ..Line::failed(id, title, failure) }
            }
            // The client made this check before the check that failed.
            (None, Err(_)) => Line::ok(id, title, "as requested"),
            (None, Ok(token)) => judged(id, title, context, token),
        };
        context.report.add(line);
    }
}

fn judged(id: &'static str, title: &'static str, context: &Context, token: &Token) -> Line {
    let details = token.details();
    match id {
        "token.type" => Line::ok(id, title, details.token_type.clone()),
        "token.scope" => {
            let says = if details.scopes_granted { "" } else { ", as requested (the answer names no scope)" };
            Line::ok(id, title, format!("{}{says}", details.scopes.join(" ")))
        }
        "token.binding" if context.kind == Kind::Bearer => {
            Line::skipped(id, title, "a Bearer token was requested")
        }
        "token.binding" => match (&context.certificate, details.binding_observed) {
            (Some(certificate), true) => {
                let thumbprint = certificate.thumbprint();
                Line::ok(id, title, format!("bound to the certificate of Leg 1, {thumbprint}"))
            }
            _ => Line::warning(
                id,
                title,
                "not observed: the token cannot be read, but the answer says that the token is bound",
                "if this must be checked, configure the resource so that its tokens are signed JWTs, and give --require-observed-binding",
            ),
        },
        _ => {
            let end = token.expires_at();
            let left = in_words(end.since(context.clock.now()));
            Line::ok(id, title, format!("expires at {end}, in {left}"))
        }
    }
}
