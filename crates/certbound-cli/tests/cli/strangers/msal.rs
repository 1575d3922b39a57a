//! MSAL for Python, unmodified, as the command of `emulator run`.

use super::python;

/// Gets Bearer tokens with each of MSAL's three credentials, and MSAL's errors for refusals.
const TOKENS: &str = include_str!("msal_tokens.py");

#[test]
fn it_gets_bearer_tokens_with_secret_certificate_and_assertion() {
    let result = python::script_under_run(TOKENS);
    for credential in ["secret", "certificate", "assertion", "callback"] {
        let answer = &result[credential];
        assert_eq!(answer["token_type"], "Bearer", "{credential}: {answer}");
        assert_eq!(answer["cnf"], serde_json::Value::Null, "{credential}: {answer}");
        assert_eq!(answer["token_source"], "identity_provider", "{credential}: {answer}");
        assert_eq!(answer["again"], "cache", "{credential}: {answer}");
    }
    assert_eq!(result["secret"]["appidacr"], "1");
    assert_eq!(result["certificate"]["appidacr"], "2");
    assert_eq!(result["assertion"]["appidacr"], "2");
    // The resource accepts the token of the certificate on a connection without a certificate.
    assert_eq!(result["certificate"]["resource"], 200, "{result}");
}

#[test]
fn it_understands_each_refusal() {
    let result = python::script_under_run(TOKENS);
    let refused = &result["refused"];
    let expected = serde_json::json!({
        "wrong secret": ["invalid_client", [7_000_215]],
        "unknown application": ["unauthorized_client", [700_016]],
        "unknown resource": ["invalid_resource", [500_011]],
        "another certificate": ["invalid_client", [700_027]],
        "assertion for another audience": ["invalid_client", [700_212]],
        "no assertion at all": ["invalid_request", [50_027]],
        "expired assertion": ["invalid_client", [700_024]],
        "expired proof by certificate": ["invalid_client", [700_024]],
    });
    assert_eq!(refused, &expected);
    let expected = serde_json::json!({
        "error": ["interaction_required", "message_only", [53_003]],
        "claims": r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#,
        "token_source": "identity_provider",
        "sent": {"acrs": {"essential": true, "value": "c1"}},
    });
    assert_eq!(result["challenged"], expected);
}
