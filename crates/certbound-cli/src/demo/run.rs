//! The scenes of the demo: each does one step and records the journal of its requests.

use std::path::Path;

use bytes::Bytes;
use certbound::certificate::Binding;
use certbound::credential::{ByAssertion, ByCertificate, Leg1};
use certbound::transport::Via;
use certbound::{
    Authority, BearerToken, BoundAssertion, BoundToken, Client, Cloud, Error, ManagedIdentity, Region,
    ResourceScope, TenantId, Transport as _,
};
use certbound_core::credential::{ClientProof, JWT_BEARER, JWT_POP};
use certbound_core::endpoint::{Channel, Flow};
use certbound_core::request::{Grant, TokenRequest};
use certbound_emulator::world::builtin::{
    APP, GRAPH_BOUND_HOST, GRAPH_HOST, MULTI_TENANT_APP, ORDERS, ORDERS_HOST, OTHER_TENANT, TARGET_APP,
    TENANT, VAULT_HOST,
};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};
use zeroize::Zeroizing;

use super::commands;
use super::evidence::{AssertionSeen, Called, Evidence, Outcome, Provided, Scene, TokenSeen, digest};
use super::stage::Stage;
use super::tamper::{Tamper, Tampered};
use super::watched::Watched;

/// The region of the demo, in Azure's spelling.
pub(super) const REGION: &str = "westus3";

/// Runs every scene, also after one has failed.
pub(super) async fn run(stage: &Stage, program: &Path, tamper: Tamper) -> Evidence {
    match Actors::new(stage, tamper) {
        Ok(actors) => actors.play(stage, program).await,
        Err(reason) => Evidence::none(&reason),
    }
}

/// The values that the scenes share.
struct Actors {
    transport: Tampered,
    authority: Authority,
    leg1: Client<ByCertificate>,
    binding: Binding,
    other: Binding,
    vault: ResourceScope,
}

impl Actors {
    fn new(stage: &Stage, tamper: Tamper) -> Outcome<Self> {
        let transport = Tampered { inner: stage.network.transport(), with: tamper };
        let authority = Authority::public(TenantId::parse(TENANT).map_err(said_input)?)
            .with_region(Region::parse(REGION).map_err(said_input)?);
        let leg1 = by_certificate(&authority, APP, stage, &transport)?;
        Ok(Self {
            binding: leg1.binding().clone(),
            other: stage.other.clone(),
            vault: ResourceScope::key_vault(Cloud::Public),
            transport,
            authority,
            leg1,
        })
    }

    async fn play(&self, stage: &Stage, program: &Path) -> Evidence {
        let (leg1, assertion) = split(stage.scene(self.assertion()).await, AssertionSeen::of);
        let (leg2, provided, main) = self.exchange_watched(stage, assertion).await;
        let (leg2, token) = split(leg2, TokenSeen::bound);
        let cached = stage.scene(again(main.as_ref().map_err(Clone::clone), &self.vault)).await;

        let vault_url = format!("https://{VAULT_HOST}/secrets/demo?api-version=7.4");
        let vault = stage.scene(call(token.as_ref(), &vault_url)).await;
        let graph_token = self.exchange(APP, ResourceScope::graph(Cloud::Public)).await;
        let graph_url = format!("https://{GRAPH_BOUND_HOST}/v1.0/applications?$top=1");
        let graph = stage.scene(call(graph_token.as_ref(), &graph_url)).await;
        let custom_token = self.exchange_for(APP, &format!("{ORDERS}/.default")).await;
        let custom = stage.scene(call(custom_token.as_ref(), &format!("https://{ORDERS_HOST}/orders"))).await;

        let (bearer, bearer_token) = split(stage.scene(self.bearer()).await, TokenSeen::bearer);
        let bearer_call = stage.scene(self.call_with_bearer(bearer_token)).await;
        let cross_tenant = stage.scene(self.cross_tenant(stage)).await;
        let cross_application = self.exchange(TARGET_APP, ResourceScope::graph(Cloud::Public));
        let cross_application =
            stage.scene(async { cross_application.await.map(|token| TokenSeen::bound(&token)) }).await;

        let machine = self.machine(stage);
        let machine_leg1 = async { machine.clone()?.assertion().await.map_err(|error| said(&error)) };
        let (machine_leg1, _) = split(stage.scene(machine_leg1).await, AssertionSeen::of);
        let machine_bound = stage.scene(self.by_machine(machine.clone(), true)).await;
        let machine_bearer = stage.scene(self.by_machine(machine, false)).await;
        let as_leg2 = commands::machine_as_leg2(program, stage, self.transport.with);
        let machine_as_leg2 = stage.scene(as_leg2).await;

        let token = token.as_ref();
        let steal = |via, scheme| self.stolen(token, &vault_url, via, scheme);
        let without_certificate = stage.scene(steal(Via::Tls, "mtls_pop")).await;
        let other_certificate = stage.scene(steal(Via::Resource(&self.other), "mtls_pop")).await;
        let wrong_scheme = stage.scene(steal(Via::Resource(&self.binding), "Bearer")).await;
        let never_asking_host = stage.scene(never_asked(graph_token.as_ref())).await;
        let leg2_other_certificate = stage.scene(self.leg2_by_hand(JWT_POP, &self.other)).await;
        let leg2_jwt_bearer = stage.scene(self.leg2_by_hand(JWT_BEARER, &self.binding)).await;
        Evidence {
            certificate: Some(self.binding.thumbprint()),
            leg1,
            leg2,
            provided,
            cached,
            vault,
            graph,
            custom,
            bearer,
            bearer_call,
            cross_tenant,
            cross_application,
            machine_leg1,
            machine_bound,
            machine_bearer,
            machine_as_leg2,
            without_certificate,
            other_certificate,
            wrong_scheme,
            never_asking_host,
            leg2_other_certificate,
            leg2_jwt_bearer,
        }
    }
}

