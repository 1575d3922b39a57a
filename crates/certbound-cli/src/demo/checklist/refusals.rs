//! The lines on requests that must be refused, each for its own reason.

use super::super::How;
use super::super::evidence::{Called, Evidence, Scene};
use super::{Line, Seen, certificate, presented, want};

pub(super) const LINES: &[Line] = &[
    Line {
        id: "refused.no-certificate",
        leg: None,
        how: How::Wire,
        text: "The bound token is refused on a connection without a certificate",
        look: |it| {
            let seen = refused(&it.without_certificate, "mtls_pop", "MissingClientCertificate")?;
            let entry = it.without_certificate.request("/secrets/")?;
            want(entry.client_certificate.is_none(), seen)
        },
    },
    Line {
        id: "refused.other-certificate",
        leg: None,
        how: How::Wire,
        text: "The bound token is refused with another certificate",
        look: |it| {
            let seen =
                refused(&it.other_certificate, "mtls_pop", "not the one the MTLS_POP token is bound to")?;
            let other = it.other_certificate.request("/secrets/")?.client_certificate.clone();
            want(other.is_some_and(|other| !same_as_c(it, &other)), seen)
        },
    },
    Line {
        id: "refused.bearer-scheme",
        leg: None,
        how: How::Wire,
        text: "The bound token is refused under the scheme Bearer, with the right certificate",
        look: |it| {
            let seen = refused(&it.wrong_scheme, "Bearer", "S2S17001")?;
            presented(it.wrong_scheme.request("/secrets/")?, it).map(|_| seen)
        },
    },
    Line {
        id: "refused.host-that-does-not-ask",
        leg: None,
        how: How::Wire,
        text: "The bound token is not sent to a host that does not ask for the certificate",
        look: |it| {
            let code = it.never_asking_host.seen()?;
            let requests = it.never_asking_host.journal.len();
            want(
                code == "certificate_not_requested" && requests == 0,
                format!("{code}; {requests} requests reached graph.microsoft.com"),
            )
        },
    },
    Line {
        id: "refused.exchange-with-other-certificate",
        leg: Some(2),
        how: How::Wire,
        text: "Leg 2 over a connection with another certificate is refused (AADSTS500181)",
        look: |it| {
            let seen = exchange_refused(&it.leg2_other_certificate, 500_181)?;
            let other = it.leg2_other_certificate.token_request()?.client_certificate.clone();
            want(other.is_some_and(|other| !same_as_c(it, &other)), seen)
        },
    },
    Line {
        id: "refused.exchange-as-jwt-bearer",
        leg: Some(2),
        how: How::Wire,
        text: "A bound token for an assertion sent as jwt-bearer is refused (AADSTS392199)",
        look: |it| exchange_refused(&it.leg2_jwt_bearer, 392_199),
    },
];

/// Checks that the vault received exactly this token and refused it with the words for this reason.
fn refused(scene: &Scene<Called>, scheme: &str, marker: &str) -> Seen {
    let called = scene.seen()?;
    let entry = scene.request("/secrets/")?;
    let sent = entry.authorization_scheme.as_deref() == Some(scheme)
        && entry.authorization_token.as_deref() == Some(called.token.as_str());
    want(sent, "another token, or another scheme, was sent")?;
    want(
        called.status == 401 && called.body.contains(marker),
        format!("{} {}", called.status, short(&called.body)),
    )
}

fn exchange_refused(scene: &Scene<Called>, number: u32) -> Seen {
    let called = scene.seen()?;
    let entry = scene.token_request()?;
    want(
        entry.aadsts == Some(number) && (400..500).contains(&called.status),
        format!("{} AADSTS{}", called.status, entry.aadsts.unwrap_or_default()),
    )
}

fn same_as_c(evidence: &Evidence, found: &str) -> bool {
    certificate(evidence).is_ok_and(|expected| expected.matches_claim(found))
}

fn short(text: &str) -> String {
    text.chars().take(160).collect()
}
