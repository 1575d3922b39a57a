//! Parses arbitrary answers of a platform. A token can be sent in a header, an error contains no secret and no control
//! characters, and an endpoint is an `https` URL.
#![no_main]

use certbound_core::managed_identity::{
    BearerAnswer, ComputeMetadata, IssuedCredential, MachineError, PlatformMetadata,
};
use certbound_core::refusal::HeaderFacts;
use certbound_core::time::UnixTime;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let now = UnixTime::from_secs(1_800_000_000);
    if let Ok(answer) = BearerAnswer::parse(data, now) {
        assert!(answer.expires_at > now);
        assert!(answer.refresh_at.is_none_or(|at| at > now && at < answer.expires_at));
        assert!(answer.access_token.expose().bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!answer.access_token.is_empty());
    }
    for status in [400, 404, 500] {
        let shown = MachineError::parse(status, &HeaderFacts::default(), data).to_string();
        assert!(!shown.contains(|c: char| c.is_control()), "{shown:?}");
        let jwt = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric());
        assert!(!shown.split("eyJ").skip(1).any(jwt), "{shown}");
    }
    if let Ok(metadata) = PlatformMetadata::parse(Some("IMDS"), data) {
        assert!(metadata.cu_id.to_json().starts_with("{\"vm"));
        assert!(http::HeaderValue::from_str(&metadata.client_id).is_ok());
    }
    if let Ok(issued) = IssuedCredential::parse(data) {
        let endpoint: http::Uri = issued.token_endpoint().parse().unwrap();
        assert_eq!(endpoint.scheme_str(), Some("https"));
    }
    let _ = ComputeMetadata::parse(data).map(|machine| machine.guards_keys());
});
