//! The registered federated credentials, as Microsoft Graph shows them to the identities of the flow.

use std::sync::Arc;

use bytes::Bytes;
use certbound::authority::AuthorityKind;
use certbound::{AnyClient, Cloud, ResourceScope, TokenSource as _};
use http::{Request, Response};

use super::super::Context;
use super::super::exchange::Exchange;
use super::file::{Registered, parse};
use crate::failure::Failure;
use crate::observers::{Observers, Trace};
use crate::output::Token;
use crate::plan::{self, Kind};

/// The credentials that Graph returned.
pub(super) struct Shown {
    pub(super) registered: Vec<Registered>,
    /// The identity that asked, in words.
    pub(super) by: &'static str,
}

/// Asks Graph for the credentials of the application of Leg 2. If both legs work, they request the token for Graph.
/// Otherwise the identity of Leg 1 requests it by the direct flow, because a wrong federated credential prevents Leg 2.
///
/// # Errors
/// The reason why the credentials are unknown, in words.
pub(super) async fn ask(context: &Context, exchange: &Exchange) -> Result<Shown, String> {
    if !context.asked.asks_graph {
        return Err("--no-graph prevents the request to Microsoft Graph".to_owned());
    }
    let authority = context.authority.as_ref().filter(|authority| authority.kind() == AuthorityKind::Entra);
    let cloud = authority.ok_or("this authority has no Microsoft Graph")?.cloud();
    let (client, by) = match (&exchange.result, &exchange.client) {
        (Ok(_), Some(client)) => (client.clone(), "both legs"),
        _ => (identity_of_leg1(context)?, "the identity of Leg 1"),
    };
    let answer = answer(context, &client, cloud).await.map_err(|failure| {
        format!("Microsoft Graph could not be asked by {by}: {} [{}]", failure.what, failure.code)
    })?;
    let status = answer.status();
    if status.as_u16() != 200 {
        return Err(format!(
            "Microsoft Graph does not show the federated credentials to {by}: status {status}"
        ));
    }
    let registered =
        parse(answer.body()).ok_or("the answer of Microsoft Graph is not a list of credentials")?;
    Ok(Shown { registered, by })
}

/// Returns the client that gets tokens without Leg 2.
fn identity_of_leg1(context: &Context) -> Result<AnyClient, String> {
    let (client, leg1) = (&context.asked.flow.client, &context.asked.flow.leg1);
    if let Some(identity) = &context.machine {
        return Ok(identity.clone().into());
    }
    let parts = (&context.authority, &context.certificate, &context.reach);
    let (Some(authority), Some(certificate), Some(reach)) = parts else {
        return Err("Leg 1 has no identity that could ask Microsoft Graph".to_owned());
    };
    if leg1.assertion_file.is_some() {
        return Err("an existing assertion cannot ask Microsoft Graph".to_owned());
    }
    let first = plan::leg1_client(client, authority, leg1, certificate.clone(), reach);
    first.map(Into::into).map_err(|failure| failure.why)
}

async fn answer(context: &Context, client: &AnyClient, cloud: Cloud) -> Result<Response<Bytes>, Failure> {
    let scope = ResourceScope::graph(cloud);
    // A bound token needs a host that requests the certificate.
    let bound = plan::graph_for_bound_tokens(cloud).filter(|_| context.kind == Kind::Bound);
    let (kind, host) = bound.map_or((Kind::Bearer, cloud.graph_uri()), |host| (Kind::Bound, host));
    let application = context.asked.flow.client.identity.client_id()?;
    let path = format!("/v1.0/applications(appId='{application}')/federatedIdentityCredentials");
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = plan::url(&format!("{host}{path}"))?;
    let trace = context.asked.flow.client.run.trace;
    let observer = Observers::default().and_if(trace, Trace);
    let token = plan::acquire(client, &scope, kind, Arc::new(observer)).await?;
    match &token {
        Token::Bound(_) => Ok(client.resource(&scope).call(request).await?),
        Token::Bearer(token) => {
            plan::call_with_bearer(context.network.as_ref().map_err(Clone::clone)?, token, request).await
        }
    }
}
