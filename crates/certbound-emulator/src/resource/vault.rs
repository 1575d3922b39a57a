//! Answers in the form of Azure Key Vault. The client presents its certificate in the first handshake, because the
//! emulator does not renegotiate.

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::json;

use super::ResourceServer;
use crate::answers::{json_response, nested_error_response};
use crate::issue::BACKDATED;

/// Sets the headers that every answer of a vault has.
pub(super) fn sign(response: &mut Response<Bytes>) {
    for (name, value) in [("x-ms-keyvault-region", "emulated"), ("x-ms-keyvault-service-version", "1.9.0.0")]
    {
        response.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
}

pub(super) fn success(server: &ResourceServer<'_>, request: &Request<Bytes>) -> Response<Bytes> {
    if request.method() != Method::GET {
        return nested_error_response(501, "NotImplemented", "This emulator accepts GET only.");
    }
    let name =
        request.uri().path().strip_prefix("/secrets/").map(|rest| rest.split('/').next().unwrap_or(rest));
    let Some((name, value)) = name.and_then(|name| server.resource.items.get_key_value(name)) else {
        return nested_error_response(
            404,
            "SecretNotFound",
            "A secret with this name was not found in this key vault.",
        );
    };
    let time = server.now.as_secs().saturating_sub(BACKDATED);
    json_response(
        200,
        &json!({
            "value": value,
            "id": format!("https://{}/secrets/{name}/00000000000000000000000000000001", server.host),
            "attributes": {
                "enabled": true,
                "created": time,
                "updated": time,
                "recoveryLevel": "Recoverable+Purgeable",
                "recoverableDays": 90,
            },
            "tags": {},
        }),
    )
}
