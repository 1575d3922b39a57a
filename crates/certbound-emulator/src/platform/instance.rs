//! The description of the machine: the instance metadata.

use bytes::Bytes;
use certbound_core::environment::Cloud;
use certbound_core::request::ReceivedForm;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde_json::{Value, json};

use super::{Platform, Rejection, check_version, nothing_here, reject};
use crate::answers::json_response;
use crate::paths::{COMPUTE_PATH, VERSIONS_PATH};

/// The API versions that have all members of the description.
const VERSIONS: [&str; 14] = [
    "2020-06-01",
    "2020-07-15",
    "2020-09-01",
    "2020-10-01",
    "2020-12-01",
    "2021-01-01",
    "2021-02-01",
    "2021-03-01",
    "2021-05-01",
    "2021-10-01",
    "2021-11-01",
    "2021-11-15",
    "2021-12-13",
    "2023-07-01",
];

/// Answers with the list of versions, or with the description or a part of it, as JSON or as text. A single value has
/// only the format `text`.
pub(super) fn answer(
    platform: &Platform<'_>,
    path: &str,
    query: &ReceivedForm,
) -> Result<Response<Bytes>, Rejection> {
    if path == VERSIONS_PATH {
        return Ok(json_response(200, &json!({ "apiVersions": VERSIONS })));
    }
    check_version(query, "api-version", &VERSIONS)?;
    let compute = compute(platform);
    let below = path.strip_prefix(COMPUTE_PATH).unwrap_or_default().split('/').skip(1);
    let found =
        below.into_iter().try_fold(&compute, |value, name| value.get(name)).ok_or_else(nothing_here)?;
    match (query.value("format").unwrap_or("json"), found) {
        ("json", Value::Object(_)) => Ok(json_response(200, found)),
        ("text", Value::Object(members)) => {
            let names = members.iter().map(|(name, value)| match value {
                Value::Object(_) => format!("{name}/"),
                _ => name.clone(),
            });
            Ok(text(names.collect::<Vec<_>>().join("\n")))
        }
        ("text", leaf) => Ok(text(leaf.as_str().unwrap_or_default().to_owned())),
        ("json", _) => Err(reject(400, "Bad request", "A single value has the format 'text' only.")),
        _ => Err(reject(400, "Bad request", "The format is neither 'json' nor 'text'.")),
    }
}

/// Returns the description. All of its single values are strings.
fn compute(platform: &Platform<'_>) -> Value {
    let machine = &platform.world.machine;
    let mut compute = json!({
        "location": machine.location,
        "name": machine.name,
        "osType": "Linux",
        "resourceGroupName": machine.resource_group,
        "resourceId": machine.resource_id(),
        "securityProfile": { "secureBootEnabled": "true", "securityType": "TrustedLaunch", "virtualTpmEnabled": "true" },
        "subscriptionId": machine.subscription_id,
        "vmId": machine.vm_id,
    });
    let environment = match machine.cloud {
        Cloud::Public => "AzurePublicCloud",
        Cloud::UsGovernment => "AzureUSGovernmentCloud",
        Cloud::China => "AzureChinaCloud",
        Cloud::GermanyLegacy => "AzureGermanCloud",
        Cloud::France => "AzureBleuCloud",
        // The names of the other clouds are not known.
        _ => return compute,
    };
    compute["azEnvironment"] = json!(environment);
    compute
}

fn text(text: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
