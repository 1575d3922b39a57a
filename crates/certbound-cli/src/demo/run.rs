//! The scenes of the demo, in the order of the flow.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use certbound::credential::{ByAssertion, Leg1, leg1_fn};
use certbound::transport::Via;
use certbound::{
    Authority, BearerToken, BoundToken, Client, Cloud, Error, ManagedIdentity, ResourceScope, Secret,
    TenantId, Transport as _,
};
use certbound_emulator::world::builtin::{
    APP, GRAPH_BOUND_HOST, GRAPH_HOST, MULTI_TENANT_APP, ORDERS, ORDERS_HOST, OTHER_TENANT, TARGET_APP,
    VAULT_HOST,
};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use zeroize::Zeroizing;

use super::facts::{Fallible, Named, of_answer, of_assertion, of_bearer, of_bound, reason};
use super::stage::Stage;
use super::tamper::{Tamper, Tampered};
use super::{Recorder, commands};

/// Runs every scene, even after a scene has failed.
///
/// # Errors
/// A client could not be built. The remaining scenes then do not run.
pub(super) async fn run(stage: &Stage, program: &Path, recorder: &mut Recorder<'_>) -> Fallible<()> {
    let certificates = [("c", &stage.c), ("other", &stage.transport.other)];
    let certificates = certificates.map(|(name, binding)| (name, binding.thumbprint().x5t_s256()));
    recorder.add("stage", Ok(certificates.to_vec()));
    two_legs_and_thefts(stage, recorder).await?;
    other_exchanges(stage, recorder).await?;
    machine(stage, recorder).await?;
    recorder.add("machine_as_leg2", commands::machine_as_leg2(program, stage).await);
    recorder.add("docs", commands::documents(program).await);
    Ok(())
}

/// Runs Leg 1, Leg 2 with exactly its assertion, and a call with the token. Then a thief uses the same token.
async fn two_legs_and_thefts(stage: &Stage, recorder: &mut Recorder<'_>) -> Fallible<()> {
    let vault = ResourceScope::key_vault(Cloud::Public);
    let url = format!("https://{VAULT_HOST}/secrets/demo?api-version=7.4");
    let assertion = stage.leg1.assertion().await;
    recorder.add("leg1", facts(&assertion, of_assertion));

    let given = assertion.as_ref().map(|given| Secret::new(given.secret().expose()));
    let given = given.map_err(|error| reason(error));
    let asked_for = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&asked_for);
    let provider = leg1_fn(stage.c.clone(), move |request| {
        if given.is_ok() {
            asked.lock().unwrap_or_else(PoisonError::into_inner).push(request.token_endpoint.clone());
        }
        std::future::ready(given.as_ref().map(|given| Secret::new(given.expose())).map_err(Clone::clone))
    });
    let client = leg2(stage, APP, provider)?;
    let token = client.bound_token(&vault).await;
    recorder.add("leg2", facts(&token, of_bound));
    let endpoints = std::mem::take(&mut *asked_for.lock().unwrap_or_else(PoisonError::into_inner));
    let calls = vec![("calls", endpoints.len().to_string()), ("endpoint", endpoints.join(" "))];
    recorder.add("provider", facts(&assertion, |given| [of_assertion(given), calls.clone()].concat()));

    recorder.add("vault", call(&token, &url).await);
    for (scene, via, scheme) in [
        ("theft_without", Via::Tls, "mtls_pop"),
        ("theft_with_other", Via::Resource(&stage.transport.other), "mtls_pop"),
        ("theft_as_bearer", Via::Resource(&stage.c), "Bearer"),
    ] {
        recorder.add(scene, send(stage, token.as_ref().map(BoundToken::secret), &url, via, scheme).await);
    }
    recorder.add("cached", facts(&client.bound_token(&vault).await, of_bound));
    Ok(())
}

