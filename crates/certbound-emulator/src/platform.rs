//! The machine: the endpoints that its programs call. Service Fabric's endpoint uses TLS; the other endpoints use plain
//! HTTP.

pub(crate) mod arc;
mod caller;
mod cloud_shell;
mod credential;
mod csr;
pub(crate) mod hosted;
mod imds;
mod instance;
mod memory;
mod selector;
pub(crate) mod service_fabric;
mod throttle;
mod token;

use bytes::Bytes;
use certbound_core::request::ReceivedForm;
use certbound_core::time::UnixTime;
use http::header::SERVER;
use http::{HeaderValue, Method, Request, Response};
use serde_json::json;

pub(crate) use self::memory::Memory;
use crate::answers::{error_response, json_response};
use crate::fault::{FaultResult, PlatformEndpoint, PlatformKind};
use crate::keys::SigningKeys;
use crate::keys::machine_ca::MachineAuthority;
use crate::paths::without_slash;
use crate::world::World;

/// The value of `Server` in answers of the real metadata service.
const SERVER_NAME: &str = "IMDS/150.870.65.1854";

/// The platform, with the context of one request.
pub(crate) struct Platform<'e> {
    pub(crate) world: &'e World,
    pub(crate) keys: &'e SigningKeys,
    pub(crate) machines: &'e MachineAuthority,
    pub(crate) memory: &'e Memory,
    pub(crate) arc: Option<&'e arc::ArcKey>,
    /// The fault of the matching rule, if a rule matches the request.
    pub(crate) fault: Option<&'e FaultResult>,
    pub(crate) now: UnixTime,
    /// The `host:port` of the listener. A request may name this address instead of the link-local address.
    pub(crate) own_host: &'e str,
}

/// A refusal of a platform.
pub(crate) struct Rejection {
    status: u16,
    error: &'static str,
    description: String,
    /// The newest known versions, if the request does not name a known version.
    newest: Vec<&'static str>,
}

pub(crate) fn reject(status: u16, error: &'static str, description: impl Into<String>) -> Rejection {
    Rejection { status, error, description: description.into(), newest: Vec::new() }
}

fn nothing_here() -> Rejection {
    reject(404, "not_found", "There is no endpoint at this path.")
}

/// Reads parameters. `place` is the part of the request that contains them.
fn decode(parameters: &[u8], place: &str) -> Result<ReceivedForm, Rejection> {
    ReceivedForm::decode(parameters)
        .map_err(|why| reject(400, "invalid_request", format!("The {place} is malformed: {why}.")))
}

fn query(request: &Request<Bytes>) -> Result<ReceivedForm, Rejection> {
    decode(request.uri().query().unwrap_or_default().as_bytes(), "query")
}

fn check_method(request: &Request<Bytes>, method: &Method) -> Result<(), Rejection> {
    match request.method() == method {
        true => Ok(()),
        false => Err(reject(405, "method_not_allowed", format!("This endpoint accepts {method} only."))),
    }
}

impl Rejection {
    fn response(&self) -> Response<Bytes> {
        match self.newest.as_slice() {
            [] => error_response(self.status, self.error, &self.description),
            newest => {
                json_response(self.status, &json!({ "error": self.description, "newest-versions": newest }))
            }
        }
    }
}

/// Sets the header `Server` to that of the metadata service.
pub(crate) fn sign(response: &mut Response<Bytes>) {
    response.headers_mut().insert(SERVER, HeaderValue::from_static(SERVER_NAME));
}

impl Platform<'_> {
    pub(crate) fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let path = without_slash(request.uri().path());
        let answer = match PlatformKind::at(path) {
            Some(PlatformKind::Arc) => return arc::answer(self, request),
            Some(PlatformKind::CloudShell) => return cloud_shell::answer(self, request),
            Some(PlatformKind::AppService) => hosted::app_service(self, request),
            Some(PlatformKind::MachineLearning) => hosted::machine_learning(self, request),
            Some(PlatformKind::Imds) => self.metadata_service(path, request),
            // Service Fabric's endpoint has its own listener, which uses TLS.
            Some(PlatformKind::ServiceFabric) | None => {
                self.check_caller(request).and_then(|()| Err(nothing_here()))
            }
        };
        answer.unwrap_or_else(|rejection| rejection.response())
    }

    /// Answers a request to the token service of a Service Fabric node. The request was sent over TLS.
    pub(crate) fn answer_as_node(&self, request: &Request<Bytes>) -> Response<Bytes> {
        service_fabric::answer(self, request)
    }

    fn metadata_service(&self, path: &str, request: &Request<Bytes>) -> Result<Response<Bytes>, Rejection> {
        use PlatformEndpoint::{InstanceMetadata, IssueCredential, PlatformMetadata, Token};

        self.check_caller(request)?;
        // This check precedes the check of the header `Metadata`, because a probe does not send that header. The probe
        // recognizes version 2 by the status of this answer.
        let operation = PlatformEndpoint::at(path).ok_or_else(nothing_here)?;
        let of_version_2 = matches!(operation, PlatformMetadata | IssueCredential);
        if of_version_2 && !self.world.machine.issues_certificates {
            return Err(nothing_here());
        }
        let method = if operation == IssueCredential { Method::POST } else { Method::GET };
        check_method(request, &method)?;
        self.check_metadata_header(request)?;
        let turn = self.memory.throttle.enter(self.world, operation, self.now)?;
        let query = query(request)?;
        let json = |body| json_response(200, &body);
        let mut response = match operation {
            Token => json(imds::token(self, &query)?),
            PlatformMetadata => json(credential::platform(self, &query)?),
            IssueCredential => json(credential::issue(self, &query, request.body())?),
            InstanceMetadata => instance::answer(self, path, &query)?,
        };
        response.extensions_mut().insert(turn);
        Ok(response)
    }
}

/// Checks that `known` contains the requested version. `known` is sorted, with the oldest version first.
fn check_version(query: &ReceivedForm, name: &str, known: &[&'static str]) -> Result<(), Rejection> {
    match query.value(name) {
        Some(version) if known.contains(&version) => Ok(()),
        _ => {
            let text = format!("Bad request. {name} is invalid or was not specified in the request.");
            Err(Rejection {
                newest: known.iter().rev().take(3).copied().collect(),
                ..reject(400, "invalid_request", text)
            })
        }
    }
}
