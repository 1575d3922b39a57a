//! The client's own signed assertion, for a Bearer token by certificate (RFC 7523, section 2.2).

use certbound_core::jws;
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;
use serde_json::{Map, Value};
use std::time::Duration;
use uuid::Uuid;

use crate::certificate::{BindingCertificate, BindingCertificateError};
use crate::leg1::AssertionRequest;

/// How long a signed assertion is good for.
const LIFETIME: Duration = Duration::from_secs(600);

/// `PS256` with `x5t#S256` and the leaf as `x5c`; the audience is the token endpoint of this very request.
///
/// The times are strings and the certificate one string, as the service's own clients send them.
pub(crate) fn sign(
    certificate: &BindingCertificate,
    request: &AssertionRequest,
    now: UnixTime,
) -> Result<Secret, BindingCertificateError> {
    use base64::Engine as _;

    let leaf = base64::engine::general_purpose::STANDARD.encode(certificate.chain().leaf_der());
    let header = object([
        ("alg", "PS256".to_owned()),
        ("typ", "JWT".to_owned()),
        ("x5t#S256", certificate.thumbprint().x5t_s256()),
        ("x5c", leaf),
    ]);
    let claims = object([
        ("aud", request.token_endpoint.clone()),
        ("iss", request.client_id.to_string()),
        ("sub", request.client_id.to_string()),
        ("nbf", now.to_string()),
        ("exp", now.plus(LIFETIME).to_string()),
        ("jti", Uuid::new_v4().as_hyphenated().to_string()),
    ]);
    let input = jws::signing_input(&header, &claims);
    let signature = certificate.sign_ps256(input.as_bytes())?;
    Ok(jws::assemble(input, &signature))
}

fn object<const N: usize>(members: [(&str, String); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect()
}
