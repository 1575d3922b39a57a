//! Answers in the form of Azure Key Vault: secrets with versions, keys that sign, and certificates. The client presents
//! its certificate in the first handshake, or in a renegotiation if the world sets `late_certificate` for the host.

mod access;
mod binding;
mod body;
mod certificates;
mod keys;
mod page;
mod query;
mod refusal;
mod routes;
mod secret;
mod secrets;
mod store;

use bytes::Bytes;
use certbound_core::time::UnixTime;
use certbound_verifier::Refusal;
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use self::page::Page;
use self::query::Query;
use self::refusal::VaultRefusal;
use self::routes::{Operation, Route};
pub(crate) use self::store::Vaults;
use super::{Caller, ResourceServer};
use crate::answers::{add_challenges, json_response, no_content};
use crate::issue::BACKDATED;

/// The version of an object that the world declares.
const FIRST_VERSION: &str = "00000000000000000000000000000001";
/// The number of days for which a deleted secret can be recovered.
const RECOVERABLE_DAYS: u64 = 90;

/// Sets the headers that every answer of a vault has.
pub(super) fn sign(request: &Request<Bytes>, response: &mut Response<Bytes>) {
    let headers = response.headers_mut();
    for (name, value) in [("x-ms-keyvault-region", "emulated"), ("x-ms-keyvault-service-version", "1.9.0.0")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let id = Uuid::new_v4().to_string();
    headers.extend(
        HeaderValue::try_from(id).ok().map(|id| (http::HeaderName::from_static("x-ms-request-id"), id)),
    );
    // Only a GUID is repeated, because other values could inject text into logs.
    let own = request.headers().get("x-ms-client-request-id");
    let is_guid = |id: &HeaderValue| id.to_str().is_ok_and(|id| Uuid::try_parse(id).is_ok());
    if let Some(id) = own.filter(|id| is_guid(id)) {
        headers.insert("x-ms-client-request-id", id.clone());
    }
}

/// Answers the request of a caller whose token was accepted.
pub(super) fn answer(
    server: &ResourceServer<'_>,
    request: &Request<Bytes>,
    caller: &Caller,
) -> Response<Bytes> {
    match decide(server, request, caller) {
        // The answer to a purge has no body.
        Ok(Value::Null) => no_content(),
        Ok(body) => json_response(200, &body),
        Err(refusal) => challenged(server, refusal.response()),
    }
}

/// Adds the challenge that every answer of a vault with status 401 has.
fn challenged(server: &ResourceServer<'_>, mut response: Response<Bytes>) -> Response<Bytes> {
    if response.status() == StatusCode::UNAUTHORIZED {
        // The verifier's challenge is the same for each refusal of a token.
        add_challenges(&mut response, &Refusal::BindingRequired, &server.style());
    }
    response
}

fn decide(
    server: &ResourceServer<'_>,
    request: &Request<Bytes>,
    caller: &Caller,
) -> Result<Value, VaultRefusal> {
    // The rules for tokens precede the rules for requests, as in the verifier.
    binding::check(server, caller)?;
    let route = Route::of(request.method(), request.uri().path())?;
    let query = Query::of(request, route.operation)?;
    access::check(server, &route, caller)?;
    let page = Page { server, path: request.uri().path(), query: &query };
    let (name, version, body) = (route.name, route.version, request.body());
    match route.operation {
        Operation::ListSecrets => secrets::list(server, &page),
        Operation::ListSecretVersions => secrets::versions(server, name, &page),
        Operation::GetSecret => secrets::get(server, name, version),
        Operation::SetSecret => secrets::set(server, name, body),
        Operation::UpdateSecret => secrets::update(server, name, version, body),
        Operation::DeleteSecret => secrets::delete(server, name),
        Operation::ListDeletedSecrets => secrets::list_deleted(server, &page),
        Operation::GetDeletedSecret => secrets::get_deleted(server, name),
        Operation::RecoverSecret => secrets::recover(server, name),
        Operation::PurgeSecret => secrets::purge(server, name),
        Operation::ListKeys => keys::list(server, &page),
        Operation::ListKeyVersions => keys::versions(server, name, &page),
        Operation::GetKey => keys::get(server, name, version),
        Operation::Sign => keys::sign(server, name, version, body),
        Operation::Verify => keys::verify(server, name, version, body),
        Operation::ListCertificates => certificates::list(server, &page),
        Operation::ListCertificateVersions => certificates::versions(server, name, &page),
        Operation::GetCertificate => certificates::get(server, name, version),
        Operation::GetCertificatePolicy => certificates::get_policy(server, name),
    }
}

/// Returns the time at which the objects of the world were created.
fn created(server: &ResourceServer<'_>) -> u64 {
    server.since.as_secs().saturating_sub(BACKDATED)
}

/// Returns the attributes of an enabled object that the world declares.
fn attributes(server: &ResourceServer<'_>, validity: Option<(UnixTime, UnixTime)>) -> Value {
    let mut attributes = json!({ "enabled": true });
    if let Some((from, until)) = validity {
        attributes["nbf"] = json!(from.as_secs());
        attributes["exp"] = json!(until.as_secs());
    }
    attributes["created"] = json!(created(server));
    attributes["updated"] = json!(created(server));
    attributes["recoveryLevel"] = json!(secret::RECOVERY_LEVEL);
    attributes["recoverableDays"] = json!(RECOVERABLE_DAYS);
    attributes
}
