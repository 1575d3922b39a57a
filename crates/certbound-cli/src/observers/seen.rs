//! A request in the form in which it is printed. It contains no secret.

use bytes::Bytes;
use certbound::Thumbprint;
use certbound::error::Leg;
use certbound::observe::ObservedRequest;
use certbound_core::managed_identity::LOCATION_PATH;

use crate::output::leg_name;

/// A request to a token service or to the machine's platform.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) leg: Option<Leg>,
    /// The purpose of the request, in words.
    pub(crate) station: String,
    /// The certificate that TLS presents. The value is `None` for a request without TLS.
    pub(crate) presents: Option<Option<Thumbprint>>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<(String, String)>,
}

/// Headers of a request to a platform that are not secret. The report shows only the lengths of other headers.
const PLAIN_HEADERS: [&str; 6] =
    ["accept", "content-type", "metadata", "x-client-sku", "x-client-ver", "x-ms-client-request-id"];
const PLAIN_PARAMETERS: [&str; 1] = ["resource"];

impl Seen {
    pub(crate) fn of_token_request(request: &ObservedRequest) -> Self {
        let body = request.body.iter().map(|(name, value)| (name.clone(), value.to_string()));
        Self {
            method: "POST".to_owned(),
            url: request.url.clone(),
            leg: request.leg,
            station: leg_name(request.leg),
            presents: Some(request.presents),
            headers: request.headers.clone(),
            body: body.collect(),
        }
    }

    /// Creates the report on a request to the machine's platform.
    pub(super) fn of_platform_request(request: &http::Request<Bytes>) -> Self {
        let headers = request.headers().iter().map(|(name, value)| {
            let plain = PLAIN_HEADERS.contains(&name.as_str()).then(|| value.to_str().ok()).flatten();
            (name.to_string(), plain.map_or_else(|| redacted(value.len()), str::to_owned))
        });
        Self {
            method: request.method().to_string(),
            url: request.uri().to_string(),
            leg: None,
            station: "platform".to_owned(),
            presents: (request.uri().scheme_str() == Some("https")).then_some(None),
            headers: headers.collect(),
            body: members(request.body()),
        }
    }

    /// Returns whether this request reads the region from the metadata service.
    pub(crate) fn detects_region(&self) -> bool {
        self.url.contains(LOCATION_PATH)
    }

    /// Returns the lines of the report: the request line with its purpose, TLS, headers, body.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} {} ({})", self.method, self.url, self.station)];
        match self.presents {
            Some(Some(thumbprint)) => lines.push(format!("TLS presents the certificate {thumbprint}")),
            Some(None) => lines.push("TLS presents no certificate".to_owned()),
            None => {}
        }
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        lines.extend(self.body.iter().map(|(name, value)| format!("{name}={value}")));
        lines
    }
}

/// Returns the members of a body that is a JSON object or a form.
fn members(body: &[u8]) -> Vec<(String, String)> {
    if let Ok(object) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body) {
        let length = |value: &serde_json::Value| value.as_str().map_or(0, str::len);
        return object.iter().map(|(name, value)| (name.clone(), redacted(length(value)))).collect();
    }
    let plain = |name: &str| PLAIN_PARAMETERS.contains(&name);
    let pairs =
        body.split(|byte| *byte == b'&').filter_map(|pair| str::from_utf8(pair).ok()?.split_once('='));
    pairs
        .map(|(name, value)| {
            (name.to_owned(), if plain(name) { value.to_owned() } else { redacted(value.len()) })
        })
        .collect()
}

fn redacted(length: usize) -> String {
    format!("<redacted, {length} bytes>")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_platforms_secrets_are_told_by_their_length() {
        let request = Request::get("http://127.0.0.1:1/token?resource=r").header("metadata", "true");
        let request = request.header("secret", "hidden").header("authorization", "Basic hidden");
        let seen = Seen::of_platform_request(&request.body(Bytes::new()).unwrap());
        let lines = seen.lines();
        assert_eq!(lines[0], "GET http://127.0.0.1:1/token?resource=r (platform)");
        assert!(
            lines.contains(&"metadata: true".to_owned())
                && lines.contains(&"secret: <redacted, 6 bytes>".to_owned())
        );
        assert!(!lines.concat().contains("hidden") && !lines.concat().contains("TLS"), "{lines:?}");

        let body = Bytes::from_static(br#"{"csr":"hidden","attestation_token":"hidden too"}"#);
        let posted = Seen::of_platform_request(&Request::post("https://127.0.0.1:1/").body(body).unwrap());
        let lines = posted.lines().join("\n");
        assert!(lines.contains("csr=<redacted, 6 bytes>") && !lines.contains("hidden"), "{lines}");
        assert!(lines.contains("TLS presents no certificate"), "{lines}");
        assert_eq!(members(b"resource=r&other=hidden")[0], ("resource".to_owned(), "r".to_owned()));
        assert!(!format!("{:?}", members(b"resource=r&other=hidden")).contains("hidden"));
    }
}
