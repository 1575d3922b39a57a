//! Service Fabric: its requests, the capabilities and rejected tokens that it receives, and its pinned certificate.

use std::future::IntoFuture as _;

use certbound::cache::Source;
use certbound::error::{PlatformError, TransportError};
use certbound::managed_identity::{IdentityId, ManagedIdentityBuildError, ManagedIdentityBuilder};
use certbound::token::TokenHash;
use certbound::transport::ServerThumbprint;
use certbound::{Error, ManagedIdentity, UnixTime};
use certbound_testkit::emulator::PLATFORM_SECRET;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{AnsweringTransport, ManualClock, Pair, Seen};

use crate::two_leg::vault;

const ENDPOINT: &str = "https://10.0.0.4:2377/metadata/identity/oauth2/token";
const PIN: &str = "A9993E364706816ABA3E25717850C26C9CD0D89D";
const ASKED: &str = "https://10.0.0.4:2377/metadata/identity/oauth2/token?api-version=2020-05-01&resource=https%3A%2F%2Fvault.azure.net";
const CHALLENGE: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1702682181"}}}"#;
const GUID: &str = "98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514";

/// Returns an identity in the environment of a node, with this endpoint and this pin.
fn on_node(id: IdentityId, endpoint: &str, pin: &str) -> ManagedIdentityBuilder {
    let (endpoint, pin) = (endpoint.to_owned(), pin.to_owned());
    ManagedIdentity::builder(id).with_environment(move |name| match name {
        "IDENTITY_ENDPOINT" => Some(endpoint.clone()),
        "IDENTITY_HEADER" => Some("the-code".to_owned()),
        "IDENTITY_SERVER_THUMBPRINT" => Some(pin.clone()),
        _ => None,
    })
}

fn token(name: &str) -> String {
    format!(
        r#"{{"token_type":"Bearer","access_token":"{name}","expires_on":1785003600,"resource":"https://vault.azure.net"}}"#
    )
}

/// Returns an identity whose platform answers by a function.
fn answered(
    builder: ManagedIdentityBuilder,
    answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static,
) -> (ManagedIdentity, AnsweringTransport) {
    let transport = AnsweringTransport::new(answer);
    let clock = ManualClock::at(UnixTime::from_secs(1_785_000_000));
    (builder.with_transport(transport.clone()).with_clock(clock).build().unwrap(), transport)
}

/// Returns an identity whose platform issues tokens with these names in order.
fn given(builder: ManagedIdentityBuilder, names: &[&str]) -> (ManagedIdentity, AnsweringTransport) {
    let names: Vec<String> = names.iter().rev().map(|name| (*name).to_owned()).collect();
    let names = std::sync::Mutex::new(names);
    answered(builder, move |_| (200, token(&names.lock().unwrap().pop().unwrap())))
}

#[tokio::test]
async fn it_is_asked_in_its_own_way() {
    let object = IdentityId::object_id(GUID).unwrap();
    for (id, capabilities, url) in [
        (IdentityId::System, vec![], ASKED.to_owned()),
        (object.clone(), vec![], format!("{ASKED}&principalId={GUID}")),
        (IdentityId::System, vec!["cp1", "cp2"], format!("{ASKED}&xms_cc=cp1%2Ccp2")),
        (object, vec!["cp1"], format!("{ASKED}&principalId={GUID}&xms_cc=cp1")),
    ] {
        let builder = on_node(id, ENDPOINT, PIN).with_capabilities(capabilities);
        let (identity, transport) = answered(builder, |_| (200, token("T")));
        assert_eq!(identity.origin().to_string(), "service-fabric");
        identity.bearer_token(&vault()).await.unwrap();
        let seen = transport.only();
        assert_eq!((seen.method.as_str(), seen.url, seen.body.as_str()), ("GET", url, ""));
        let names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["accept", "secret"], "no Metadata header");
        assert_eq!(seen.headers[1].1, "the-code");
        assert_eq!((seen.certificate, seen.pinned.as_str()), (false, PIN));
    }
}

