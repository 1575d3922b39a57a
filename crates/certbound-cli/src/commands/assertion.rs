//! `assertion`: Leg 1 alone.

use std::sync::Arc;

use certbound::BoundAssertion;
use serde::Serialize;

use super::dry_run::DryRun;
use super::token::tell_ending_key;
use crate::failure::Failure;
use crate::flags::{AssertionFlags, Format};
use crate::observers::{Observers, Trace};
use crate::output::{self, CertificateResult, Terminal, assignments, filled, json, rfc3339};
use crate::plan::{self, NeverTransport, Reach, stopped};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AssertionResult<'a> {
    assertion: &'a str,
    token_type: String,
    expires_on: String,
    #[serde(rename = "expires_on")]
    expires_on_seconds: u64,
    endpoint: String,
    binding_certificate: CertificateResult,
}

pub(super) async fn run(flags: AssertionFlags, terminal: Terminal) -> Result<(), Failure> {
    terminal.format_of(&[Format::Json, Format::Table, Format::Env, Format::Raw, Format::Shell])?;
    if let Some(identity) = &flags.client.machine.managed_identity {
        if flags.client.run.dry_run {
            let mut dry = DryRun::default();
            let reach = Reach::fresh(NeverTransport).told_to(dry.witness());
            let (identity, _) = plan::machine_assertion(&flags.client, identity, &reach)?;
            dry.stops_there();
            stopped(identity.assertion().await)?;
            return dry.print(terminal);
        }
        let network = plan::network(&flags.client.run)?;
        let reach = Reach::fresh(network.transport()).told_to(Trace::of_platform(flags.client.run.trace));
        let (identity, source) = plan::machine_assertion(&flags.client, identity, &reach)?;
        let observer = Observers::default().and_if(flags.client.run.trace, Trace);
        let assertion = identity.assertion().observe(Arc::new(observer)).await?;
        tell_ending_key(&flags.client);
        return print(&assertion, &source, flags.reveal, terminal);
    }
    if flags.client.run.dry_run {
        let dry = DryRun::default();
        let reach = Reach::fresh(NeverTransport).told_to(dry.witness());
        let client = plan::by_certificate(&flags.client, &reach)?.client;
        stopped(client.assertion().observe(dry.observer()).await)?;
        return dry.print(terminal);
    }
    let network = plan::network(&flags.client.run)?;
    let reach = Reach::fresh(network.transport()).told_to(Trace::of_platform(flags.client.run.trace));
    let plan = plan::by_certificate(&flags.client, &reach)?;
    let observer = Observers::default().and_if(flags.client.run.trace, Trace);
    let assertion = plan.client.assertion().observe(Arc::new(observer)).await?;
    if let Some(report) = assertion.report() {
        output::tell_region(report.region.as_ref(), &report.region_outcome, terminal);
    }
    print(&assertion, &plan.source, flags.reveal, terminal)
}

fn print(assertion: &BoundAssertion, source: &str, reveal: bool, terminal: Terminal) -> Result<(), Failure> {
    let secret = assertion.secret();
    let report = assertion.report();
    let result = AssertionResult {
        assertion: secret.expose(),
        token_type: report.map(|report| report.token_type.clone()).unwrap_or_default(),
        expires_on: rfc3339(assertion.expires_at()),
        expires_on_seconds: assertion.expires_at().as_secs(),
        endpoint: report.map(|report| report.endpoint.clone()).unwrap_or_default(),
        binding_certificate: CertificateResult::new(assertion.binding(), source),
    };
    match terminal.format() {
        Format::Json => output::print(&json(&result, secret.len())?),
        Format::Raw => output::print(&filled(secret.len(), "", secret.expose(), "\n")),
        format @ (Format::Env | Format::Shell) => {
            output::print(&assignments(format, &[("CERTBOUND_ASSERTION", secret.expose())]))
        }
        _ => {
            let AssertionResult { token_type, expires_on, endpoint, .. } = &result;
            let bound_to = format!("{} ({source})", assertion.binding().thumbprint());
            let text = [
                output::row("token type", token_type),
                output::row("expires", expires_on),
                output::row("endpoint", endpoint),
                output::row("bound to", &bound_to),
            ]
            .concat();
            let text = output::fitted(&text);
            if reveal {
                return output::print(&filled(
                    secret.len(),
                    &format!("{text}assertion    "),
                    secret.expose(),
                    "\n",
                ));
            }
            output::print(
                format!("{text}assertion    {} bytes, shown with --reveal\n", secret.len()).as_bytes(),
            )
        }
    }
}
