//! `verify`: prints the decision of a resource on a token, with its steps, or serves decisions to a proxy.

mod policy;
mod serve;

use certbound_verifier::{
    Authorization, Clock as _, Explanation, Outcome, PeerCertificate, Refusal, Scheme, SystemClock,
};
use serde_json::json;

use super::inspect;
use crate::failure::{Failure, NETWORK, REFUSED, one};
use crate::flags::{Format, SchemeFlag, VerifyFlags};
use crate::output::{self, Terminal, mark, rfc3339};

pub(super) async fn run(flags: &VerifyFlags, terminal: Terminal) -> Result<(), Failure> {
    if let Some(listen) = &flags.serve {
        return serve::serve(flags, listen).await;
    }
    let (mut builder, fixed) = policy::builder(flags)?;
    if fixed.is_none() {
        builder = builder.with_fetch(serve::fetch()?);
    }
    let verifier = builder.build()?;
    let format = terminal.format_of(&[Format::Json, Format::Table])?;
    let token = inspect::token(flags.token.as_deref())?;
    let peer = match &flags.certificate {
        Some(path) => inspect::certificate(path)?,
        None => PeerCertificate::none(),
    };
    let scheme = match flags.scheme {
        SchemeFlag::MtlsPop => Scheme::MtlsPop,
        SchemeFlag::Bearer => Scheme::Bearer,
    };
    let authorization = Authorization::new(scheme, token.expose());
    let keys = match fixed {
        Some(keys) => std::sync::Arc::new(keys),
        None => verifier.keys_of(&authorization).await.map_err(|refusal| failure(&refusal))?,
    };
    let explanation = verifier.explain(&keys, &authorization, &peer, SystemClock.now());
    match format {
        Format::Json => output::print(&output::json(&as_json(&explanation), 0)?)?,
        _ => output::print_text(&as_table(&explanation))?,
    }
    explanation.decision.map(drop).map_err(|refusal| failure(&refusal))
}

fn failure(refusal: &Refusal) -> Failure {
    let (exit, what) = match refusal {
        Refusal::KeysUnavailable { .. } => (NETWORK, "the token could not be verified"),
        _ => (REFUSED, "a resource would refuse this token"),
    };
    let fix = match refusal {
        Refusal::NoCertificate => "give the caller's certificate with --certificate",
        _ => refusal.fix(),
    };
    let mut failure = Failure::new(exit, refusal.code(), what, refusal, fix);
    if let Refusal::KeysUnavailable { host, is_transient, .. } = refusal {
        failure.details.host.clone_from(host);
        failure.details.transient = *is_transient;
    }
    failure
}

fn as_json(explanation: &Explanation) -> serde_json::Value {
    let steps = explanation.steps.iter().map(|(step, outcome)| {
        let (outcome, text) = words(outcome);
        json!({ "id": step.id(), "outcome": outcome, "text": text })
    });
    let steps: Vec<_> = steps.collect();
    match &explanation.decision {
        Ok(verified) => json!({
            "accepted": true,
            "steps": steps,
            "clientId": verified.client_id(),
            "tenantId": verified.tenant_id(),
            "roles": verified.roles().collect::<Vec<_>>(),
            "scopes": verified.scopes().collect::<Vec<_>>(),
            "expiresOn": rfc3339(verified.expires_at()),
            "x5tS256": verified.thumbprint().map(|thumbprint| thumbprint.x5t_s256()),
        }),
        Err(refusal) => json!({
            "accepted": false,
            "steps": steps,
            "refusal": {
                "code": refusal.code(),
                "status": refusal.status(),
                "error": refusal.error(),
                "description": refusal.description(),
            },
        }),
    }
}

fn as_table(explanation: &Explanation) -> String {
    let mut text = String::new();
    for (step, outcome) in &explanation.steps {
        let (sign, said) = match outcome {
            Outcome::Passed(seen) => (mark(true), seen.clone()),
            Outcome::NotReached => ("-", "not reached".to_owned()),
            other => (mark(false), words(other).1),
        };
        text.push_str(&format!("{sign} {:<18}{}\n", step.id(), one(&said)));
    }
    text.push_str(match &explanation.decision {
        Ok(_) => "accepted\n",
        Err(_) => "refused\n",
    });
    text
}

fn words(outcome: &Outcome) -> (&'static str, String) {
    match outcome {
        Outcome::Passed(seen) => ("passed", seen.clone()),
        Outcome::Refused(refusal) => ("refused", refusal.to_string()),
        _ => ("not_reached", String::new()),
    }
}
