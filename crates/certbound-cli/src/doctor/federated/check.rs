//! The line about the federated credential of the application.

use certbound::Cloud;
use certbound_core::jwt::Claims;

use super::super::exchange::Exchange;
use super::super::report::Line;
use super::super::{BEFORE_LEG1, Context, leg1};
use super::file::Registered;
use super::{EXCHANGE_GUID, Expected, graph};
use crate::failure::Failure;
use crate::output::Token;

const ID: &str = "federated_credential";

/// The words for the place from which the credentials were read.
struct Source {
    /// The place, in a sentence.
    name: &'static str,
    /// The reason why the token service can accept an assertion without a matching credential in this place.
    contradiction: &'static str,
    /// The advice for this case.
    fix: &'static str,
    /// The identity that asked for the credentials.
    by: Option<&'static str>,
}

const FILE: Source = Source {
    name: "the file",
    contradiction: "the token service accepted the assertion, so the file is not complete",
    fix: "give all federated credentials of the application as they are registered now",
    by: None,
};

const GRAPH: Source = Source {
    name: "Microsoft Graph",
    contradiction: "the token service accepted the assertion, so the credentials were changed a short time ago",
    fix: "run doctor again after some minutes, because a change takes effect later",
    by: None,
};

/// Adds the line before the lines of Leg 2, because it is about the assertion of Leg 1.
pub(in crate::doctor) async fn check(context: &mut Context, exchange: Option<&Exchange>) {
    let line = line(context, exchange).await;
    context.report.add_before("leg2.provider", line);
}

async fn line(context: &Context, exchange: Option<&Exchange>) -> Line {
    let given = context.assertions.recorded().given;
    let (Some(given), Some(exchange)) = (given, exchange) else {
        let lines_of_leg1 = leg1::LINES.map(|(id, _)| id);
        let needed = [BEFORE_LEG1, &lines_of_leg1].concat();
        let reason = context.obstacle(&needed).unwrap_or_else(|| leg1::NOT_RUN.to_owned());
        return Line::skipped(ID, "", reason);
    };
    let cloud = context.authority.as_ref().map_or(Cloud::Public, certbound::Authority::cloud);
    let Some(expected) = given.claims.as_deref().map(|claims| expected(claims, cloud)) else {
        return Line::skipped(ID, "", "the assertion is not a readable JWT");
    };
    if let Some(registered) = &context.asked.registered {
        return compared(&expected, registered, cloud, &exchange.result, &FILE);
    }
    match graph::ask(context, exchange).await {
        Ok(shown) => {
            let source = Source { by: Some(shown.by), ..GRAPH };
            compared(&expected, &shown.registered, cloud, &exchange.result, &source)
        }
        Err(reason) => {
            let says = format!(
                "not compared: {reason}. To compare, give --federated-credential FILE. A credential that accepts this assertion has:"
            );
            Line::skipped(ID, "", says)
                .with(format!("issuer: {}", expected.issuer))
                .with(format!("subject: {}", expected.subject))
                .with(format!("audience: {}", expected.audience))
        }
    }
}

fn compared(
    expected: &Expected,
    registered: &[Registered],
    cloud: Cloud,
    result: &Result<Token, Failure>,
    source: &Source,
) -> Line {
    let line = judged(expected, registered, cloud, result, source);
    match source.by {
        Some(by) => line.with(format!("read from {} by {by}", source.name)),
        None => line,
    }
}

fn judged(
    expected: &Expected,
    registered: &[Registered],
    cloud: Cloud,
    result: &Result<Token, Failure>,
    source: &Source,
) -> Line {
    let Some(comparison) = expected.compare(registered, cloud) else {
        let fix = "add a federated credential to the application of Leg 2 with the issuer, the subject and the audience of the assertion";
        let summary = format!("{} has no federated credential of the application", source.name);
        if result.is_ok() {
            return Line::warning(ID, "", summary, source.fix).because(source.contradiction);
        }
        return Line::wrong(ID, "", summary, fix)
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
    let summary = format!("the credential{name} and the assertion have a different {}", differ.join(", "));
    let similar = match registered.len() {
        1 => String::new(),
        count => format!("; of the {count} credentials in {}, this one is the most similar", source.name),
    };
    let line = match result {
        Ok(_) => {
            Line::warning(ID, "", summary, source.fix).because(format!("{}{similar}", source.contradiction))
        }
        Err(failure) => {
            let number =
                failure.details.aadsts.map(|number| format!(" (AADSTS{number})")).unwrap_or_default();
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
