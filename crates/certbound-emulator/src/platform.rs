//! The machine: what programs on it find at addresses without a name, over plain HTTP but for one.

pub(crate) mod arc;
mod credential;
mod csr;
pub(crate) mod hosted;
mod imds;
pub(crate) mod service_fabric;
mod token;

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use certbound_core::request::ReceivedForm;
use certbound_core::time::UnixTime;
use http::header::{HOST, SERVER};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use serde_json::{Value, json};

use crate::answers::json_response;
use crate::fault::FaultResult;
use crate::keys::SigningKeys;
use crate::machine_ca::MachineAuthority;
use crate::world::{ManagedIdentity, World};

/// Where real machines have it.
pub const IMDS_HOST: &str = "169.254.169.254";
/// What the real one calls itself.
const SERVER_NAME: &str = "IMDS/150.870.65.1854";

/// The platform as one request sees it.
pub(crate) struct Platform<'e> {
    pub(crate) world: &'e World,
    pub(crate) keys: &'e SigningKeys,
    pub(crate) machines: &'e MachineAuthority,
    pub(crate) throttle: &'e Throttle,
    pub(crate) arc: Option<&'e arc::ArcKey>,
    /// Spoils the answer on request.
    pub(crate) alteration: Option<&'e FaultResult>,
    pub(crate) now: UnixTime,
    /// The listener's own `host:port`, which is as good as the link-local address.
    pub(crate) own_host: &'e str,
}

/// A platform's "no".
pub(crate) struct No {
    status: u16,
    error: &'static str,
    description: String,
}

pub(crate) fn no(status: u16, error: &'static str, description: impl Into<String>) -> No {
    No { status, error, description: description.into() }
}

impl No {
    fn response(&self) -> Response<Bytes> {
        json_response(self.status, &json!({ "error": self.error, "error_description": self.description }))
    }
}

/// Says who answers, as the metadata service does.
pub(crate) fn sign(response: &mut Response<Bytes>) {
    response.headers_mut().insert(SERVER, HeaderValue::from_static(SERVER_NAME));
}

impl Platform<'_> {
    pub(crate) fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        if let Some(response) = arc::answer(self, request) {
            return response;
        }
        let mut response = match self.metadata_service(request) {
            Ok(body) => json_response(200, &body),
            Err(no) => no.response(),
        };
        sign(&mut response);
        response
    }

    /// What the node of a Service Fabric cluster answers, under TLS.
    pub(crate) fn answer_as_node(&self, request: &Request<Bytes>) -> Response<Bytes> {
        service_fabric::answer(self, request)
    }

    fn metadata_service(&self, request: &Request<Bytes>) -> Result<Value, No> {
        self.check_caller(request.headers())?;
        let query = request.uri().query().unwrap_or_default();
        let query = ReceivedForm::decode(query.as_bytes())
            .map_err(|why| no(400, "invalid_request", format!("The query is malformed: {why}.")))?;
        if let Some(answer) = hosted::answer(self, request, &query) {
            return answer;
        }
        // MSAL for Node puts a slash behind the paths of an address from the environment.
        let path = request.uri().path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let method = match path {
            "/metadata/identity/issuecredential" => Method::POST,
            _ => Method::GET,
        };
        if !path.starts_with("/metadata/") {
            return Err(no(404, "not_found", "There is nothing at this path."));
        }
        if request.method() != method {
            return Err(no(405, "method_not_allowed", format!("Send {method}.")));
        }
        self.check_metadata_header(request.headers())?;
        match path {
            "/metadata/identity/oauth2/token" => imds::token(self, &query),
            "/metadata/identity/getplatformmetadata" => credential::platform(self, &query),
            "/metadata/identity/issuecredential" => credential::issue(self, &query, request.body()),
            "/metadata/instance/compute" => imds::compute(self, &query),
            _ => Err(no(404, "not_found", "There is nothing at this path.")),
        }
    }

    /// Only who is on this machine, and means this service, is answered.
    fn check_caller(&self, headers: &HeaderMap) -> Result<(), No> {
        self.check_host(headers)?;
        if headers.contains_key("x-forwarded-for") {
            return Err(no(400, "invalid_request", "A request that came through a proxy is not answered."));
        }
        Ok(())
    }

    /// A web page can be made to ask under a name of its own choosing, but not under this one.
    fn check_host(&self, headers: &HeaderMap) -> Result<(), No> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let known = [IMDS_HOST, self.own_host].contains(&host.strip_suffix(":80").unwrap_or(host));
        if known && hosts.next().is_none() {
            return Ok(());
        }
        Err(no(400, "invalid_request", "The Host header is not this service's."))
    }

    fn check_metadata_header(&self, headers: &HeaderMap) -> Result<(), No> {
        let mut values = headers.get_all("metadata").iter();
        let right = values.next().is_some_and(|value| value == "true");
        if right && values.next().is_none() {
            return Ok(());
        }
        Err(no(400, "invalid_request", "Required metadata header not specified"))
    }

    /// The identity that the query selects, by one name at most.
    fn identity(&self, query: &ReceivedForm, resource_id: &[&str]) -> Result<&ManagedIdentity, No> {
        let given: Vec<(&str, &str)> = ["client_id", "object_id"]
            .into_iter()
            .chain(resource_id.iter().copied())
            .filter_map(|name| Some((name, query.value(name)?)))
            .collect();
        let unknown = || no(400, "invalid_request", "Identity not found");
        if let Some(name) =
            ["mi_res_id", "msi_res_id"].iter().find(|name| query.has(name) && !resource_id.contains(name))
        {
            return Err(no(
                400,
                "invalid_request",
                format!("The query parameter '{name}' is not supported here."),
            ));
        }
        let mut all = self.world.managed_identities.iter();
        match given.as_slice() {
            [] => all.find(|identity| identity.resource_id.is_none()).ok_or_else(unknown),
            [(name, value)] => all.find(|identity| self.is_named(identity, name, value)).ok_or_else(unknown),
            _ => Err(no(400, "invalid_request", "An identity is selected by one name, not by several.")),
        }
    }

    fn is_named(&self, identity: &ManagedIdentity, name: &str, value: &str) -> bool {
        match name {
            "client_id" => identity.client_id.eq_ignore_ascii_case(value),
            "object_id" => {
                let application = self.world.application(&identity.client_id);
                let principal = application.and_then(|it| it.principals.get(&it.home_tenant));
                principal.is_some_and(|principal| principal.eq_ignore_ascii_case(value))
            }
            _ => identity.resource_id.as_ref().is_some_and(|id| id.eq_ignore_ascii_case(value)),
        }
    }
}

/// How many calls there were in this second.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<(u64, u32)>);

/// More than these in one second are too many.
const CALLS_PER_SECOND: u32 = 20;

impl Throttle {
    fn check(&self, world: &World, now: UnixTime) -> Result<(), No> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now.as_secs();
        let before = if calls.0 == now { calls.1 } else { 0 };
        *calls = (now, before.saturating_add(1));
        match world.machine.throttled && before >= CALLS_PER_SECOND {
            true => Err(no(429, "too_many_requests", "Requests come faster than they are served.")),
            false => Ok(()),
        }
    }
}
