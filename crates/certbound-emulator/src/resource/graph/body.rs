//! The JSON bodies of requests to Graph.

use bytes::Bytes;
use certbound_core::json;
use http::Request;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::error::GraphError;

/// Returns the members of a JSON body, without the annotations of OData.
pub(super) fn object(request: &Request<Bytes>) -> Result<Map<String, Value>, GraphError> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let parsed = json::parse_object(request.body());
    match parsed {
        Ok(mut members) if kind == "application/json" => {
            members.retain(|name, _| !name.contains("@odata."));
            Ok(members)
        }
        _ => {
            let message = "Unable to read JSON request payload. Please ensure Content-Type header is set and payload \
                           is of valid JSON format.";
            Err(GraphError::new(400, "BadRequest", message))
        }
    }
}

/// Returns an optional text. An absent member and `null` are the same.
pub(super) fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Result<Option<&'m str>, GraphError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(GraphError::bad_request(format!("The property '{name}' must be a text."))),
    }
}
