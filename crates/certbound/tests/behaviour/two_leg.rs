//! The two-leg flow: both legs, every form of Leg 2, and the requests on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use certbound::cache::Source;
use certbound::credential::leg1_fn;
use certbound::observe::JwtPopReport;
use certbound::{Authority, BoundAssertion, Cloud, Error, ResourceScope, Secret, TenantId};
use certbound_testkit::Pair;
use certbound_testkit::emulator::world::builtin;

pub(crate) fn vault() -> ResourceScope {
    ResourceScope::key_vault(Cloud::Public)
}

/// The counterpart of `Sni_AssertionFlow_Uses_JwtPop_And_Succeeds_TestAsync` in MSAL.NET's helpers, with the same
/// assertions.
#[tokio::test]
async fn sni_assertion_flow_uses_jwt_pop_and_succeeds() {
    let pair = Pair::new();

    // Leg 1: acquire the assertion.
    let assertion = pair.leg1().assertion().await.unwrap();
    let assertion_jwt = assertion.secret().expose().to_owned();
    assert!(!assertion_jwt.is_empty());

    // Leg 2: exchange it, with a provider that supplies assertion and certificate.
    let assertion_provider_called = Arc::new(AtomicBool::new(false));
    let called = Arc::clone(&assertion_provider_called);
    let provider = leg1_fn(pair.certificate(), move |_| {
        called.store(true, Ordering::SeqCst);
        let jwt = assertion_jwt.clone();
        async move { Ok::<_, std::convert::Infallible>(Secret::new(jwt)) }
    });
    let report = Arc::new(JwtPopReport::default());
    let app = pair.builder(builtin::APP).with_assertions(provider).build().unwrap();
    let second = app
        .bound_token(&ResourceScope::parse("https://vault.azure.net/.default").unwrap())
        .observe(report.clone())
        .await
        .unwrap();

    // Validate jwt-pop configuration.
    assert!(assertion_provider_called.load(Ordering::SeqCst));
    let seen = report.facts().unwrap();
    assert_eq!(
        seen.client_assertion_type.as_deref(),
        Some("urn:ietf:params:oauth:client-assertion-type:jwt-pop")
    );
    assert!(!second.secret().is_empty());
}

/// The report describes `jwt-pop`, which only Leg 2 uses. After other requests the report is empty.
#[tokio::test]
async fn the_report_is_empty_unless_a_leg_2_was_sent() {
    let pair = Pair::new();
    let report = Arc::new(JwtPopReport::default());
    pair.leg1().assertion().observe(report.clone()).await.unwrap();
    pair.leg1().bound_token(&vault()).observe(report.clone()).await.unwrap();
    assert_eq!((report.facts(), report.checks()), (None, vec![]));
    pair.leg2().bound_token(&vault()).observe(report.clone()).await.unwrap();
    assert!(report.checks().iter().all(|check| check.ok), "{:?}", report.checks());
}

/// Acceptance checks 1 to 3 and 9, from the emulator's journal and not from our own encoder.
#[tokio::test]
async fn both_legs_as_the_wire_saw_them() {
    let pair = Pair::new();
    let token = pair.leg2().bound_token(&vault()).await.unwrap();
    let journal = pair.emulator().journal();
    let [leg1, leg2] = journal.as_slice() else { panic!("{journal:#?}") };
    let thumbprint = pair.certificate().thumbprint().x5t_s256();

    for leg in [leg1, leg2] {
        assert_eq!(leg.host, "westus3.mtlsauth.microsoft.com");
        assert_eq!(leg.path, format!("/{}/oauth2/v2.0/token", builtin::TENANT));
        assert_eq!(leg.method, "POST");
        assert_eq!(leg.client_certificate.as_deref(), Some(thumbprint.as_str()));
        assert_eq!(leg.parameter("grant_type"), Some("client_credentials"));
        assert_eq!(leg.parameter("client_info"), Some("2"));
        assert_eq!(leg.parameter("token_type"), Some("mtls_pop"));
        for absent in ["client_secret", "req_cnf"] {
            assert_eq!(leg.parameter(absent), None, "{absent}");
        }
    }
    assert_eq!(leg1.parameter("scope"), Some("api://AzureADTokenExchange/.default"));
    assert_eq!((leg1.parameter("client_assertion"), leg1.parameter("client_assertion_type")), (None, None));
    assert_eq!(leg2.parameter("scope"), Some("https://vault.azure.net/.default"));
    assert_eq!(
        leg2.parameter("client_assertion_type"),
        Some("urn:ietf:params:oauth:client-assertion-type:jwt-pop")
    );
    assert!(leg2.parameter("client_assertion").is_some());

    assert_eq!(token.binding().thumbprint().x5t_s256(), thumbprint);
    assert!(token.scopes().eq(["https://vault.azure.net/.default"]));
    let details = token.details();
    assert_eq!(details.source, Source::Service);
    assert!(details.binding_observed);
    assert_eq!(details.legs.len(), 2);
    assert_eq!(details.region.unwrap().as_str(), "westus3");
}

