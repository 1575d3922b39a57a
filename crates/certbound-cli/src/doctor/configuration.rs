//! Checks that the flags, the variables and the configuration file describe a complete flow.

use super::{Asked, Context, Line};
use crate::failure::Failure;
use crate::plan::{self, Kind};
use crate::usage::Usage;

const ID: &str = "configuration";

pub(super) fn check(context: &mut Context) {
    let line = match planned(context) {
        Ok(summary) => Line::ok(ID, "", summary),
        Err(failure) => Line::failed(ID, "", &failure),
    };
    context.report.add(line);
}

/// Interprets the flags as `exchange` does, without reading a file.
fn planned(context: &mut Context) -> Result<String, Failure> {
    let (client, leg1) = (&context.asked.flow.client, &context.asked.flow.leg1);
    let Asked { scope, resource, .. } = &context.asked;
    let scope = plan::scope_or_usual(&client.identity, scope.as_deref(), resource.as_ref())?;
    plan::refuse_machine_as_leg2(client)?;
    if leg1.leg1_certificate.is_some() && client.certificate.certificate.is_some() {
        return Err(Usage::Conflict { one: "--leg1-certificate", other: "--certificate" }.into());
    }
    let authority = plan::authority(&client.identity)?;
    plan::check_leg1(client, leg1)?;
    client.identity.client_id()?;
    plan::check_application(&client.identity)?;
    if let Some(tenant) = &leg1.leg1_tenant {
        plan::check_value("leg1-tenant", tenant, false)?;
    }
    let by = match (&leg1.leg1_managed_identity, &leg1.assertion_file) {
        (Some(identity), _) => {
            plan::check_value("leg1-managed-identity", identity, false)?;
            "Leg 1 by a managed identity"
        }
        (None, Some(_)) => "an existing assertion",
        (None, None) => "both legs by one certificate",
    };
    // A managed identity without a certificate uses no mutual TLS. Only the platform can show whether the identity has
    // a certificate.
    if leg1.leg1_managed_identity.is_none() {
        authority.check_mutual_tls()?;
        authority.check_tenant()?;
    }
    let kind = match context.kind {
        Kind::Bound => "a bound token",
        Kind::Bearer => "a Bearer token",
    };
    let summary = format!("{by}; {kind} for {}", scope.as_str());
    (context.authority, context.scope) = (Some(authority), Some(scope));
    Ok(summary)
}
