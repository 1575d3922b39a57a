//! Bearer tokens of managed identities over mutual TLS, with the certificate of the machine.

use std::sync::Arc;

use certbound::cache::Source;
use certbound::managed_identity::{IdentityId, KeyStrength, MachineCertificates, ManagedIdentityBuilder};
use certbound::{Authority, Client, ManagedIdentity, ResourceScope, TenantId, TokenCache};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, JournalEntry, PlatformKind};
use certbound_testkit::{NeverTransport, Pair};

use crate::machine_certificates::graph;
use crate::managed_identity::{CLAIMS, asked, past_the_cache, refuse_once};
use crate::two_leg::vault;

const MINTS: [&str; 3] = ["getplatformmetadata", "issuecredential", "token"];

fn builder(pair: &Pair) -> ManagedIdentityBuilder {
    pair.managed_identity(IdentityId::System).bearer_over_mtls()
}

fn over_mtls(pair: &Pair) -> ManagedIdentity {
    builder(pair).build().unwrap()
}

fn token_requests(pair: &Pair) -> Vec<JournalEntry> {
    let journal = pair.emulator().journal();
    journal.into_iter().filter(|entry| entry.path.ends_with("/oauth2/v2.0/token")).collect()
}

#[tokio::test]
async fn a_bearer_token_is_requested_with_the_certificate_of_bound_tokens() {
    let pair = Pair::new();
    let identity = over_mtls(&pair);
    let bearer = identity.bearer_token(&graph()).await.unwrap();
    assert_eq!(asked(&pair), MINTS);
    let details = bearer.details();
    assert_eq!((details.token_type.as_str(), details.source), ("Bearer", Source::Service));
    assert_eq!(details.region.as_ref().map(|region| region.as_str()), Some("westus3"));
    assert!(bearer.scopes().eq(["https://graph.microsoft.com/.default"]) && !details.binding_observed);
    let again = identity.bearer_token(&graph()).await.unwrap();
    assert_eq!((again.details().source, asked(&pair)), (Source::Cache, vec![]));

    // A bound token has the same certificate and an entry of its own.
    let bound = identity.bound_token(&graph()).await.unwrap();
    let [request] = <[JournalEntry; 1]>::try_from(token_requests(&pair)).unwrap();
    assert_eq!(request.client_certificate, Some(bound.binding().thumbprint().x5t_s256()));
    assert_ne!(bound.secret().expose(), bearer.secret().expose());
    assert_eq!(asked(&pair), ["token"]);
    identity.bearer_token(&graph()).await.unwrap();
    assert!(asked(&pair).is_empty());
}

