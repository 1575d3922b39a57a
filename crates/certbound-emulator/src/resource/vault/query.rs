//! The query parameters of a request to a vault.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use certbound_core::request::ReceivedForm;
use http::Request;
use serde_json::{Value, json};

use super::refusal::VaultRefusal;
use super::routes::Operation;

/// The largest and the default number of entries on a page of a list.
const MAX_RESULTS: usize = 25;
/// The member of a skip token that contains the marker of the previous page's last entry.
const MARKER: &str = "NextMarker";

/// The query parameters.
#[derive(Debug)]
pub(super) struct Query {
    /// `api-version`. It is empty only for the read of a secret.
    pub(super) api_version: String,
    /// `maxresults`, if the request has it.
    max_results: Option<usize>,
    /// The marker in `$skiptoken`: the last entry of the previous page.
    pub(super) after: Option<String>,
}

impl Query {
    /// Reads the query. Unknown parameters are ignored, as in the real service.
    ///
    /// The read of a secret needs no `api-version`, so that its address is short in examples. The real service requires
    /// `api-version` for this read too.
    pub(super) fn of(request: &Request<Bytes>, operation: Operation) -> Result<Self, VaultRefusal> {
        let query = ReceivedForm::decode(request.uri().query().unwrap_or_default().as_bytes())
            .map_err(|_| VaultRefusal::bad_parameter("The query is malformed, or has a parameter twice."))?;
        let api_version = query.value("api-version").unwrap_or_default().to_owned();
        if api_version.is_empty() && operation != Operation::GetSecret {
            return Err(VaultRefusal::no_api_version());
        }
        if !api_version.is_empty() && !is_version(&api_version) {
            return Err(VaultRefusal::unknown_api_version(&api_version));
        }
        let max_results = query.value("maxresults").map(max_results).transpose()?;
        let after = query.value("$skiptoken").map(marker).transpose()?;
        Ok(Self { api_version, max_results, after })
    }

    /// Returns the number of entries on a page.
    pub(super) fn page_size(&self) -> usize {
        self.max_results.unwrap_or(MAX_RESULTS)
    }

    /// Returns the query of the next page, which begins after the entry `marker`.
    pub(super) fn next(&self, marker: &str) -> String {
        let token = URL_SAFE_NO_PAD.encode(json!({ MARKER: marker }).to_string());
        let mut query = format!("api-version={}&$skiptoken={token}", self.api_version);
        if let Some(results) = self.max_results {
            query.push_str(&format!("&maxresults={results}"));
        }
        query
    }
}

/// Returns whether the text has the form of a version: `7.4`, `7.6-preview.2`, `2016-10-01` or `2025-06-01-preview`.
fn is_version(text: &str) -> bool {
    let number = text.split_once("-preview").map_or(text, |(number, _)| number);
    let parts: Vec<&str> = number.split(['.', '-']).collect();
    text.len() <= 32
        && (2..=3).contains(&parts.len())
        && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn max_results(text: &str) -> Result<usize, VaultRefusal> {
    let results = text.parse().ok().filter(|results| (1..=MAX_RESULTS).contains(results));
    results.ok_or_else(|| {
        VaultRefusal::bad_parameter(format!("maxresults must be at least 1 and at most {MAX_RESULTS}."))
    })
}

fn marker(token: &str) -> Result<String, VaultRefusal> {
    let decoded = URL_SAFE_NO_PAD.decode(token).ok();
    let content: Option<Value> = decoded.and_then(|json| serde_json::from_slice(&json).ok());
    let marker = content.as_ref().and_then(|content| content.get(MARKER)).and_then(Value::as_str);
    marker.map(str::to_owned).ok_or_else(|| {
        VaultRefusal::bad_parameter("$skiptoken is not valid. Use the address in nextLink as it is.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(query: &str) -> Result<Query, VaultRefusal> {
        let request = Request::get(format!("/secrets?{query}")).body(Bytes::new()).unwrap();
        Query::of(&request, Operation::ListSecrets)
    }

    #[test]
    fn a_version_is_a_number_or_a_date() {
        for version in
            ["7.0", "7.4", "7.6", "7.6-preview.2", "2016-10-01", "2025-07-01", "2025-06-01-preview"]
        {
            assert_eq!(query(&format!("api-version={version}")).unwrap().api_version, version);
        }
        for version in ["7", "latest", "7.", ".4", "7.4.", "7.4%27", "7.4-beta", "-", "1-2-3-4", "7.4%0d%0a"]
        {
            let refusal = query(&format!("api-version={version}")).unwrap_err();
            assert!(refusal.message.contains("is not recognized"), "{version}: {}", refusal.message);
        }
        assert!(query("").unwrap_err().message.contains("api-version=7.6"));
    }

    #[test]
    fn the_next_page_has_the_same_size_and_version() {
        let first = query("api-version=7.4&maxresults=3").unwrap();
        assert_eq!((first.page_size(), first.after.as_deref()), (3, None));
        let next = query(&first.next("a/b c")).unwrap();
        assert_eq!((next.page_size(), next.after.as_deref()), (3, Some("a/b c")));
        assert_eq!(next.api_version, "7.4");
        assert_eq!(query("api-version=7.4").unwrap().page_size(), 25);
    }

    #[test]
    fn wrong_sizes_and_tokens_are_refused() {
        for text in [
            "maxresults=0",
            "maxresults=26",
            "maxresults=-1",
            "maxresults=a",
            "$skiptoken=x",
            "$skiptoken=e30",
        ] {
            assert_eq!(query(&format!("api-version=7.4&{text}")).unwrap_err().code, "BadParameter", "{text}");
        }
    }
}
