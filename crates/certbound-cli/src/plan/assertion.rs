//! Existing assertions, and the placeholder of a dry run.

use std::path::Path;

use certbound::clock::{Clock as _, SystemClock};
use certbound::{BindingCertificate, BoundAssertion, Secret};
use certbound_core::jws;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::input;
use crate::usage::Usage;

/// The largest assertion file, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads an assertion and combines it with the certificate that it is bound to. `-` is stdin.
pub(super) fn read(path: &Path, certificate: BindingCertificate) -> Result<BoundAssertion, Failure> {
    let text = read_text(path)?;
    Ok(BoundAssertion::from_jwt(Secret::new(text.trim()), certificate)?)
}

pub(super) fn read_text(path: &Path) -> Result<Zeroizing<String>, Usage> {
    input::text(path, &input::file_or_stdin(path, MAX_BYTES)?)
}

/// Returns an unsigned placeholder for the assertion of Leg 1, for the token exchange with this audience. No service
/// accepts it, and it is never sent.
pub(crate) fn stand_in(binding: &BindingCertificate, audience: &str) -> Result<BoundAssertion, Failure> {
    let expiry = SystemClock::new().now().as_secs().saturating_add(3600);
    let header = object(json!({"alg": "RS256", "typ": "JWT"}));
    let claims = object(json!({
        "aud": audience,
        "exp": expiry,
        "cnf": {"x5t#S256": binding.thumbprint().x5t_s256()},
    }));
    let jwt = jws::assemble(jws::signing_input(&header, &claims), b"never sent");
    Ok(BoundAssertion::from_jwt(jwt, binding.clone())?)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
