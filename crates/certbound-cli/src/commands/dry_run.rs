//! `--dry-run`: prints the known requests that a command would send. It sends no request.

use std::sync::Arc;

use bytes::Bytes;
use certbound::error::Leg;
use serde_json::{Map, Value, json};

use crate::failure::{Failure, number, one};
use crate::flags::Format;
use crate::observers::{Recorder, Seen, Witness};
use crate::output::{self, Terminal};

/// The text that stands for the unknown assertion of Leg 1.
const UNKNOWN: &str = "<not yet known: Leg 1 returns it>";

/// Requests that were not sent.
#[derive(Default)]
pub(super) struct DryRun {
    recorder: Arc<Recorder>,
    assertion_unknown: bool,
    /// Whether the command would send further requests that depend on the answer to the last request.
    incomplete: bool,
    call: Option<http::Request<Bytes>>,
}

impl DryRun {
    pub(super) fn observer(&self) -> Arc<Recorder> {
        Arc::clone(&self.recorder)
    }

    /// Returns the recorder as the [`Witness`] that records the requests to the machine's platform.
    pub(super) fn witness(&self) -> Option<Arc<dyn Witness>> {
        Some(Arc::clone(&self.recorder) as _)
    }

    /// Records that the next request depends on the answer to the last request.
    pub(super) fn stops_there(&mut self) {
        self.incomplete = true;
    }

    /// Records that Leg 2's assertion is a placeholder. The placeholder must not be printed as a known value.
    pub(super) fn assertion_is_a_stand_in(&mut self) {
        self.assertion_unknown = true;
    }

    /// Records the request to the resource, which would follow the token requests.
    pub(super) fn then_call(&mut self, request: http::Request<Bytes>) {
        self.call = Some(request);
    }

    /// Prints the requests.
    pub(super) fn print(&self, terminal: Terminal) -> Result<(), Failure> {
        let mut requests = self.recorder.requests();
        // The requests after the detection do not contain the region, because the metadata service did not answer.
        let detection = requests.iter().position(Seen::detects_region);
        requests.truncate(detection.map_or(requests.len(), |at| at + 1));
        let complete = !self.incomplete && detection.is_none();
        match terminal.format() {
            Format::Json => {
                let token = requests.iter().map(|request| self.token_request(request));
                let call = self.call.iter().map(call_request);
                let all: Vec<Value> = token.chain(call).collect();
                let result = json!({"dryRun": true, "complete": complete, "requests": all});
                output::print(&output::json(&result, 0)?)
            }
            _ => output::print_text(&self.text(&requests, complete)),
        }
    }

    fn token_request(&self, request: &Seen) -> Value {
        let pairs = |pairs: Vec<(String, String)>| {
            pairs.into_iter().map(|(name, value)| (name, value.into())).collect()
        };
        let headers: Map<String, Value> = pairs(request.headers.clone());
        let body = request.body.iter().map(|(name, value)| (name.clone(), self.value(request, name, value)));
        let body: Map<String, Value> = pairs(body.collect());
        json!({
            "leg": request.leg.map(number),
            "method": request.method,
            "url": request.url,
            "certificate": request.presents.flatten().map(|thumbprint| thumbprint.x5t_s256()),
            "headers": headers,
            "body": body,
        })
    }

    fn value(&self, request: &Seen, name: &str, value: &str) -> String {
        let unknown = self.assertion_unknown && request.leg != Some(Leg::One) && name == "client_assertion";
        if unknown { UNKNOWN.to_owned() } else { value.to_owned() }
    }

    fn text(&self, requests: &[Seen], complete: bool) -> String {
        let mut text = String::from("Nothing was sent. These are the requests:\n");
        for request in requests {
            text.push('\n');
            for line in request.lines() {
                let line = match line.split_once('=') {
                    Some((name @ "client_assertion", value)) => {
                        format!("{name}={}", self.value(request, name, value))
                    }
                    _ => line,
                };
                text.push_str(&format!("{}\n", one(&line)));
            }
        }
        if !complete {
            text.push_str("\nThe next requests depend on the answer.\n");
        }
        if let Some(request) = &self.call {
            text.push_str(&format!("\n{} {} (resource)\n", request.method(), request.uri()));
            text.push_str("authorization: <redacted: the token>\n");
            for (name, value) in request.headers() {
                text.push_str(&format!("{name}: {}\n", one(&shown(name, value))));
            }
            text.push_str(&format!("<a body of {} bytes>\n", request.body().len()));
        }
        text
    }
}

fn call_request(request: &http::Request<Bytes>) -> Value {
    let headers: Map<String, Value> =
        request.headers().iter().map(|(name, value)| (name.to_string(), shown(name, value).into())).collect();
    json!({
        "leg": null,
        "method": request.method().as_str(),
        "url": request.uri().to_string(),
        "headers": headers,
        "authorization": "<redacted: the token>",
        "bodyBytes": request.body().len(),
    })
}

/// Formats a header. A header of the caller may contain a secret, such as a cookie or a key, so only the values of
/// plain headers are printed.
fn shown(name: &http::HeaderName, value: &http::HeaderValue) -> String {
    match is_plain(name) {
        true => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        false => format!("<redacted, {} bytes>", value.len()),
    }
}

/// Returns whether a header of this name contains no secret of the caller.
pub(super) fn is_plain(name: &http::HeaderName) -> bool {
    matches!(name.as_str(), "accept" | "content-type" | "user-agent")
}
