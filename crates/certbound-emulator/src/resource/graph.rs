//! Microsoft Graph: applications with their federated credentials and certificates, service principals, and the
//! organization. Changes are stored in the directory, from which the token service reads them.

mod applications;
mod body;
mod error;
mod federated;
mod key_credentials;
mod odata;
mod organization;
mod page;
mod path;
mod permission;
mod service_principals;

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::error::GraphError;
use self::odata::Query;
use self::path::{Key, Step};
use super::{Caller, ResourceServer};
use crate::answers::{date, json_response, no_content};

/// The operations that this module emulates. The refusal of any other request contains this list.
const EMULATED: &str = "GET applications and servicePrincipals, each also with {id}, (appId='...'), $filter=appId eq \
     '...', $select, $top and $skiptoken; PATCH applications/{id} with keyCredentials; GET and POST \
     applications/{id}/federatedIdentityCredentials; GET, PATCH and DELETE \
     applications/{id}/federatedIdentityCredentials/{id or name}; GET organization; each in v1.0 and beta";

/// One request to Graph, with its context.
struct Graph<'g> {
    server: &'g ResourceServer<'g>,
    caller: &'g Caller,
    /// `v1.0` or `beta`.
    version: &'static str,
    /// The path of the request, for links to the next page.
    path: &'g str,
    query: Query,
}

impl Graph<'_> {
    /// Returns the id of the tenant that issued the caller's token. Every token of Entra names its tenant.
    fn tenant_id(&self) -> &str {
        self.caller.token.tenant_id().unwrap_or_default()
    }
}

/// The content of an answer without an error.
enum Answer {
    Found(Value),
    Created(Value),
    Done,
}

/// Answers a request whose token was accepted.
pub(super) fn answer(
    server: &ResourceServer<'_>,
    request: &Request<Bytes>,
    caller: &Caller,
) -> Response<Bytes> {
    match decide(server, request, caller) {
        Ok(Answer::Found(body)) => json_response(200, &body),
        Ok(Answer::Created(body)) => json_response(201, &body),
        Ok(Answer::Done) => no_content(),
        Err(GraphError { status, code, message }) => error(server, status, code, &message),
    }
}

/// Returns an error in the form of Graph.
pub(super) fn error(server: &ResourceServer<'_>, status: u16, code: &str, message: &str) -> Response<Bytes> {
    let id = Uuid::new_v4().to_string();
    json_response(
        status,
        &json!({ "error": {
            "code": code,
            "message": message,
            "innerError": {
                "date": date(server.now).trim_end_matches('Z'),
                "request-id": id,
                "client-request-id": id,
            },
        }}),
    )
}

fn decide(
    server: &ResourceServer<'_>,
    request: &Request<Bytes>,
    caller: &Caller,
) -> Result<Answer, GraphError> {
    let path = request.uri().path();
    let not_emulated = || GraphError::not_emulated(&format!("{} {path}", request.method()));
    let (version, steps) = path::parse(path).ok_or_else(not_emulated)?;
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let graph = Graph { server, caller, version, path, query };
    let steps: Vec<(&str, Option<&Key>)> = steps.iter().map(Step::parts).collect();
    match (request.method(), steps.as_slice()) {
        (&Method::GET, [("applications", None)]) => graph.applications(),
        (&Method::GET, [("applications", Some(key))]) => graph.application(key),
        (&Method::PATCH, [("applications", Some(key))]) => graph.update_application(key, request),
        (&Method::GET, [("applications", Some(key)), ("federatedidentitycredentials", None)]) => {
            graph.federated_credentials(key)
        }
        (&Method::POST, [("applications", Some(key)), ("federatedidentitycredentials", None)]) => {
            graph.create_federated_credential(key, request)
        }
        (method, [("applications", Some(key)), ("federatedidentitycredentials", Some(credential))]) => {
            match *method {
                Method::GET => graph.federated_credential(key, credential),
                Method::PATCH => graph.update_federated_credential(key, credential, request),
                Method::DELETE => graph.delete_federated_credential(key, credential),
                _ => Err(not_emulated()),
            }
        }
        (&Method::GET, [("serviceprincipals", None)]) => graph.service_principals(),
        (&Method::GET, [("serviceprincipals", Some(key))]) => graph.service_principal(key),
        (&Method::GET, [("organization", None)]) => graph.organizations(),
        (&Method::GET, [("organization", Some(key))]) => graph.organization(key),
        (&Method::POST, [("applications", Some(_)), ("addkey" | "removekey", None)]) => {
            Err(GraphError::no_key_action())
        }
        _ => Err(not_emulated()),
    }
}

/// Returns a JSON object with these properties.
fn object<const N: usize>(properties: [(&str, Value); N]) -> Map<String, Value> {
    properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
