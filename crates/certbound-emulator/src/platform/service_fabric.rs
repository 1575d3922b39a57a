//! The token service of a Service Fabric node. The service uses TLS with a self-signed certificate. Programs get the
//! thumbprint of this certificate from their environment.

use bytes::Bytes;
use certbound_core::request::ReceivedForm;
use http::{Method, Request, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::hosted::PLATFORM_SECRET;
use super::selector::unknown_selector;
use super::{Platform, Rejection, check_method, nothing_here, query, reject};
use crate::answers::json_response;
use crate::paths::{SERVICE_FABRIC, without_slash};
use crate::world::ManagedIdentity;

/// The version that certbound uses, and the older version that other libraries use.
const VERSIONS: [&str; 2] = ["2020-05-01", "2019-07-01-preview"];

/// Answers a request to the endpoint's listener, which has only the path [`SERVICE_FABRIC`].
pub(super) fn answer(platform: &Platform<'_>, request: &Request<Bytes>) -> Response<Bytes> {
    match token(platform, request) {
        Ok(body) => json_response(200, &body),
        Err(Rejection { status, error, description, .. }) => {
            // The checks that all platforms share have codes in snake case.
            let code = match error {
                "invalid_request" => "InvalidRequest",
                "method_not_allowed" => "MethodNotAllowed",
                "not_found" => "NotFound",
                own => own,
            };
            let correlation_id = Uuid::new_v4().to_string();
            let error = json!({ "correlationId": correlation_id, "code": code, "message": description });
            json_response(status, &json!({ "error": error }))
        }
    }
}

fn token(platform: &Platform<'_>, request: &Request<Bytes>) -> Result<Value, Rejection> {
    platform.check_caller(request)?;
    if without_slash(request.uri().path()) != SERVICE_FABRIC {
        return Err(nothing_here());
    }
    check_method(request, &Method::GET)?;
    check_secret(request)?;
    let query = query(request)?;
    check_version(&query)?;
    let resource = query.value("resource").ok_or_else(|| {
        reject(400, "ArgumentNullOrEmpty", "The parameter 'resource' should not be null or empty string.")
    })?;
    let identity = identity(platform, &query)?;
    check_hash(&query)?;
    let capabilities = query.value("xms_cc").unwrap_or_default();
    let capabilities = capabilities.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
    let token = platform.plain_token(identity, resource, capabilities);
    // A refusal of the token service reaches the caller as a failure of the node.
    let token =
        token.map_err(|rejection| Rejection { status: 500, error: "InternalServerError", ..rejection })?;
    Ok(json!({
        "token_type": "Bearer",
        "access_token": token["access_token"],
        "expires_on": platform.now.as_secs() + platform.world.lifetime(true),
        "resource": resource,
    }))
}

fn check_secret(request: &Request<Bytes>) -> Result<(), Rejection> {
    let mut values = request.headers().get_all("secret").iter();
    match (values.next(), values.next()) {
        (Some(secret), None) if secret == PLATFORM_SECRET => Ok(()),
        (Some(_), None) => Err(not_found()),
        _ => Err(reject(400, "SecretHeaderNotFound", "Secret is not found in the request headers.")),
    }
}

fn check_version(query: &ReceivedForm) -> Result<(), Rejection> {
    let version = query.value("api-version").unwrap_or_default();
    if VERSIONS.contains(&version) {
        return Ok(());
    }
    let known = VERSIONS.join("' and '");
    let text = format!("The api-version '{version}' is not supported. Supported are '{known}'.");
    Err(reject(400, "InvalidApiVersion", text))
}

/// Returns the application's own identity, or the identity with the given object id.
fn identity<'e>(platform: &Platform<'e>, query: &ReceivedForm) -> Result<&'e ManagedIdentity, Rejection> {
    if let Some(name) = unknown_selector(query, &["principalId"]) {
        let text = format!(
            "Service Fabric selects an identity by 'principalId'; the parameter '{name}' is not supported."
        );
        return Err(reject(400, "InvalidParameter", text));
    }
    platform.identity(query, &["principalId"]).map_err(|_| not_found())
}

/// Checks that `token_sha256_to_refresh` is absent or a hash. The hash of the rejected token changes nothing, because
/// the emulated node issues a new token for every request.
fn check_hash(query: &ReceivedForm) -> Result<(), Rejection> {
    let is_hash =
        |hash: &str| hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match query.value("token_sha256_to_refresh") {
        Some(hash) if !is_hash(hash) => {
            let text = "token_sha256_to_refresh must be a SHA-256 in lower-case hexadecimal.";
            Err(reject(400, "InvalidParameter", text))
        }
        _ => Ok(()),
    }
}

fn not_found() -> Rejection {
    reject(404, "ManagedIdentityNotFound", "Managed identity not found for the specified application host.")
}
