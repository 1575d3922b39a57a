//! Leg 1 by a managed identity.

use super::super::evidence::{Evidence, Scene, TokenSeen};
use super::super::{How, documents};
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
        how: How::Type,
        text: "A managed identity cannot be Leg 2",
        look: |_| documents::machine_is_not_leg2(),
    },
];

/// Leg 2 presented the certificate of the assertion, as `jwt-pop`, and got the kind asked for.
fn exchanged(evidence: &Evidence, scene: &Scene<TokenSeen>, kind: &str) -> Seen {
    let token = scene.seen()?;
    let entry = scene.token_request()?;
    parameter(entry, "client_assertion_type", JWT_POP)?;
    let machines = evidence.machine_leg1.seen()?.confirmation.clone();
    let right = entry.client_certificate == machines
        && token.token_type.eq_ignore_ascii_case(kind)
        && token.confirmation == machines.filter(|_| kind == "mtls_pop");
    want(right, format!("{} by {}", token.token_type, entry.client_certificate.clone().unwrap_or_default()))
}