/// The file is the request of the protocol's description, with another client id.
#[tokio::test]
async fn the_request_is_the_golden_one() {
    let pair = Pair::new();
    over_mtls(&pair).bearer_token(&graph()).await.unwrap();
    let golden = include_str!("../../../../testdata/wire/machine-bearer.form");
    let mut golden: Vec<(&str, &str)> = golden.split('&').filter_map(|pair| pair.split_once('=')).collect();
    golden.remove(0);
    let request = token_requests(&pair).remove(0);
    assert_eq!(request.parameter("client_id"), Some(builtin::SYSTEM_IDENTITY));
    for (name, value) in golden {
        let value = value.replace("%3A", ":").replace("%2F", "/");
        assert_eq!(request.parameter(name), Some(value.as_str()), "{name}");
    }
    for absent in ["client_assertion", "client_assertion_type", "client_info", "resource", "claims"] {
        assert_eq!(request.parameter(absent), None, "{absent}");
    }
    // Capabilities are sent as claims, as in a request for a bound token.
    let identity = builder(&pair).with_capabilities(["cp1"]).build().unwrap();
    pair.emulator().clear_journal();
    identity.bearer_token(&graph()).await.unwrap();
    let claims = token_requests(&pair).remove(0).parameter("claims").map(str::to_owned);
    assert_eq!(claims.as_deref(), Some(r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#));
}

#[tokio::test]
async fn it_shares_the_certificate_and_no_bearer_token_with_an_identity_without_mutual_tls() {
    let pair = Pair::new();
    let (cache, certificates) = (TokenCache::new(), MachineCertificates::new());
    let with = |builder: ManagedIdentityBuilder| {
        builder.with_cache(cache.clone()).with_certificates(certificates.clone()).build().unwrap()
    };
    let (plain, over_mtls) = (with(pair.managed_identity(IdentityId::System)), with(builder(&pair)));
    let first = plain.bearer_token(&vault()).await.unwrap();
    plain.bound_token(&vault()).await.unwrap();
    asked(&pair);
    let second = over_mtls.bearer_token(&vault()).await.unwrap();
    assert_eq!((asked(&pair), certificates.len()), (vec!["token".to_owned()], 1));
    assert_ne!(first.secret().expose(), second.secret().expose());
    for (identity, token) in [(&plain, &first), (&over_mtls, &second)] {
        let again = identity.bearer_token(&vault()).await.unwrap();
        assert_eq!((again.details().source, &again), (Source::Cache, token));
    }
    // `forget` removes the token of its own identity only.
    assert!(over_mtls.bearer_token(&vault()).forget().await.unwrap());
    assert_eq!(plain.bearer_token(&vault()).await.unwrap(), first);
    assert_ne!(over_mtls.bearer_token(&vault()).await.unwrap(), second);
}

#[tokio::test]
async fn a_token_of_the_platform_is_no_replacement_in_an_outage() {
    let pair = Pair::new();
    let cache = TokenCache::new();
    let plain = pair.managed_identity(IdentityId::System).with_cache(cache.clone()).build().unwrap();
    plain.bearer_token(&vault()).await.unwrap();
    let condition = Condition::platform(PlatformKind::Imds);
    pair.emulator().add_fault(Fault::always(condition, FaultResult::ConnectionReset));
    let over_mtls = builder(&pair).with_cache(cache).build().unwrap();
    let error = over_mtls.bearer_token(&vault()).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("managed_identity_unreachable_network", true));
    assert_eq!(plain.bearer_token(&vault()).await.unwrap().details().source, Source::Cache);
}

#[tokio::test]
async fn a_refused_certificate_is_replaced_once_and_its_tokens_are_not_returned() {
    let pair = Pair::new();
    let identity = over_mtls(&pair);
    let first = identity.bearer_token(&vault()).await.unwrap();
    asked(&pair);
    refuse_once(&pair, 1_000_901);
    let second = identity.bearer_token(&graph()).await.unwrap();
    assert_eq!(past_the_cache(&pair), [true]);
    assert_eq!(asked(&pair), ["token", "getplatformmetadata", "issuecredential", "token"]);
    // The token of the refused certificate is a Bearer token, but its cache entry belongs to that certificate.
    let third = identity.bearer_token(&vault()).await.unwrap();
    assert_eq!((third == first, asked(&pair)), (false, vec!["token".to_owned()]));
    assert_eq!(identity.bearer_token(&graph()).await.unwrap(), second);
}

/// If no certificate is usable, the cache would return the token of an earlier certificate.
#[tokio::test]
async fn forget_removes_the_token_of_an_earlier_certificate_in_an_outage() {
    let pair = Pair::new();
    let identity = over_mtls(&pair);
    let first = identity.bearer_token(&vault()).await.unwrap();
    // A second certificate is issued, refused and cannot be replaced.
    identity.bearer_token(&graph()).force_refresh().await.unwrap();
    identity.bearer_token(&graph()).force_refresh().await.unwrap();
    refuse_once(&pair, 1_000_901);
    let away = Condition::platform(PlatformKind::Imds);
    pair.emulator().add_fault(Fault::always(away, FaultResult::ConnectionReset));
    identity.bearer_token(&graph()).claims(CLAIMS).await.unwrap_err();
    assert_eq!(identity.bearer_token(&vault()).await.unwrap(), first);
    assert!(identity.bearer_token(&vault()).forget().await.unwrap());
    let error = identity.bearer_token(&vault()).await.unwrap_err();
    assert_eq!(error.code(), "managed_identity_unreachable_network");
}

#[tokio::test]
async fn only_the_type_bearer_is_accepted() {
    for (kind, code) in [
        ("Bearer", None),
        ("bearer", None),
        ("BEARER", None),
        ("mtls_pop", Some("token_type_mismatch")),
        ("pop", Some("token_type_mismatch")),
        ("", Some("token_type_missing")),
    ] {
        let pair = Pair::new();
        let body = format!(r#"{{"token_type":"{kind}","access_token":"T","expires_in":3600}}"#);
        let result = FaultResult::Status { status: 200, body, retry_after: None, headers: [].into() };
        let host = Some("mtlsauth.microsoft.com".to_owned());
        pair.emulator().add_fault(Fault::always(Condition { host_suffix: host, ..Condition::any() }, result));
        let token = over_mtls(&pair).bearer_token(&vault()).await;
        assert_eq!(token.as_ref().err().map(certbound::Error::code), code, "{kind}: {token:?}");
        if let Err(error) = token {
            assert!(!error.is_transient() && !error.fix().contains("bind"), "{}", error.fix());
        }
    }
}

/// Errors have MSAL.NET's codes, and a time-out or a lost connection blames no certificate.
#[tokio::test]
async fn a_token_service_that_is_not_reached_is_told_by_the_codes_of_managed_identities() {
    for (result, code) in [
        (FaultResult::ConnectionReset, "managed_identity_unreachable_network"),
        (FaultResult::Delay { milliseconds: 60_000 }, "request_timeout"),
    ] {
        let pair = Pair::new();
        let host = Some("mtlsauth.microsoft.com".to_owned());
        pair.emulator().add_fault(Fault::always(Condition { host_suffix: host, ..Condition::any() }, result));
        let identity = over_mtls(&pair);
        let bearer = identity.bearer_token(&vault()).await.unwrap_err();
        let bound = identity.bound_token(&vault()).await.unwrap_err();
        let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(identity).build().unwrap();
        let in_leg1 = leg2.bound_token(&vault()).await.unwrap_err();
        for error in [bearer, bound, in_leg1] {
            assert_eq!((error.code(), error.is_transient()), (code, true), "{error}");
            assert!(error.target().is_some_and(|target| target.of_managed_identity));
        }
        assert_eq!(past_the_cache(&pair), [false], "{code}");
        // The same failure of an application's request has a different code.
        let error = pair.leg1().bound_token(&vault()).await.unwrap_err();
        assert_ne!(error.code(), "managed_identity_unreachable_network");
    }
}

#[tokio::test]
async fn a_source_without_certificates_and_a_weak_key_are_refused_before_any_request() {
    const APP_SERVICE: [(&str, &str); 2] =
        [("IDENTITY_ENDPOINT", "http://127.0.0.1:41/msi/token"), ("IDENTITY_HEADER", "H")];
    let variable = |name: &str| {
        APP_SERVICE.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let identity = ManagedIdentity::system_assigned().with_environment(variable).bearer_over_mtls();
    let identity = identity.with_transport(NeverTransport).build().unwrap();
    let error = identity.bearer_token(&vault()).await.unwrap_err();
    assert_eq!(error.code(), "mtls_pop_not_supported_for_environment");
    assert!(error.fix().contains("without mutual TLS"), "{}", error.fix());

    let weak = ManagedIdentity::system_assigned().with_environment(|_| None).bearer_over_mtls();
    let weak = weak.min_strength(KeyStrength::Hardware).with_transport(NeverTransport).build().unwrap();
    assert_eq!(weak.bearer_token(&vault()).await.unwrap_err().code(), "min_strength_not_met");
}

#[tokio::test]
async fn an_unbound_assertion_is_requested_over_mutual_tls_too() {
    let pair = Pair::new();
    let authority = Authority::public(TenantId::parse(builtin::TENANT).unwrap());
    let leg2 = Client::builder(authority, builtin::TARGET_APP).with_transport(pair.transport());
    let leg2 =
        leg2.with_clock(pair.clock().clone()).with_unbound_assertions(over_mtls(&pair)).build().unwrap();
    leg2.bearer_token(&vault()).await.unwrap();
    assert_eq!(asked(&pair), [&MINTS[..], &["token"]].concat());
    refuse_once(&pair, 1_000_901);
    leg2.bearer_token(&vault()).force_refresh().await.unwrap();
    let requests = token_requests(&pair);
    let asked_for = |entry: &JournalEntry| entry.parameter("scope").map(str::to_owned);
    let scopes: Vec<_> = requests.iter().filter_map(asked_for).collect();
    let exchange = "api://AzureADTokenExchange/.default";
    assert_eq!(scopes, [exchange, exchange, vault().as_str()]);
    assert_eq!(requests[1].parameter("token_type"), Some("bearer"));
    assert!(requests[1].client_certificate.is_some() && requests[2].client_certificate.is_none());
    assert_eq!(past_the_cache(&pair), [true]);
}

#[tokio::test]
async fn concurrent_callers_share_one_request_and_a_failure_names_the_resource() {
    let pair = Pair::new();
    let identity = Arc::new(over_mtls(&pair));
    let vault = vault();
    let all = (0..50).map(|_| async { identity.bearer_token(&vault).await.unwrap() });
    let tokens = futures_util::future::join_all(all).await;
    assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(asked(&pair), MINTS);
    // A resource that refuses bound tokens is no obstacle for a Bearer token.
    let management = ResourceScope::parse("https://management.azure.com/.default").unwrap();
    identity.bearer_token(&management).await.unwrap();
    assert_eq!(identity.bound_token(&management).await.unwrap_err().aadsts(), Some(392_196));
}
