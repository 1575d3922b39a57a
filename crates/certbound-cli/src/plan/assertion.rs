//! Existing assertions, and the placeholder of a dry run.

use std::io::Read as _;
use std::path::Path;

use certbound::clock::{Clock as _, SystemClock};
use certbound::{BindingCertificate, BoundAssertion, Cloud, Secret};
use certbound_core::jws;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::usage::Usage;

/// The largest assertion file, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads an assertion and combines it with the certificate that it is bound to. `-` is stdin.
pub(super) fn read(path: &Path, certificate: BindingCertificate) -> Result<BoundAssertion, Failure> {
    let text = read_text(path)?;
    Ok(BoundAssertion::from_jwt(Secret::new(text.trim()), certificate)?)
}

pub(super) fn read_text(path: &Path) -> Result<Zeroizing<String>, Usage> {
    let shown = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    let unreadable = |reason: String| Usage::Unreadable { path: shown.clone(), reason };
    // The buffer has its full size from the start, because a growing buffer leaves copies.
    let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES as usize + 1));
    let length = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    let length = length.map_err(|error| unreadable(error.to_string()))?;
    if length as u64 > MAX_BYTES {
        return Err(unreadable(format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// Returns an unsigned placeholder for the assertion of Leg 1. No service accepts it, and it is never sent.
pub(crate) fn stand_in(binding: &BindingCertificate, cloud: Cloud) -> Result<BoundAssertion, Failure> {
    let expiry = SystemClock::new().now().as_secs().saturating_add(3600);
    let header = object(json!({"alg": "RS256", "typ": "JWT"}));
    let claims = object(json!({
        "aud": cloud.exchange_uri(),
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