/// The two-leg flow and its variations.
impl Actors {
    async fn assertion(&self) -> Outcome<BoundAssertion> {
        self.leg1.assertion().await.map_err(|error| said(&error))
    }

    /// Runs Leg 2 with exactly this assertion, and records the call of its provider.
    async fn exchange_watched(
        &self,
        stage: &Stage,
        assertion: Outcome<BoundAssertion>,
    ) -> (Scene<BoundToken>, Vec<Provided>, Outcome<Client<ByAssertion>>) {
        let assertion = match assertion {
            Ok(assertion) => assertion,
            Err(reason) => {
                let reason = format!("Leg 1 failed: {reason}");
                return (Scene::not_played(&reason), Vec::new(), Err(reason));
            }
        };
        let (leg1, watch) = Watched::new(assertion);
        let client = match self.leg2(&self.authority, APP, leg1) {
            Ok(client) => client,
            Err(reason) => return (Scene::not_played(&reason), Vec::new(), Err(reason)),
        };
        let scene =
            stage.scene(async { client.bound_token(&self.vault).await.map_err(|error| said(&error)) }).await;
        (scene, watch.provided(), Ok(client))
    }

    /// Runs both legs for another application or resource.
    async fn exchange(&self, app: &str, scope: ResourceScope) -> Outcome<BoundToken> {
        let leg2 = self.leg2(&self.authority, app, self.leg1.clone())?;
        leg2.bound_token(&scope).await.map_err(|error| said(&error))
    }

    async fn exchange_for(&self, app: &str, scope: &str) -> Outcome<BoundToken> {
        self.exchange(app, ResourceScope::parse(scope).map_err(said_input)?).await
    }

    async fn bearer(&self) -> Outcome<BearerToken> {
        let leg2 = self.leg2(&self.authority, APP, self.leg1.clone())?;
        leg2.bearer_token(&ResourceScope::graph(Cloud::Public)).await.map_err(|error| said(&error))
    }

    async fn call_with_bearer(&self, token: Outcome<BearerToken>) -> Outcome<Called> {
        let token = token?;
        let url = format!("https://{GRAPH_HOST}/v1.0/applications?$top=1");
        self.send(token.secret(), &url, Via::Tls, "Bearer").await
    }

    /// Runs Leg 1 in the home tenant and Leg 2 in the other tenant.
    async fn cross_tenant(&self, stage: &Stage) -> Outcome<TokenSeen> {
        let other = self.authority.for_tenant(TenantId::parse(OTHER_TENANT).map_err(said_input)?);
        let other = other.ok_or("the authority has no tenant to choose")?;
        let leg1 = by_certificate(&self.authority, MULTI_TENANT_APP, stage, &self.transport)?;
        let leg2 = self.leg2(&other, MULTI_TENANT_APP, leg1)?;
        let token =
            leg2.bound_token(&ResourceScope::graph(Cloud::Public)).await.map_err(|error| said(&error))?;
        Ok(TokenSeen::bound(&token))
    }

    /// Returns the machine's system-assigned identity.
    fn machine(&self, stage: &Stage) -> Outcome<ManagedIdentity> {
        let service = stage.metadata_service();
        let variable =
            move |name: &str| (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| service.clone());
        let builder = ManagedIdentity::system_assigned().with_environment(variable);
        builder.with_transport(self.transport.clone()).build().map_err(said_input)
    }

    /// Runs Leg 2 with a managed identity as Leg 1.
    async fn by_machine(&self, machine: Outcome<ManagedIdentity>, bound: bool) -> Outcome<TokenSeen> {
        let leg2 = self.leg2(&self.authority, TARGET_APP, machine?)?;
        if bound {
            let token = leg2.bound_token(&self.vault).await.map_err(|error| said(&error))?;
            return Ok(TokenSeen::bound(&token));
        }
        let token = leg2.bearer_token(&self.vault).await.map_err(|error| said(&error))?;
        Ok(TokenSeen::bearer(&token))
    }

