//! The metadata service's answers about the region of the machine.

use crate::json;
use crate::region::{DetectionFailure, Region};
use crate::shown::shown;

/// The path at which the metadata service returns the region as text.
pub const LOCATION_PATH: &str = "/metadata/instance/compute/location";

/// The API version that the client requests first.
pub const LOCATION_VERSION: &str = "2021-02-01";

/// Returns path and query of a request for the region. If the request has no version, the metadata service answers with
/// its supported versions.
pub fn location_target(version: Option<&str>) -> String {
    match version {
        Some(version) => format!("{LOCATION_PATH}?api-version={version}&format=text"),
        None => format!("{LOCATION_PATH}?format=text"),
    }
}

/// Reads the region from an answer with status 200. The text is not trimmed, and its case is kept.
///
/// # Errors
/// [`DetectionFailure::NotARegion`] if the text is not a region.
pub fn location(body: &[u8]) -> Result<Region, DetectionFailure> {
    let text = String::from_utf8_lossy(body);
    Region::parse(&text).map_err(|_| DetectionFailure::NotARegion { shown: shown(&text) })
}

/// Reads the newest version from an answer with status 400: the first of `newest-versions`. The result is `None` if the
/// list has no entry, or if its first entry is not a version. A version is 1 to 32 digits and hyphens.
pub fn newest_version(body: &[u8]) -> Option<String> {
    let members = json::parse_object(body).ok()?;
    let version = members.get("newest-versions")?.as_array()?.first()?.as_str()?;
    let is_version = (1..=32).contains(&version.len())
        && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_version.then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_region_or_it_is_refused() {
        for region in ["westus3", "WestUS3"] {
            assert_eq!(location(region.as_bytes()).unwrap().as_str(), region);
        }
        let long = "a".repeat(64);
        for bad in [
            "",
            "West US 3",
            "westus3\n",
            r#"{"location":"westus3"}"#,
            "evil.example",
            "TryAutoDetect",
            &long,
        ] {
            assert_eq!(location(bad.as_bytes()), Err(DetectionFailure::NotARegion { shown: shown(bad) }));
        }
        assert!(location(b"\xffwestus3").is_err());
    }

    #[test]
    fn the_first_listed_version_is_the_newest_one() {
        let newest = |body: &str| newest_version(body.as_bytes());
        assert_eq!(
            newest(r#"{"error":"Bad request.","newest-versions":["2022-01-01","2021-12-13"]}"#).as_deref(),
            Some("2022-01-01")
        );
        for body in [
            "",
            "[]",
            "{}",
            r#"{"newest-versions":[]}"#,
            r#"{"newest-versions":"2022-01-01"}"#,
            r#"{"newest-versions":[7]}"#,
            r#"{"newest-versions":[""]}"#,
            r#"{"newest-versions":["2022-01-01&format=json"]}"#,
            r#"{"newest-versions":["../identity"]}"#,
            r#"{"newest-versions":["111111111111111111111111111111111"]}"#,
        ] {
            assert_eq!(newest(body), None, "{body}");
        }
    }

    #[test]
    fn a_request_without_a_version_asks_for_the_versions() {
        assert_eq!(
            location_target(Some(LOCATION_VERSION)),
            "/metadata/instance/compute/location?api-version=2021-02-01&format=text"
        );
        assert_eq!(location_target(None), "/metadata/instance/compute/location?format=text");
    }
}