/// Runs both legs for other resources, tenants and applications, for a Bearer token, and with requests that the
/// emulator must refuse.
async fn other_exchanges(stage: &Stage, recorder: &mut Recorder<'_>) -> Fallible<()> {
    let graph = ResourceScope::graph(Cloud::Public);
    let graph_at = |host: &str| format!("https://{host}/v1.0/applications?$top=1");
    let client = leg2(stage, APP, stage.leg1.clone())?;
    let token = client.bound_token(&graph).await;
    recorder.add("graph_token", facts(&token, of_bound));
    recorder.add("graph", call(&token, &graph_at(GRAPH_BOUND_HOST)).await);
    recorder.add("unasked", call(&token, &graph_at(GRAPH_HOST)).await);
    let token = client.bound_token(&ResourceScope::parse(&format!("{ORDERS}/.default"))?).await;
    recorder.add("orders_token", facts(&token, of_bound));
    recorder.add("orders", call(&token, &format!("https://{ORDERS_HOST}/orders")).await);
    let token = client.bearer_token(&graph).await;
    recorder.add("bearer", facts(&token, of_bearer));
    let secret = token.as_ref().map(BearerToken::secret);
    recorder.add("bearer_call", send(stage, secret, &graph_at(GRAPH_HOST), Via::Tls, "Bearer").await);

    let home = Client::builder(stage.authority.clone(), MULTI_TENANT_APP);
    let home = home.with_certificate(stage.c.clone()).with_transport(stage.transport.clone());
    let abroad = stage.authority.for_tenant(TenantId::parse(OTHER_TENANT)?);
    let abroad = abroad.ok_or("the tenant of the authority cannot be changed")?;
    let client = leg2_at(&abroad, MULTI_TENANT_APP, home.build()?, &stage.transport)?;
    recorder.add("abroad", facts(&client.bound_token(&graph).await, of_bound));
    let client = leg2(stage, TARGET_APP, stage.leg1.clone())?;
    recorder.add("target", facts(&client.bound_token(&graph).await, of_bound));

    for (scene, with) in [("swapped", Tamper::OtherCertificate), ("jwt_bearer", Tamper::JwtBearer)] {
        let transport = Tampered { with, ..stage.transport.clone() };
        let client = leg2_at(&stage.authority, APP, stage.leg1.clone(), &transport)?;
        recorder.add(scene, facts(&client.bound_token(&graph).await, of_bound));
    }
    Ok(())
}

/// Runs Leg 1 with the machine's system-assigned identity, and Leg 2 with its assertion.
async fn machine(stage: &Stage, recorder: &mut Recorder<'_>) -> Fallible<()> {
    let service = stage.server.metadata_url();
    let variable = move |name: &str| (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| service.clone());
    let machine = ManagedIdentity::system_assigned().with_environment(variable);
    let machine = machine.with_transport(stage.transport.clone()).build()?;
    recorder.add("machine", facts(&machine.assertion().await, of_assertion));
    let (client, vault) = (leg2(stage, TARGET_APP, machine)?, ResourceScope::key_vault(Cloud::Public));
    recorder.add("machine_bound", facts(&client.bound_token(&vault).await, of_bound));
    recorder.add("machine_bearer", facts(&client.bearer_token(&vault).await, of_bearer));
    Ok(())
}

fn leg2(stage: &Stage, app: &str, leg1: impl Leg1) -> Fallible<Client<ByAssertion>> {
    leg2_at(&stage.authority, app, leg1, &stage.transport)
}

fn leg2_at(at: &Authority, app: &str, leg1: impl Leg1, by: &Tampered) -> Fallible<Client<ByAssertion>> {
    Ok(Client::builder(at.clone(), app).with_assertions(leg1).with_transport(by.clone()).build()?)
}

fn facts<T>(result: &Result<T, Error>, of: impl Fn(&T) -> Named) -> Fallible<Named> {
    Ok(result.as_ref().map(of).map_err(Clone::clone)?)
}

/// Calls a resource with the token, through the library.
async fn call(token: &Result<BoundToken, Error>, url: &str) -> Fallible<Named> {
    let token = token.as_ref().map_err(Clone::clone)?;
    let answer = token.resource().call(Request::get(url).body(Bytes::new())?).await?;
    Ok(of_answer(&answer, token.secret()))
}

/// Sends a token with any certificate and under any scheme. The library sends a bound token only with its certificate
/// and its scheme.
async fn send(
    stage: &Stage,
    token: Result<&Secret, &Error>,
    url: &str,
    via: Via<'_>,
    scheme: &str,
) -> Fallible<Named> {
    let token = token.map_err(Clone::clone)?;
    let mut header = HeaderValue::from_str(&Zeroizing::new(format!("{scheme} {}", token.expose())))?;
    header.set_sensitive(true);
    let request = Request::get(url).header(AUTHORIZATION, header).header("x-ms-tokenboundauth", "true");
    let answer = stage.transport.inner.send(request.body(Bytes::new())?, via).await?;
    Ok(of_answer(&answer.response, token))
}
