//! The lines on Leg 1.

use super::super::How;
use super::{Line, at_regional_host, parameter, presented};

pub(super) const LINES: &[Line] = &[
    Line {
        id: "leg1.exchange-scope",
        leg: Some(1),
        how: How::Wire,
        text: "Targets the scope api://AzureADTokenExchange/.default",
        look: |it| parameter(it.leg1.token_request()?, "scope", "api://AzureADTokenExchange/.default"),
    },
    Line {
        id: "leg1.bound-token-requested",
        leg: Some(1),
        how: How::Wire,
        text: "Asks for a bound token (mTLS proof of possession)",
        look: |it| parameter(it.leg1.token_request()?, "token_type", "mtls_pop"),
    },
    Line {
        id: "leg1.assertion-not-empty",
        leg: Some(1),
        how: How::Wire,
        text: "Returns a non-empty assertion",
        look: |it| {
            let assertion = it.leg1.seen()?;
            let bound = assertion.confirmation.is_some();
            super::want(
                assertion.length > 0 && bound,
                format!("{} bytes, with a cnf: {bound}", assertion.length),
            )
        },
    },
    Line {
        id: "leg1.real-region",
        leg: Some(1),
        how: How::Wire,
        text: "A real Azure region is used (westus3)",
        look: |it| at_regional_host(&it.leg1),
    },
    Line {
        id: "leg1.certificate-only",
        leg: Some(1),
        how: How::Wire,
        text: "The certificate alone proves the client, by subject name and issuer (SN/I)",
        look: |it| {
            let entry = it.leg1.token_request()?;
            let others = ["client_assertion", "client_assertion_type", "client_secret", "req_cnf"];
            match others.into_iter().find(|name| entry.parameter(name).is_some()) {
                Some(name) => Err(format!("the request has {name}")),
                None => presented(entry, it).map(|seen| format!("{seen}; the body has no credential")),
            }
        },
    },
];
