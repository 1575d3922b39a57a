//! The checks of the request's form, before the client is authenticated.

use bytes::Bytes;
use certbound_core::credential::{JWT_BEARER, JWT_POP};
use certbound_core::json;
use certbound_core::request::{BEARER, MTLS_POP, ReceivedForm};
use http::header::AUTHORIZATION;
use http::{Method, Request};
use serde_json::Value;

use crate::answers::{Refusal, is_form, refusal};

/// The client's credential in the body.
pub(super) enum Credential<'f> {
    None,
    Secret(&'f str),
    BoundAssertion(&'f str),
    SignedAssertion(&'f str),
}

impl<'f> Credential<'f> {
    /// Returns the credential of a form. Refuses two credentials, an incomplete credential, and an unknown assertion
    /// type.
    pub(super) fn of(form: &'f ReceivedForm) -> Result<Self, Refusal> {
        let secret = form.value("client_secret");
        match (form.value("client_assertion"), form.value("client_assertion_type"), secret) {
            (None, None, None) => Ok(Self::None),
            (None, None, Some(secret)) => Ok(Self::Secret(secret)),
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                Err(refusal(9_002_313, "Invalid request. The client is authenticated in two ways at once."))
            }
            (Some(_), None, None) => Err(missing("client_assertion_type")),
            (None, Some(_), None) => Err(missing("client_assertion")),
            (Some(assertion), Some(JWT_POP), None) => Ok(Self::BoundAssertion(assertion)),
            (Some(assertion), Some(JWT_BEARER), None) => Ok(Self::SignedAssertion(assertion)),
            (Some(_), Some(_), None) => Err(refusal(
                7_000_216,
                "'client_assertion', 'client_secret' or 'request' is required, with a supported \
                 'client_assertion_type'.",
            )),
        }
    }
}

pub(super) fn verb_and_content_type(request: &Request<Bytes>) -> Result<(), Refusal> {
    if request.method() != Method::POST {
        return Err(refusal(900_561, "The endpoint only accepts POST requests."));
    }
    if !is_form(request) {
        return Err(missing("grant_type"));
    }
    if request.headers().contains_key(AUTHORIZATION) {
        return Err(refusal(
            9_002_313,
            "Invalid request. This emulator does not emulate the header 'Authorization': send 'client_id' and \
             'client_secret' in the body.",
        ));
    }
    Ok(())
}

pub(super) fn required_parameters(form: &ReceivedForm) -> Result<(), Refusal> {
    let absent = ["grant_type", "client_id", "scope"].into_iter().find(|name| form.value(name).is_none());
    absent.map_or(Ok(()), |name| Err(missing(name)))
}

fn missing(name: &str) -> Refusal {
    refusal(900_144, format!("The request body must contain the following parameter: '{name}'."))
}

pub(super) fn grant_type(form: &ReceivedForm) -> Result<(), Refusal> {
    match form.value("grant_type") {
        Some("client_credentials") => Ok(()),
        _ => Err(refusal(
            70_003,
            "The app requested an unsupported grant type. This emulator supports 'client_credentials' only.",
        )),
    }
}

pub(super) fn refuse_what_is_not_emulated(form: &ReceivedForm) -> Result<(), Refusal> {
    match ["fmi_path", "req_cnf", "request", "resource", "code", "username"]
        .into_iter()
        .find(|name| form.has(name))
    {
        Some(name) => Err(refusal(
            9_002_313,
            format!("Invalid request. This emulator does not emulate the parameter '{name}'."),
        )),
        None => Ok(()),
    }
}

/// The type of token that a form requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenType {
    /// `mtls_pop`: a bound token.
    Bound,
    /// `bearer`, in any case: a Bearer token over mutual TLS.
    Bearer,
    /// The form names no type, so the service issues a Bearer token.
    Unnamed,
}

/// Returns the type of token. `bearer` is accepted on mutual-TLS hosts only. Any other value is refused, because a
/// Bearer token would be a silent downgrade.
pub(super) fn token_type(form: &ReceivedForm, mutual_tls: bool) -> Result<TokenType, Refusal> {
    match (form.has("token_type"), form.value("token_type")) {
        (false, _) => Ok(TokenType::Unnamed),
        (true, Some(MTLS_POP)) => Ok(TokenType::Bound),
        (true, Some(name)) if mutual_tls && name.eq_ignore_ascii_case(BEARER) => Ok(TokenType::Bearer),
        (true, _) => Err(refusal(
            9_002_313,
            "Invalid request. The value of 'token_type' is not supported: remove the parameter, send 'mtls_pop', or \
             send 'bearer' to a mutual-TLS host.",
        )),
    }
}

/// Returns the client's capabilities in the parameter `claims`, at most 16.
pub(super) fn capabilities(form: &ReceivedForm) -> Result<Vec<String>, Refusal> {
    let Some(claims) = form.value("claims") else { return Ok(Vec::new()) };
    let claims = json::parse_object(claims.as_bytes()).map_err(|error| {
        refusal(9_002_313, format!("Invalid request. The value of 'claims' is malformed: {error}."))
    })?;
    let values = claims.get("access_token").and_then(|it| it.get("xms_cc")).and_then(|it| it.get("values"));
    let values = values.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(values.iter().take(16).filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Reads the body. Refuses a name that occurs twice and a value whose encoding is malformed.
pub(super) fn decode(body: &[u8]) -> Result<ReceivedForm, Refusal> {
    ReceivedForm::decode(body)
        .map_err(|error| refusal(9_002_313, format!("Invalid request. The body is malformed: {error}.")))
}
