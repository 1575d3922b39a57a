//! The agent of Azure Arc. The agent returns a token to a client that can read a file. Only trusted users of the
//! machine can read that file.

use bytes::Bytes;
use certbound_core::secret::Secret;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::caller::has_once;
use super::hosted::answered;
use super::{Platform, Rejection, check_method, nothing_here, query, reject};
use crate::answers::{json_response, nested_error_response};
use crate::fault::FaultResult;

/// The API versions that use a challenge.
const VERSIONS: [&str; 3] = ["2019-11-01", "2020-06-01", "2021-02-01"];

/// The file that the agent's challenge names. The real agent writes a file for each challenge, and removes it
/// afterwards.
#[derive(Debug)]
pub struct ArcKey {
    path: String,
    content: Secret,
}

impl ArcKey {
    /// Creates a key for the file `path`. Clients expect a file in `/var/opt/azcmagent/tokens` whose name ends with
    /// `.key`.
    pub fn new(path: impl Into<String>) -> Self {
        let content = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self { path: path.into(), content: Secret::new(content) }
    }

    /// Returns the content that the file must have.
    pub fn content(&self) -> &Secret {
        &self.content
    }
}

/// Answers a request to the agent. If the machine has no agent, the answer is 404.
pub(super) fn answer(platform: &Platform<'_>, request: &Request<Bytes>) -> Response<Bytes> {
    match token(platform, request) {
        Ok(Some(body)) => json_response(200, &body),
        Ok(None) => challenge(match platform.fault {
            Some(FaultResult::ArcChallenge { file }) => file.as_deref(),
            _ => platform.arc.map(|key| key.path.as_str()),
        }),
        Err(rejection) => rejection.response(),
    }
}

/// Returns `None` if the request does not contain the content of the file.
fn token(platform: &Platform<'_>, request: &Request<Bytes>) -> Result<Option<Value>, Rejection> {
    platform.check_caller(request)?;
    let key = platform.arc.ok_or_else(nothing_here)?;
    check_method(request, &Method::GET)?;
    platform.check_metadata_header(request)?;
    let query = query(request)?;
    if !query.value("api-version").is_some_and(|version| VERSIONS.contains(&version)) {
        let text = format!("api-version must be one of {}.", VERSIONS.join(", "));
        return Err(reject(400, "invalid_request", text));
    }
    let proof = format!("Basic {}", key.content.expose());
    if !has_once(request, AUTHORIZATION.as_str(), &proof) {
        return Ok(None);
    }
    let identity = platform.identity(&query, &["client_id", "object_id", "msi_res_id"])?;
    let mut body = answered(platform, identity, query.value("resource"))?;
    body["expires_in"] = json!((platform.world.lifetime(true) - 1).to_string());
    // The answer repeats the selected identity, so that the client can check the selection. An old agent does not
    // repeat the identity.
    for name in ["object_id", "msi_res_id"] {
        if let Some(value) = query.value(name) {
            body[name] = json!(value);
        }
    }
    Ok(Some(body))
}

/// Returns the challenge. It names `file`, if `file` is not `None`.
fn challenge(file: Option<&str>) -> Response<Bytes> {
    let text = "Read the file that WWW-Authenticate names, and send its content in the Authorization header.";
    let mut response = nested_error_response(401, "unauthorized", text);
    if let Some(Ok(header)) = file.map(|file| HeaderValue::try_from(format!("Basic realm={file}"))) {
        response.headers_mut().insert(WWW_AUTHENTICATE, header);
    }
    response
}