#[tokio::test]
async fn a_token_that_drew_a_challenge_is_named_by_its_hash() {
    const HASH: &str = "cc0af97287543b65da2c7e1476426021826cab166f1e063ed012b855ff819656";
    let builder = on_node(IdentityId::System, ENDPOINT, PIN).with_capabilities(["cp1"]);
    let (identity, transport) = given(builder, &["first", "test_token", "next", "last", "forced"]);
    let (vault, with_cp1) = (vault(), format!("{ASKED}&xms_cc=cp1"));
    // The cache is empty, so no token is named. The claims themselves are never sent.
    identity.bearer_token(&vault).claims(CHALLENGE).await.unwrap();
    assert_eq!(transport.only().url, with_cp1);
    identity.bearer_token(&vault).force_refresh().await.unwrap();
    assert_eq!(transport.only().url, with_cp1);
    // The cache has "test_token" now.
    let challenged = identity.bearer_token(&vault).claims(CHALLENGE).await.unwrap();
    assert_eq!(transport.only().url, format!("{with_cp1}&token_sha256_to_refresh={HASH}"));
    assert_eq!(challenged.secret().expose(), "next");
    // The caller names a rejected token.
    let rejected = TokenHash::of(challenged.secret());
    let replaced = identity.bearer_token(&vault).rejected(rejected).await.unwrap();
    assert_eq!(replaced.secret().expose(), "last");
    let url = transport.only().url;
    assert!(url.contains("&token_sha256_to_refresh=") && !url.contains(HASH), "{url}");
    // The cached token is not the rejected token, so no request is sent.
    assert_eq!(identity.bearer_token(&vault).rejected(rejected).await.unwrap(), replaced);
    // `force_refresh` overrides claims, and names no token.
    identity.bearer_token(&vault).claims(CHALLENGE).force_refresh().await.unwrap();
    assert_eq!(transport.only().url, with_cp1);
}

/// A caller that only wants a new token must not send the shared request: the platform may return the rejected token
/// again.
#[tokio::test]
async fn who_names_a_token_does_not_join_who_names_none() {
    let (identity, transport) =
        given(on_node(IdentityId::System, ENDPOINT, PIN), &["test_token", "forced", "replaced"]);
    let vault = vault();
    let first = identity.bearer_token(&vault).await.unwrap();
    let hash = TokenHash::of(first.secret());
    let both = futures_util::future::join(
        identity.bearer_token(&vault).force_refresh().into_future(),
        identity.bearer_token(&vault).rejected(hash).into_future(),
    );
    let (forced, replaced) = both.await;
    assert!(forced.is_ok() && replaced.is_ok());
    let named = transport.seen().iter().filter(|seen| seen.url.contains("token_sha256_to_refresh")).count();
    assert_eq!((transport.seen().len(), named), (3, 1));
}

#[tokio::test]
async fn no_other_platform_is_told_of_either() {
    type Variables = &'static [(&'static str, &'static str)];
    let platforms: [Variables; 5] = [
        &[],
        &[("IDENTITY_ENDPOINT", "http://127.0.0.1:41/x"), ("IDENTITY_HEADER", "H")],
        &[
            ("MSI_ENDPOINT", "http://127.0.0.1:42/x"),
            ("MSI_SECRET", "S"),
            ("DEFAULT_IDENTITY_CLIENT_ID", "D"),
        ],
        &[("MSI_ENDPOINT", "http://127.0.0.1:43/x")],
        &[("IDENTITY_ENDPOINT", "http://127.0.0.1:44/x"), ("IMDS_ENDPOINT", "http://127.0.0.1:44")],
    ];
    for variables in platforms {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        let builder = ManagedIdentity::system_assigned()
            .with_environment(move |name| find(name).map(|(_, value)| (*value).to_owned()))
            .with_capabilities(["cp1"]);
        let (identity, transport) = answered(builder, |_| (200, token("T")));
        let first = identity.bearer_token(&vault()).await.unwrap();
        identity.bearer_token(&vault()).claims(CHALLENGE).await.unwrap();
        identity.bearer_token(&vault()).rejected(TokenHash::of(first.secret())).await.unwrap();
        assert_eq!(transport.seen().len(), 3);
        for seen in transport.seen() {
            let all = format!("{}{}", seen.url, seen.body);
            assert!(
                !all.contains("xms_cc") && !all.contains("token_sha256") && !all.contains("claims"),
                "{all}"
            );
            assert_eq!(seen.pinned, "");
        }
    }
}

