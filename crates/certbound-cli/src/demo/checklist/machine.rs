//! The lines on a managed identity as Leg 1.

use super::super::How;
use super::super::evidence::{Evidence, Refusal, Scene, TokenSeen};
use super::{Line, Seen, parameter, want};
use certbound_core::credential::JWT_POP;

pub(super) const LINES: &[Line] = &[
    Line {
        id: "machine.leg1-certificate",
        leg: Some(1),
        how: How::Wire,
        text: "Leg 1 by managed identity: the machine is issued a certificate, which alone proves it",
        look: |it| {
            let scene = &it.machine_leg1;
            let bound_to = scene.seen()?.confirmation.clone();
            scene.request("getplatformmetadata")?;
            scene.request("issuecredential")?;
            let entry = scene.token_request()?;
            parameter(entry, "scope", "api://AzureADTokenExchange/.default")?;
            parameter(entry, "token_type", "mtls_pop")?;
            let presented = entry.client_certificate.clone();
            let alone = entry.parameter("client_assertion").is_none();
            want(
                alone && bound_to.is_some() && bound_to == presented,
                format!("{} saw the certificate {}", entry.host, presented.unwrap_or_default()),
            )
        },
    },
    Line {
        id: "machine.leg2-bound",
        leg: Some(2),
        how: How::Wire,
        text: "Its assertion is exchanged for a token bound to the machine's certificate",
        look: |it| exchanged(it, &it.machine_bound, "mtls_pop"),
    },
    Line {
        id: "machine.leg2-bearer",
        leg: Some(2),
        how: How::Wire,
        text: "Its assertion is exchanged for a Bearer token, as jwt-pop too",
        look: |it| exchanged(it, &it.machine_bearer, "Bearer"),
    },
    Line {
        id: "machine.is-not-leg2",
        leg: Some(2),
        how: How::Wire,
        text: "A managed identity cannot be Leg 2",
        look: |it| {
            let refusals = it.machine_as_leg2.seen()?;
            let right = |it: &Refusal| it.exit == Some(2) && it.code == "managed_identity_cannot_be_leg2";
            let told = refusals.iter().map(|it| {
                let exit = it.exit.map_or_else(|| "no exit code".to_owned(), |exit| format!("exit {exit}"));
                format!("`{}`: {exit}, {}", it.command, it.code)
            });
            let told = told.collect::<Vec<_>>().join("; ");
            let silent = it.machine_as_leg2.journal.is_empty();
            want(silent && !refusals.is_empty() && refusals.iter().all(right), told)
        },
    },
];

/// Checks that Leg 2 presented the assertion's certificate, used `jwt-pop`, and got the requested kind of token.
fn exchanged(evidence: &Evidence, scene: &Scene<TokenSeen>, kind: &str) -> Seen {
    let token = scene.seen()?;
    let entry = scene.token_request()?;
    parameter(entry, "client_assertion_type", JWT_POP)?;
    let machines = evidence.machine_leg1.seen()?.confirmation.clone();
    let machines = machines.ok_or("the machine's assertion is bound to nothing")?;
    let bound_to = (kind == "mtls_pop").then_some(&machines);
    let right = entry.client_certificate.as_ref() == Some(&machines)
        && token.token_type.eq_ignore_ascii_case(kind)
        && token.confirmation.as_ref() == bound_to;
    want(right, format!("{} by {}", token.token_type, entry.client_certificate.clone().unwrap_or_default()))
}