/// Acceptance check 3: the assertion arrives byte for byte.
#[tokio::test]
async fn leg_2_presents_exactly_the_token_of_leg_1() {
    let pair = Pair::new();
    let assertion = pair.leg1().assertion().await.unwrap();
    let expected = certbound::token::TokenHash::of(assertion.secret());
    let leg2 = pair.builder(builtin::APP).with_assertions(assertion).build().unwrap();
    leg2.bound_token(&vault()).await.unwrap();
    let journal = pair.emulator().journal();
    let hash = journal[1].parameter("client_assertion").unwrap().strip_prefix("sha256:").unwrap().to_owned();
    assert!(format!("{expected:?}").contains(&hash[..8]), "{expected:?} {hash}");
}

/// Acceptance check 4: Leg 2 for a Bearer token still presents `jwt-pop` and the certificate, and requests no token
/// type.
#[tokio::test]
async fn a_bearer_leg_2_is_still_jwt_pop_over_mtls() {
    let pair = Pair::new();
    let token = pair.leg2().bearer_token(&vault()).await.unwrap();
    let journal = pair.emulator().journal();
    assert_eq!(journal[1].parameter("token_type"), None);
    assert!(journal[1].parameter("client_assertion_type").unwrap().ends_with(":jwt-pop"));
    assert!(journal[1].client_certificate.is_some());
    assert_eq!(journal[1].host, "westus3.mtlsauth.microsoft.com");
    assert_eq!(token.details().token_type, "Bearer");
    assert!(!token.details().binding_observed);
}

/// Acceptance check 9: without a region, the global mutual-TLS host is used.
#[tokio::test]
async fn without_a_region_the_global_mtls_host_is_used() {
    let pair = Pair::new();
    let authority = pair.authority().without_region();
    let leg1 = pair.builder_at(authority, builtin::APP).with_certificate(pair.certificate()).build().unwrap();
    leg1.bound_token(&vault()).await.unwrap();
    assert_eq!(pair.emulator().journal()[0].host, "mtlsauth.microsoft.com");
}

#[tokio::test]
async fn the_direct_flow_is_one_request_without_an_assertion() {
    let pair = Pair::new();
    let token = pair.leg1().bound_token(&vault()).await.unwrap();
    let journal = pair.emulator().journal();
    assert_eq!(journal.len(), 1);
    assert_eq!(journal[0].parameter("client_assertion"), None);
    assert_eq!(token.details().legs.len(), 1);
}

#[tokio::test]
async fn a_certificate_signs_its_own_assertion_for_a_bearer_token() {
    let pair = Pair::new();
    pair.leg1().bearer_token(&vault()).await.unwrap();
    let journal = pair.emulator().journal();
    assert_eq!(journal[0].host, "westus3.login.microsoft.com");
    assert!(journal[0].parameter("client_assertion_type").unwrap().ends_with(":jwt-bearer"));
    assert_eq!(journal[0].client_certificate, None);
}

#[tokio::test]
async fn another_application_may_exchange_the_assertion() {
    let pair = Pair::new();
    let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(pair.leg1()).build().unwrap();
    let answer = leg2.bound_token(&vault()).await.unwrap();
    assert!(answer.details().binding_observed);
}