#[tokio::test]
async fn a_node_in_memory_gives_tokens_and_the_journal_tells_what_it_was_told() {
    let pair = Pair::new();
    let thumbprint = pair.emulator().service_fabric_thumbprint();
    let on = |pin: ServerThumbprint, id: IdentityId| {
        let builder = ManagedIdentity::builder(id).with_environment(move |name| match name {
            "IDENTITY_ENDPOINT" => Some("https://169.254.169.254/service-fabric/token".to_owned()),
            "IDENTITY_HEADER" => Some(PLATFORM_SECRET.to_owned()),
            "IDENTITY_SERVER_THUMBPRINT" => Some(pin.to_string()),
            _ => None,
        });
        let builder = builder.with_transport(pair.transport()).with_clock(pair.clock().clone());
        builder.with_capabilities(["cp1"]).build().unwrap()
    };
    let user = IdentityId::object_id(builtin::USER_IDENTITY_PRINCIPAL).unwrap();
    let identity = on(thumbprint, user);
    let first = identity.bearer_token(&vault()).await.unwrap();
    identity.bearer_token(&vault()).claims(CHALLENGE).await.unwrap();
    let journal = pair.emulator().journal();
    assert_eq!((journal.len(), journal[0].parameter("token_sha256_to_refresh")), (2, None));
    assert_eq!(journal[1].parameter("xms_cc"), Some("cp1"));
    assert_eq!(journal[1].parameter("principalId"), Some(builtin::USER_IDENTITY_PRINCIPAL));
    assert_eq!(journal[1].parameter("token_sha256_to_refresh").map(str::len), Some(64));
    assert_eq!(journal[1].parameter("claims"), None);
    assert_eq!(first.details().source, Source::Service);

    // Another server answers: nothing is sent or cached, and the error has both thumbprints.
    pair.emulator().clear_journal();
    let pinned: ServerThumbprint = PIN.parse().unwrap();
    let astray = on(pinned, IdentityId::System);
    let error = astray.bearer_token(&vault()).await.unwrap_err();
    let Error::Platform { what: PlatformError::Unreachable { cause, .. }, leg: None } = &error else {
        panic!("{error:?}")
    };
    let host = "169.254.169.254".to_owned();
    assert_eq!(*cause, TransportError::ServerNotPinned { host, pinned, presented: thumbprint });
    assert_eq!(error.code(), "managed_identity_unreachable_network");
    assert!(error.fix().contains("restart this program") && !error.is_transient(), "{}", error.fix());
    let text = format!("{error} {error:?}");
    assert!(text.contains(PIN) && text.contains(&thumbprint.to_string()), "{text}");
    assert!(!text.contains(PLATFORM_SECRET), "{text}");
    assert!(pair.emulator().journal().is_empty());
}

#[tokio::test]
async fn what_it_cannot_do_is_refused_before_any_byte() {
    let ids = [IdentityId::client_id(GUID).unwrap(), IdentityId::resource_id("/subscriptions/a").unwrap()];
    for id in ids {
        let error = on_node(id, ENDPOINT, PIN).build().unwrap_err();
        assert_eq!(error.code(), "user_assigned_managed_identity_not_configurable_at_runtime");
        assert!(error.fix().contains("object id"), "{}", error.fix());
    }
    let (identity, transport) = given(on_node(IdentityId::System, ENDPOINT, PIN), &[]);
    let error = identity.bound_token(&vault()).await.unwrap_err();
    assert_eq!(error.code(), "mtls_pop_not_supported_for_environment");
    assert!(transport.seen().is_empty() && !identity.capabilities().await.unwrap().binds);
}

