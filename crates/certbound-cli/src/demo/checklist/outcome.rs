//! The lines on the token, the calls, and the variations of the exchange.

use certbound_emulator::world::builtin::{OTHER_TENANT, TARGET_APP, TENANT};

use super::super::How;
use super::super::evidence::{Called, Evidence, Scene, TokenSeen};
use super::{Line, Seen, certificate, parameter, presented, want};

pub(super) const LINES: &[Line] = &[
    Line {
        id: "token.type-mtls-pop",
        leg: Some(2),
        how: How::Wire,
        text: "The token type is mtls_pop",
        look: |it| {
            it.leg2.seen().and_then(|token| want(token.token_type == "mtls_pop", token.token_type.clone()))
        },
    },
    Line {
        id: "token.resource-scope",
        leg: Some(2),
        how: How::Wire,
        text: "The answer names the resource's scope",
        look: |it| {
            let token = it.leg2.seen()?;
            let named = token.scopes_granted
                && token.scopes.iter().any(|scope| scope == "https://vault.azure.net/.default");
            want(named, format!("granted: {}", token.scopes.join(" ")))
        },
    },
    Line {
        id: "token.calls-resource",
        leg: None,
        how: How::Wire,
        text: "The token calls the target resource (a vault)",
        look: |it| called_bound(it, &it.vault),
    },
    Line {
        id: "token.binding-maintained",
        leg: None,
        how: How::Wire,
        text: "One certificate through the whole flow: Leg 1, assertion, Leg 2, token, resource",
        look: |it| {
            let expected = certificate(it)?;
            let claims =
                |cnf: &Option<String>| cnf.as_deref().is_some_and(|found| expected.matches_claim(found));
            let (assertion, token) = (it.leg1.seen()?, it.leg2.seen()?);
            for (at, entry) in [
                ("Leg 1", it.leg1.token_request()?),
                ("Leg 2", it.leg2.token_request()?),
                ("the resource", it.vault.request("/secrets/")?),
            ] {
                presented(entry, it).map_err(|seen| format!("{at}: {seen}"))?;
            }
            want(claims(&assertion.confirmation), "the assertion's cnf is another")?;
            want(claims(&token.confirmation), "the token's cnf is another, or there is none")?;
            want(token.binding == Some(expected), format!("x5t#S256 {expected} on all five"))
        },
    },
    Line {
        id: "token.cached",
        leg: Some(2),
        how: How::Wire,
        text: "A second acquisition comes from the cache, with its certificate, and sends nothing",
        look: |it| {
            let (first, second) = (it.leg2.seen()?, it.cached.seen()?);
            let same = second.digest == first.digest && second.binding == first.binding && second.from_cache;
            want(
                same && it.cached.journal.is_empty(),
                format!("{} requests were sent", it.cached.journal.len()),
            )
        },
    },
    Line {
        id: "call.graph",
        leg: None,
        how: How::Wire,
        text: "A bound token calls Graph at its mTLS host",
        look: |it| called_bound(it, &it.graph),
    },
    Line {
        id: "call.custom-api",
        leg: None,
        how: How::Wire,
        text: "A bound token calls an API of one's own",
        look: |it| called_bound(it, &it.custom),
    },
    Line {
        id: "bearer.jwt-pop",
        leg: Some(2),
        how: How::Wire,
        text: "A Bearer Leg 2 is jwt-pop over the same certificate too, and brings a plain Bearer token",
        look: |it| {
            let (token, entry) = (it.bearer.seen()?, it.bearer.token_request()?);
            presented(entry, it)?;
            want(entry.parameter("token_type").is_none(), "the request asks for a bound token")?;
            want(token.confirmation.is_none() && token.binding.is_none(), "the token is bound")?;
            want(token.token_type.eq_ignore_ascii_case("Bearer"), token.token_type.clone())?;
            parameter(entry, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-pop")
        },
    },
    Line {
        id: "bearer.calls-resource",
        leg: None,
        how: How::Wire,
        text: "The Bearer token calls Graph's ordinary host without a certificate",
        look: |it| {
            let (called, entry) = (it.bearer_call.seen()?, it.bearer_call.request("/v1.0/")?);
            let plain =
                entry.client_certificate.is_none() && entry.authorization_scheme.as_deref() == Some("Bearer");
            want(called.status == 200 && plain, format!("{} answered {}", entry.host, called.status))
        },
    },
    Line {
        id: "cross-tenant.exchange",
        leg: Some(2),
        how: How::Wire,
        text: "A multi-tenant application: Leg 1 in one tenant, Leg 2 in another",
        look: |it| {
            let (tenants, token) = (tenants_of(&it.cross_tenant), it.cross_tenant.seen()?);
            want(
                tenants == [TENANT, OTHER_TENANT] && token.tenant == OTHER_TENANT && bound_to_c(it, token),
                format!("asked {}", tenants.join(", then ")),
            )
        },
    },
    Line {
        id: "cross-application.exchange",
        leg: Some(2),
        how: How::Wire,
        text: "Another application is reached by Leg 1 of the first",
        look: |it| {
            let (token, entry) = (it.cross_application.seen()?, it.cross_application.token_request()?);
            want(bound_to_c(it, token), "the token is not bound to the certificate")?;
            parameter(entry, "client_id", TARGET_APP)
        },
    },
];

fn called_bound(evidence: &Evidence, scene: &Scene<Called>) -> Seen {
    let called = scene.seen()?;
    let entry = scene.journal.last().ok_or("no request reached the resource")?;
    presented(entry, evidence)?;
    let scheme = entry.authorization_scheme.as_deref().unwrap_or("nothing");
    let same = entry.authorization_token.as_deref() == Some(called.token.as_str());
    let ours = called.presented == Some(certificate(evidence)?);
    want(
        called.status == 200 && scheme == "mtls_pop" && same && ours,
        format!("{} answered {} to {scheme}", entry.host, called.status),
    )
}

fn bound_to_c(evidence: &Evidence, token: &TokenSeen) -> bool {
    evidence.certificate.is_some_and(|expected| {
        token.binding == Some(expected)
            && token.confirmation.as_deref().is_some_and(|found| expected.matches_claim(found))
    })
}

/// Returns the tenants of the token requests, in order.
fn tenants_of<T>(scene: &Scene<T>) -> Vec<&str> {
    scene.journal.iter().filter_map(|entry| entry.path.split('/').nth(1)).collect()
}
