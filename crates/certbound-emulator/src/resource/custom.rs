//! A custom API. Its answers contain the items of its resource in the world, in the member `orders`.

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::json;

use super::{Caller, ResourceServer};
use crate::answers::json_response;

pub(super) fn success(
    server: &ResourceServer<'_>,
    request: &Request<Bytes>,
    caller: &Caller,
) -> Response<Bytes> {
    let items = &server.resource.items;
    let path = request.uri().path();
    if request.method() != Method::GET {
        return json_response(405, &json!({ "error": "method_not_allowed" }));
    }
    let asked = path.trim_end_matches('/').rsplit_once('/').map_or("", |(_, last)| last);
    let body = match (path, items.get(asked)) {
        ("/" | "/orders", _) => json!(items),
        (_, Some(value)) => json!({ asked: value }),
        _ => return json_response(404, &json!({ "error": "not_found" })),
    };
    json_response(
        200,
        &json!({ "orders": body, "caller": caller.application, "certificate": caller.bound_to }),
    )
}