#[test]
fn an_endpoint_without_tls_or_a_pin_that_is_none_is_refused_when_it_is_built() {
    let build = |endpoint: &str, pin: &str| {
        on_node(IdentityId::System, endpoint, pin)
            .at(certbound::managed_identity::MachineSource::ServiceFabric)
            .build()
    };
    for pin in [
        PIN,
        &PIN.to_lowercase(),
        "a9:99:3e:36:47:06:81:6a:ba:3e:25:71:78:50:c2:6c:9c:d0:d8:9d ",
        &format!(" {PIN}\r\n"),
    ] {
        assert!(build(ENDPOINT, pin).is_ok(), "{pin}");
    }
    for (endpoint, pin, code, cause) in [
        (ENDPOINT.replace("https", "http").as_str(), PIN, "invalid_managed_identity_endpoint", "https://"),
        ("10.0.0.4:2377", PIN, "invalid_managed_identity_endpoint", "not a URL"),
        ("", PIN, "invalid_managed_identity_endpoint", "IDENTITY_ENDPOINT is not set"),
        (ENDPOINT, "", "invalid_managed_identity_endpoint", "IDENTITY_SERVER_THUMBPRINT is not set"),
        (ENDPOINT, " : ", "invalid_server_thumbprint", "0 hexadecimal digits"),
        (ENDPOINT, &PIN[1..], "invalid_server_thumbprint", "39 hexadecimal digits"),
        (ENDPOINT, &"0".repeat(64), "invalid_server_thumbprint", "64 hexadecimal digits"),
        (ENDPOINT, &PIN.replace('A', "G"), "invalid_server_thumbprint", "G9993E"),
    ] {
        let error = build(endpoint, pin).unwrap_err();
        assert!(matches!(error, ManagedIdentityBuildError::Environment(_)), "{error:?}");
        assert_eq!(error.code(), code, "{endpoint} {pin}");
        assert!(error.to_string().contains(cause) && !error.fix().is_empty(), "{error}");
    }
}

#[tokio::test]
async fn its_refusals_are_told_and_only_its_own_table_repeats() {
    let body = r#"{"error":{"correlationId":"7f30f4d3-0f3a-41e0-a417-527f21b3848f","code":"ManagedIdentityNotFound","message":"Managed identity not found for the specified application host."}}"#;
    for (status, times) in [(404, 4), (429, 4), (500, 4), (503, 4), (502, 1), (410, 1), (400, 1), (307, 1)] {
        let builder = on_node(IdentityId::System, ENDPOINT, PIN);
        let (identity, transport) = answered(builder, move |_| (status, body.to_owned()));
        let error = identity.bearer_token(&vault()).await.unwrap_err();
        assert_eq!(
            (error.code(), transport.seen().len()),
            ("managed_identity_request_failed", times),
            "{status}"
        );
        assert!(error.to_string().contains("ManagedIdentityNotFound"), "{error}");
        assert!(error.host().is_some_and(|host| ENDPOINT.contains(host)), "{:?}", error.host());
        assert_eq!(error.correlation_id(), Some("7f30f4d3-0f3a-41e0-a417-527f21b3848f"));
        assert!(error.to_string().contains("correlation id 7f30f4d3"), "{error}");
    }
}

/// The assertion for an application is a Bearer token of the identity. The request contains the capabilities too.
#[tokio::test]
async fn it_is_leg_1_of_a_bearer_exchange() {
    let builder = on_node(IdentityId::System, ENDPOINT, PIN).with_capabilities(["cp1"]);
    let (identity, transport) = answered(builder, |_| (400, String::new()));
    let pair = Pair::new();
    let leg2 = pair.builder(builtin::TARGET_APP).with_unbound_assertions(identity).build().unwrap();
    leg2.bearer_token(&vault()).await.unwrap_err();
    let seen = transport.only();
    let exchange = ASKED.replace("https%3A%2F%2Fvault.azure.net", "api%3A%2F%2FAzureADTokenExchange");
    assert_eq!((seen.url, seen.pinned.as_str()), (format!("{exchange}&xms_cc=cp1"), PIN));
}
