//! Runs both legs once, as `exchange` does, and records the requests and the assertion.

use std::sync::{Arc, Mutex, PoisonError};

use certbound::credential::AssertionRequest;
use certbound::error::Leg;
use certbound::observe::{JwtPopReport, ObservedRequest, Observer};
use certbound::{AnyClient, Secret, UnixTime};
use certbound_core::jws;
use certbound_core::jwt::Claims;

use super::{BEFORE_LEG1, Context};
use crate::failure::Failure;
use crate::observers::{AssertionWitness, Observers, Trace};
use crate::output::Token;
use crate::plan::{self, Leg1Source};

/// The exchange that was run.
pub(super) struct Exchange {
    pub(super) requests: Vec<ObservedRequest>,
    pub(super) jwt_pop: Arc<JwtPopReport>,
    /// The value is `None` if the client could not be built.
    pub(super) client: Option<AnyClient>,
    pub(super) result: Result<Token, Failure>,
    /// Whether Leg 1 has no certificate. The library then reports no legs, so the token request without a leg is the
    /// request of Leg 2.
    pub(super) is_unbound: bool,
}

impl Exchange {
    /// Returns the last token request of Leg 2.
    pub(super) fn request_of_leg2(&self) -> Option<&ObservedRequest> {
        let leg2 = if self.is_unbound { None } else { Some(Leg::Two) };
        self.requests.iter().rfind(|request| request.leg == leg2)
    }
}

/// Returns the host of a URL.
pub(super) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// Runs the exchange. Returns `None` after the failure of a needed line, or with `--dry-run`.
pub(super) async fn run(context: &mut Context) -> Option<Exchange> {
    if context.obstacle(BEFORE_LEG1).is_some() {
        return None;
    }
    let requests = Arc::new(Requests::default());
    let jwt_pop = Arc::new(JwtPopReport::default());
    let (client, result) = match client(context) {
        Ok(client) => {
            let observer = Observers::default()
                .and(Arc::clone(&requests) as _)
                .and(Arc::clone(&jwt_pop) as _)
                .and_if(context.asked.flow.client.run.trace, Trace);
            // The configuration was checked before, so there is a scope.
            let scope = context.scope.as_ref()?;
            let token = plan::acquire(&client, scope, context.kind, Arc::new(observer)).await;
            (Some(client), token.map_err(Failure::from))
        }
        Err(failure) => (None, Err(failure)),
    };
    Some(Exchange { requests: requests.all(), jwt_pop, client, result, is_unbound: context.is_unbound })
}

/// Builds the client of Leg 2. If the flags give an existing assertion, this function reads it.
fn client(context: &mut Context) -> Result<AnyClient, Failure> {
    let (flags, leg1) = (&context.asked.flow.client, &context.asked.flow.leg1);
    let (Some(reach), Some(authority)) = (&context.reach, context.authority.clone()) else {
        return Err(context.network.as_ref().err().cloned().unwrap_or_else(no_input));
    };
    let source = match context.source.take() {
        Some(source) => source,
        None => {
            let certificate = context.certificate.clone().map(|certificate| (certificate, String::new()));
            plan::leg1_source(flags, leg1, certificate, reach)?
        }
    };
    match &source {
        Leg1Source::Existing(assertion, _) => {
            context.assertions.read(assertion.secret(), Some(assertion.expires_at()));
        }
        Leg1Source::Machine(identity, _) => context.machine = Some(identity.clone()),
        Leg1Source::Certificate(..) => {}
    }
    Ok(plan::exchange(flags, leg1, authority, source, context.kind, reach)?.client)
}

/// Returns an error that does not occur: the earlier checks have found the authority and the network.
fn no_input() -> Failure {
    crate::usage::Usage::NoTenant.into()
}

/// Records the token requests.
#[derive(Default)]
struct Requests(Mutex<Vec<ObservedRequest>>);

impl Requests {
    fn all(&self) -> Vec<ObservedRequest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Requests {
    fn before_request(&self, request: &ObservedRequest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    }
}

/// Records the calls of Leg 1, and the content of its assertion. The assertion itself is not stored.
#[derive(Default)]
pub(super) struct Assertions(Mutex<Recorded>);

/// The recorded facts.
#[derive(Clone, Default)]
pub(super) struct Recorded {
    /// The token endpoint of each call.
    pub(super) asked_for: Vec<String>,
    pub(super) given: Option<Given>,
}

/// The unverified content of an assertion.
#[derive(Clone)]
pub(super) struct Given {
    /// The value is `None` if the assertion is not a readable JWT.
    pub(super) claims: Option<Arc<Claims>>,
    pub(super) expires_at: Option<UnixTime>,
}

impl Assertions {
    pub(super) fn recorded(&self) -> Recorded {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records the content of an assertion.
    fn read(&self, assertion: &Secret, expires_at: Option<UnixTime>) {
        let claims = jws::unverified_claims(assertion.expose()).ok().map(Arc::new);
        let in_claims = claims.as_ref().and_then(|claims| claims.time("exp").ok().flatten());
        let given = Given { claims, expires_at: expires_at.or(in_claims) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).given = Some(given);
    }
}

impl AssertionWitness for Assertions {
    fn asked(&self, request: &AssertionRequest) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.asked_for.push(request.token_endpoint.clone());
    }

    fn given(&self, assertion: &Secret, expires_at: Option<UnixTime>) {
        self.read(assertion, expires_at);
    }
}
