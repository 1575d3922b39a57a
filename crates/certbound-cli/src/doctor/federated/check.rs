//! The line about the federated credential of the application.

use certbound::Cloud;
use certbound_core::jwt::Claims;

use super::super::exchange::Exchange;
use super::super::report::Line;
use super::super::{BEFORE_LEG1, Context, leg1};
use super::{EXCHANGE_GUID, Expected};
use crate::failure::Failure;
use crate::output::Token;

const ID: &str = "federated_credential";

pub(in crate::doctor) fn check(context: &mut Context, exchange: Option<&Exchange>) {
    let line = line(context, exchange.map(|exchange| &exchange.result));
    context.report.add(line);
}

fn line(context: &Context, result: Option<&Result<Token, Failure>>) -> Line {
    let given = context.assertions.recorded().given;
    let Some(given) = given else {
        let lines_of_leg1 = leg1::LINES.map(|(id, _)| id);
        let needed = [BEFORE_LEG1, &lines_of_leg1].concat();
        let reason = context.obstacle(&needed).unwrap_or_else(|| leg1::NOT_RUN.to_owned());
        return Line::skipped(ID, "", reason);
    };
    let cloud = context.authority.as_ref().map_or(Cloud::Public, certbound::Authority::cloud);
    let Some(expected) = given.claims.as_deref().map(|claims| expected(claims, cloud)) else {
        return Line::skipped(ID, "", "the assertion is not a readable JWT");
    };
    let Some(registered) = &context.asked.registered else {
        return Line::skipped(
            ID,
            "",
            "not compared: give --federated-credential FILE. The credential must have:",
        )
        .with(format!("issuer: {}", expected.issuer))
        .with(format!("subject: {}", expected.subject))
        .with(format!("audience: {}", expected.audience));
    };
    let Some(comparison) = expected.compare(registered, cloud) else {
        let fix = "add a federated credential to the application of Leg 2 with the issuer, the subject and the audience of the assertion";
        return Line::wrong(ID, "", "the file has no federated credential", fix)
            .because("the token service needs a credential that matches the assertion");
    };
    let name = comparison.credential.name.as_deref().map(|name| format!(" `{name}`")).unwrap_or_default();
    if comparison.differences.is_empty() {
        let ok = Line::ok(
            ID,
            "",
            format!("the credential{name} has the issuer, subject and audience of the assertion"),
        );
        return match &comparison.credential.expression {
            Some(_) => {
                Line::ok(ID, "", format!("the credential{name} has the issuer and audience of the assertion"))
                    .with("its expression about the subject was not evaluated")
            }
            None => ok,
        };
    }
    let differ: Vec<&str> = comparison.differences.iter().map(|difference| difference.what).collect();
    let summary = format!("the credential{name} differs from the assertion in its {}", differ.join(", "));
    let similar = match registered.len() {
        1 => String::new(),
        count => format!("; of the {count} credentials in the file, this one is the most similar"),
    };
    let line = match result {
        // Credentials of the application that are not in the file can match.
        Some(Ok(_)) => {
            let fix = "give all federated credentials of the application as they are registered now";
            Line::warning(ID, "", summary, fix).because(format!(
                "the token service accepted the assertion, so the file is not complete{similar}"
            ))
        }
        other => {
            let refused = other.and_then(|result| result.as_ref().err()).and_then(|it| it.details.aadsts);
            let number = refused.map(|number| format!(" (AADSTS{number})")).unwrap_or_default();
            let why =
                format!("the token service compares the values character by character{number}{similar}");
            let fix = "write the value of the assertion into the federated credential; a change takes effect after some minutes";
            Line::wrong(ID, "", summary, fix).because(why)
        }
    };
    Line { differences: comparison.differences, ..line }
}

/// Returns the values that a credential must have to accept an assertion.
fn expected(claims: &Claims, cloud: Cloud) -> Expected {
    let text = |name: &str| claims.string(name).unwrap_or_default().to_owned();
    let audience = match claims.audiences().as_slice() {
        [EXCHANGE_GUID] => cloud.exchange_uri().unwrap_or(EXCHANGE_GUID).to_owned(),
        audiences => audiences.join(", "),
    };
    Expected { issuer: text("iss"), subject: text("sub"), audience }
}
