//! A service that repeats the request's secrets or sends terminal commands. Neither the secrets nor the commands may
//! appear in an error or in the details of a token.

use certbound::credential::{NoCredential, unbound_fn};
use certbound::managed_identity::{Attestation, AttestationRequest, IdentityId};
use certbound::{
    Authority, BoundAssertion, Client, ClientBuilder, Cloud, Error, ManagedIdentity, ResourceScope, Secret,
    TenantId, UnixTime,
};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, PlatformEndpoint};
use certbound_testkit::{AnsweringTransport, ManualClock, Pair, Seen};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::two_leg::vault;

const SECRET: &str = "Cx~8Q.a-very/secret+text=with\"marks";
const NOW: UnixTime = UnixTime::from_secs(1_785_000_000);
/// Two encodings of a terminal command, and a change of text direction.
const ACTS: &str = "\u{1b}]0;title\u{7}\u{9b}2J\u{202e}\r\n";

fn builder(answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> ClientBuilder<NoCredential> {
    let authority = Authority::public(TenantId::parse("contoso.com").unwrap());
    Client::builder(authority, builtin::APP)
        .with_transport(AnsweringTransport::new(answer))
        .with_clock(ManualClock::at(NOW))
}

/// Returns a refusal in which every text is `text`.
fn refusal(text: &str) -> (u16, String) {
    let members = ["error_description", "suberror", "correlation_id", "trace_id", "timestamp", "error_uri"];
    let mut body = json!({ "error": text, "claims": json!({ "x": text }).to_string(), "more": text });
    for member in members {
        body[member] = text.into();
    }
    (400, body.to_string())
}

/// Returns every text form of an error.
fn seen(error: &Error) -> String {
    let all =
        format!("{error}\n{error:?}\n{error:#?}\n{}\n{}\n{:?}", error.code(), error.fix(), error.claims());
    assert!(!error.to_string().contains(certbound_core::shown::is_active), "{error}");
    assert!(!error.code().contains(certbound_core::shown::is_active), "{error}");
    all
}

/// Checks that the text contains no usable part of the secret, in any encoding.
fn assert_without(text: &str, secret: &str) {
    let escaped = json!(secret).to_string();
    let debug = format!("{secret:?}");
    let percent: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    for secret in [secret, escaped.trim_matches('"'), debug.trim_matches('"'), &percent] {
        let parts: Vec<char> = secret.chars().collect();
        for part in parts.windows(15) {
            let part: String = part.iter().collect();
            assert!(!text.contains(&part), "{part} in {text}");
        }
    }
}

/// Returns a parameter as a service may repeat it: unchanged and decoded.
fn echoed(seen: &Seen, name: &str) -> String {
    let raw = seen.parameter(name).to_owned();
    let decoded: String =
        form_urlencoded::parse(format!("x={raw}").as_bytes()).map(|(_, value)| value.into_owned()).collect();
    format!(
        "AADSTS7000215: in {ACTS} {raw} and {decoded}, whose beginning is {}",
        decoded.get(..12).unwrap_or_default()
    )
}

#[tokio::test]
async fn a_refusal_that_repeats_the_credential_is_kept_without_it() {
    let client = builder(|seen| refusal(&echoed(seen, "client_secret")));
    let client = client.with_secret(Secret::new(SECRET)).build().unwrap();
    let error = client.bearer_token(&vault()).await.unwrap_err();
    assert!(seen(&error).contains("<redacted>") && error.aadsts() == Some(7_000_215), "{error:?}");
    assert_without(&seen(&error), SECRET);

    // This assertion of a function is not a JWT.
    let client = builder(|seen| refusal(&echoed(seen, "client_assertion")));
    let client =
        client.with_unbound_assertions(unbound_fn(|_| async { Ok::<_, String>(Secret::new(SECRET)) }));
    let error = client.build().unwrap().bearer_token(&vault()).await.unwrap_err();
    assert_without(&seen(&error), SECRET);

    // The request contains a user's token, or a body parameter of the caller.
    for name in ["assertion", "password"] {
        let client = builder(move |seen| refusal(&echoed(seen, name)));
        let client = client.with_secret(Secret::new("another secret")).build().unwrap();
        let scope = ResourceScope::for_user("https://graph.microsoft.com/User.Read").unwrap();
        let user = Secret::new(SECRET);
        let error = match name {
            "assertion" => client.on_behalf_of(&user, &scope).await,
            _ => client.bearer_token(&vault()).body(name, SECRET).await,
        };
        assert_without(&seen(&error.unwrap_err()), SECRET);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_the_protocol_is_quoted_without_the_credential() {
    let token = |more: Value| {
        let mut body = json!({ "token_type": "Bearer", "access_token": "T", "expires_in": 3600 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let twice = format!("{{{0}:1,{0}:2}}", json!(SECRET));
    let nested = format!(r#"{{"x":{twice}}}"#);
    for (body, code) in [
        (token(json!({ "token_type": SECRET })), "token_type_mismatch"),
        (token(json!({ "token_type": format!("{ACTS}{SECRET}") })), "token_type_mismatch"),
        (token(json!({ "scope": format!("{ACTS}{SECRET}") })), "scope_mismatch"),
        (twice, "answer_duplicate_field"),
        (nested, "answer_duplicate_field"),
    ] {
        let client = builder(move |_| (200, body.clone()));
        let client = client.with_secret(Secret::new(SECRET)).build().unwrap();
        let error = client.bearer_token(&vault()).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_without(&seen(&error), SECRET);
    }
    // In the other members of a correct answer, the secrets are redacted too.
    let client = builder(move |_| {
        let scope = format!("{} {SECRET}", vault().as_str());
        (
            200,
            token(
                json!({ "scope": scope, "echo": { "x": [SECRET] }, SECRET: 7, "again": "The-Token-Itself", "access_token": "The-Token-Itself" }),
            ),
        )
    });
    let client = client.with_secret(Secret::new(SECRET)).build().unwrap();
    let found = client.bearer_token(&vault()).await.unwrap();
    let details = format!("{:?} {:?}", found.details(), found);
    assert!(found.details().additional.len() == 3 && found.scopes().count() == 2, "{details}");
    assert_without(&details, SECRET);
    assert!(!details.contains("The-Token"), "{details}");
}

#[tokio::test]
async fn leg_2_that_repeats_the_assertion_is_kept_without_it() {
    let pair = Pair::new();
    let assertion = pair.leg1().assertion().await.unwrap();
    let jwt = assertion.secret().expose().to_owned();
    // This part of a JWT does not begin with `eyJ`, so nothing in it shows that it belongs to a token.
    let part = jwt.split_once('.').unwrap().1[20..].to_owned();
    for text in [jwt.clone(), part.clone(), format!("{}…", &part[..40])] {
        let assertion = BoundAssertion::from_jwt(Secret::new(jwt.clone()), pair.certificate()).unwrap();
        let leg2 = builder(move |_| refusal(&text)).with_assertions(assertion).build().unwrap();
        let error = leg2.bound_token(&vault()).await.unwrap_err();
        assert_without(&seen(&error), &jwt);
    }
}

#[tokio::test]
async fn a_platform_that_repeats_its_secret_is_kept_without_it() {
    let places = [
        ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "x-identity-header"),
        ("MSI_ENDPOINT", "MSI_SECRET", "secret"),
    ];
    for (endpoint, variable, header) in places {
        for form in 0..4 {
            let transport = AnsweringTransport::new(move |seen| {
                let text = format!("{ACTS}{}", seen.header(header));
                match form {
                    0 => (
                        400,
                        json!({ "error": text, "error_description": text, "correlationId": text })
                            .to_string(),
                    ),
                    1 => (400, json!({ "error": { "code": text, "message": text } }).to_string()),
                    2 => (403, text),
                    _ => (200, json!({ "access_token": "T", "expires_on": text }).to_string()),
                }
            });
            let identity =
                ManagedIdentity::builder(IdentityId::System).with_environment(move |name| match name {
                    _ if name == endpoint => Some("http://127.0.0.1:1/token".to_owned()),
                    _ if name == variable => Some(SECRET.to_owned()),
                    "DEFAULT_IDENTITY_CLIENT_ID" => Some(builtin::APP.to_owned()),
                    _ => None,
                });
            let identity =
                identity.with_transport(transport).with_clock(ManualClock::at(NOW)).build().unwrap();
            let error = identity.bearer_token(&vault()).await.unwrap_err();
            assert!(seen(&error).contains("<redacted>"), "{error}");
            assert_without(&seen(&error), SECRET);
        }
    }
}

/// An attestation hook that returns a text which is not a JWT.
struct Attests;

impl Attestation for Attests {
    async fn attest(&self, _: &AttestationRequest) -> Result<Secret, String> {
        Ok(Secret::new(SECRET))
    }
}

#[tokio::test]
async fn a_metadata_service_that_repeats_the_attestation_is_kept_without_it() {
    let pair = Pair::new();
    let body = json!({ "error": { "code": "x", "message": SECRET } }).to_string();
    let result = FaultResult::Status { status: 400, body, retry_after: None, headers: [].into() };
    let issue = Condition::endpoint(PlatformEndpoint::IssueCredential);
    pair.emulator().add_fault(Fault::always(issue, result));
    let identity = pair.managed_identity(IdentityId::System).with_attestation(Attests).build().unwrap();
    let error = identity.bound_token(&ResourceScope::key_vault(Cloud::Public)).await.unwrap_err();
    assert!(seen(&error).contains("<redacted>"), "{error}");
    assert_without(&seen(&error), SECRET);
}