#[tokio::test]
async fn leg_1_in_one_tenant_and_leg_2_in_another() {
    let pair = Pair::new();
    let app = builtin::MULTI_TENANT_APP;
    let leg1 = pair.builder(app).with_certificate(pair.certificate()).build().unwrap();
    let other = Authority::public(TenantId::parse(builtin::OTHER_TENANT).unwrap());
    let leg2 = pair.builder_at(other, app).with_assertions(leg1.clone()).build().unwrap();
    let token = leg2.bound_token(&vault()).await.unwrap();
    assert_eq!(token.details().tenant, builtin::OTHER_TENANT);

    // A request can also name the tenant.
    let leg2 = pair.builder(app).with_assertions(leg1).build().unwrap();
    let tenant = TenantId::parse(builtin::OTHER_TENANT).unwrap();
    let token = leg2.bound_token(&vault()).tenant(tenant).await.unwrap();
    assert_eq!(token.details().tenant, builtin::OTHER_TENANT);
}

#[tokio::test]
async fn a_leg_1_from_another_tenants_identity_is_700236() {
    let pair = Pair::new();
    let app = builtin::MULTI_TENANT_APP;
    let other = Authority::public(TenantId::parse(builtin::OTHER_TENANT).unwrap());
    let leg1 = pair.builder_at(other, app).with_certificate(pair.certificate()).build().unwrap();
    let leg2 = pair.builder(app).with_assertions(leg1).build().unwrap();
    let error = leg2.bound_token(&vault()).await.unwrap_err();
    assert_eq!(error.aadsts(), Some(700_236), "{error}");
    assert_eq!(error.leg(), Some(certbound::error::Leg::Two));
}

#[tokio::test]
async fn a_chained_federated_token_is_700231() {
    let pair = Pair::new();
    // This token for the token-exchange audience was itself obtained by an assertion. The test writes its request.
    let assertion = pair.leg1().assertion().await.unwrap();
    let chained = chained_assertion(&pair, &assertion).await;
    let chained = BoundAssertion::from_jwt(chained, pair.certificate()).unwrap();
    let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(chained).build().unwrap();
    let error = leg2.bound_token(&vault()).await.unwrap_err();
    assert_eq!(error.aadsts(), Some(700_231), "{error}");
}

/// No client of ours requests the token-exchange audience in Leg 2, so the test writes this request.
async fn chained_assertion(pair: &Pair, assertion: &BoundAssertion) -> Secret {
    use certbound::Transport as _;
    use certbound::transport::Via;
    let body = format!(
        "client_id={}&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-pop\
         &client_assertion={}&scope=api%3A%2F%2FAzureADTokenExchange%2F.default&grant_type=client_credentials\
         &token_type=mtls_pop",
        builtin::APP,
        assertion.secret().expose()
    );
    let url = format!("https://mtlsauth.microsoft.com/{}/oauth2/v2.0/token", builtin::TENANT);
    let request = http::Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::from(body))
        .unwrap();
    let answer = pair.transport().send(request, Via::Bound(assertion.binding())).await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(answer.response.body()).unwrap();
    Secret::new(json["access_token"].as_str().unwrap_or_else(|| panic!("{json}")))
}

#[tokio::test]
async fn every_refusal_keeps_the_services_answer_and_names_the_leg() {
    let pair = Pair::new();
    let scope = ResourceScope::parse("https://management.azure.com/.default").unwrap();
    let error = pair.leg2().bound_token(&scope).await.unwrap_err();
    let Error::Refused { leg, answer, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*leg, Some(certbound::error::Leg::Two));
    assert_eq!(answer.aadsts(), Some(392_196));
    assert!(answer.body.contains("AADSTS392196"));
    assert!(answer.correlation_id.is_some());
    let endpoint = error.endpoint().unwrap();
    assert!(endpoint.starts_with("https://") && endpoint.ends_with("/oauth2/v2.0/token"), "{endpoint}");
    assert!(endpoint.contains(error.tenant().unwrap().as_str()));
    assert_eq!(error.region(), pair.authority().region());
    assert!(error.fix().contains("Bearer"), "{}", error.fix());
}

#[tokio::test]
async fn one_correlation_id_goes_with_both_legs_and_the_details() {
    let pair = Pair::new();
    let id: certbound::observe::CorrelationId = "2c7f0f0e-2b73-4f0c-9b1e-0b7d7a2f7c11".parse().unwrap();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let observer = Arc::new(move |request: &certbound::observe::ObservedRequest| {
        let id = request.headers.iter().find(|(name, _)| name == "client-request-id").unwrap().1.clone();
        sink.lock().unwrap().push(id);
    });
    let token = pair.leg2().bound_token(&vault()).correlation_id(id).observe(observer).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [id.to_string(), id.to_string()]);
    assert_eq!(token.details().correlation_id, id);
}