    fn leg2(&self, authority: &Authority, app: &str, leg1: impl Leg1) -> Outcome<Client<ByAssertion>> {
        let client = Client::builder(authority.clone(), app).with_assertions(leg1);
        client.with_transport(self.transport.clone()).build().map_err(said_input)
    }
}

/// Requests that must be refused. The library would not send them, so they are sent without it.
impl Actors {
    /// Sends the token with a certificate that it is not bound to, or under the wrong scheme.
    async fn stolen(
        &self,
        token: Result<&BoundToken, &String>,
        url: &str,
        via: Via<'_>,
        scheme: &str,
    ) -> Outcome<Called> {
        let token = token.map_err(|reason| format!("there is no bound token to try it with: {reason}"))?;
        self.send(token.secret(), url, via, scheme).await
    }

    async fn send(
        &self,
        token: &certbound::Secret,
        url: &str,
        via: Via<'_>,
        scheme: &str,
    ) -> Outcome<Called> {
        let header = Zeroizing::new(format!("{scheme} {}", token.expose()));
        let mut header = HeaderValue::from_str(&header).map_err(said_input)?;
        header.set_sensitive(true);
        let request = Request::get(url).header(AUTHORIZATION, header).header("x-ms-tokenboundauth", "true");
        let request = request.body(Bytes::new()).map_err(said_input)?;
        let answer = self.transport.inner.send(request, via).await.map_err(said_input)?;
        let called = Called::of(&answer.response, &digest(token.expose()));
        Ok(Called { presented: answer.tls.presented, ..called })
    }

    /// Sends Leg 2's request over a connection that presents `presented`.
    async fn leg2_by_hand(&self, assertion_type: &str, presented: &Binding) -> Outcome<Called> {
        let assertion = self.assertion().await.map_err(|reason| format!("Leg 1 failed: {reason}"))?;
        let endpoint =
            self.authority.token_endpoint(Flow::ClientCredentials, Channel::MutualTls).map_err(said_input)?;
        let proof = match assertion_type {
            JWT_POP => ClientProof::BoundAssertion(assertion.secret()),
            _ => ClientProof::SignedAssertion(assertion.secret()),
        };
        let request = TokenRequest {
            client_id: APP,
            grant: Grant::ClientCredentials,
            proof,
            scope: self.vault.as_str(),
            bound: true,
            claims: None,
            fmi_path: None,
            extra: &[],
        };
        let request = Request::post(endpoint.url())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from_owner(request.encode()))
            .map_err(said_input)?;
        let answer = self.transport.inner.send(request, Via::Bound(presented)).await.map_err(said_input)?;
        let called = Called::of(&answer.response, &digest(assertion.secret().expose()));
        Ok(Called { presented: answer.tls.presented, ..called })
    }
}

fn by_certificate(
    authority: &Authority,
    app: &str,
    stage: &Stage,
    transport: &Tampered,
) -> Outcome<Client<ByCertificate>> {
    let client = Client::builder(authority.clone(), app).with_certificate(stage.certificate.clone());
    client.with_transport(transport.clone()).build().map_err(said_input)
}

/// Asks the client of the main flow for a second token; its only assertion has been used.
async fn again(client: Result<&Client<ByAssertion>, String>, scope: &ResourceScope) -> Outcome<TokenSeen> {
    client?.bound_token(scope).await.map(|token| TokenSeen::bound(&token)).map_err(|error| said(&error))
}

async fn call(token: Result<&BoundToken, &String>, url: &str) -> Outcome<Called> {
    let token = token.map_err(|reason| format!("there is no bound token: {reason}"))?;
    let request = Request::get(url).body(Bytes::new()).map_err(said_input)?;
    let answer = token.resource().call(request).await.map_err(|error| said(&error))?;
    Ok(Called::of(&answer, &digest(token.secret().expose())))
}

/// Calls a host that never requests the certificate and must not receive the token. Returns the error's code.
async fn never_asked(token: Result<&BoundToken, &String>) -> Outcome<String> {
    let url = format!("https://{GRAPH_HOST}/v1.0/applications?$top=1");
    let token = token.map_err(|reason| format!("there is no bound token: {reason}"))?;
    let request = Request::get(url).body(Bytes::new()).map_err(said_input)?;
    match token.resource().call(request).await {
        Err(error) => Ok(error.code().to_owned()),
        Ok(answer) => Err(format!("the token was sent, and answered with {}", answer.status())),
    }
}

/// Splits a scene into the part that the checklist examines and the part that the next scenes use.
fn split<T, U>(scene: Scene<T>, show: impl Fn(&T) -> U) -> (Scene<U>, Outcome<T>) {
    let Scene { outcome, journal } = scene;
    (Scene { outcome: outcome.as_ref().map(show).map_err(Clone::clone), journal }, outcome)
}

/// Formats an error of the client in one line, with its code.
pub(super) fn said(error: &Error) -> String {
    format!("{error} [{}]", error.code())
}

fn said_input(error: impl std::fmt::Display) -> String {
    error.to_string()
}
