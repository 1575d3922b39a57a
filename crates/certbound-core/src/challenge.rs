//! The challenge by which a resource demands a token with other claims (continuous access evaluation).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Returns the start of a challenge in which clients of continuous access evaluation find the authority. `login_host` is
/// the login host of the cloud. The clients parse exactly this form.
pub fn naming_authority(login_host: &str) -> String {
    format!("Bearer realm=\"\", authorization_uri=\"https://{login_host}/common/oauth2/authorize\"")
}

/// Returns the value of `WWW-Authenticate` that demands a token with these claims. `claims` is the JSON of the `claims`
/// parameter (OpenID Connect Core 1.0, section 5.5). The value has the claims in Base64.
///
/// ```
/// use certbound_core::challenge::demanding_claims;
///
/// let value = demanding_claims("login.microsoftonline.com", r#"{"access_token":{"nbf":{"essential":true}}}"#);
/// assert!(value.ends_with(
///     r#"error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ==""#
/// ));
/// ```
pub fn demanding_claims(login_host: &str, claims: &str) -> String {
    let (start, claims) = (naming_authority(login_host), STANDARD.encode(claims));
    format!("{start}, error=\"insufficient_claims\", claims=\"{claims}\"")
}
