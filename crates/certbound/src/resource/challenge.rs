//! Claims challenges of continuous access evaluation, in the header `WWW-Authenticate`.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use certbound_core::json;
use http::header::WWW_AUTHENTICATE;

/// The maximum size of a header that is parsed.
const MAX_BYTES: usize = 16 * 1024;

/// Returns the claims of a challenge with `error="insufficient_claims"`, of any authentication scheme. A challenge whose
/// claims are not a JSON object is ignored.
pub(super) fn claims_of(answer: &http::Response<Bytes>) -> Option<String> {
    let headers = answer.headers().get_all(WWW_AUTHENTICATE);
    headers
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter(|value| value.len() <= MAX_BYTES)
        .filter_map(|value| http_auth::parse_challenges(value).ok())
        .flatten()
        .find_map(|challenge| {
            let parameter = |wanted: &str| {
                challenge
                    .params
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                    .map(|(_, value)| value.to_unescaped())
            };
            (parameter("error")? == "insufficient_claims").then(|| decode(&parameter("claims")?))?
        })
}

fn decode(claims: &str) -> Option<String> {
    let forgiving = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let standard = GeneralPurpose::new(&base64::alphabet::STANDARD, forgiving);
    let url_safe = GeneralPurpose::new(&base64::alphabet::URL_SAFE, forgiving);
    let bytes = standard.decode(claims).or_else(|_| url_safe.decode(claims)).ok()?;
    json::parse_object(&bytes).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(challenge: &str) -> http::Response<Bytes> {
        http::Response::builder().status(401).header(WWW_AUTHENTICATE, challenge).body(Bytes::new()).unwrap()
    }

    #[test]
    fn only_a_challenge_for_claims_is_answered() {
        let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
        let coded = base64::engine::general_purpose::STANDARD.encode(claims);
        let asks = |text: String| claims_of(&answer(&text));
        let whole = format!(r#"Bearer realm="", error="insufficient_claims", claims="{coded}""#);
        assert_eq!(asks(whole.clone()).as_deref(), Some(claims));
        assert_eq!(asks(whole.replace("Bearer", "mtls_pop")).as_deref(), Some(claims));
        assert_eq!(asks(whole.replace("insufficient_claims", "invalid_token")), None);
        assert_eq!(asks(r#"Bearer error="insufficient_claims", claims="%%%""#.to_owned()), None);
        assert_eq!(asks("=".to_owned()), None);
        let not_json = base64::engine::general_purpose::STANDARD.encode("not json");
        let malformed = format!(r#"Bearer error="insufficient_claims", claims="{not_json}""#);
        assert_eq!(asks(malformed.clone()), None);
        assert_eq!(asks(format!("{malformed}, {whole}")).as_deref(), Some(claims));
    }
}
