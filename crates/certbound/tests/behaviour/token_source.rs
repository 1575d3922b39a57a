//! Any source of tokens behind one trait, with a credential that is chosen at run time.

use certbound::cache::Source;
use certbound::error::Leg;
use certbound::managed_identity::IdentityId;
use certbound::{AnyClient, Client, ResourceScope, Secret, TokenSource, UnixTime};
use certbound_testkit::Pair;
use certbound_testkit::emulator::world::builtin;

use crate::two_leg::vault;

/// Gets both kinds of token from the service and from the cache. Returns their expiries.
async fn both_kinds(source: &dyn TokenSource, scope: &ResourceScope) -> [UnixTime; 2] {
    let bound = source.bound_token(scope).await.unwrap();
    assert_eq!(source.bound_token(scope).await.unwrap(), bound);
    let bearer = source.bearer_token(scope).await.unwrap();
    assert_eq!(source.bearer_token(scope).await.unwrap().details().source, Source::Cache);
    assert!(source.bound_token(scope).forget().await.unwrap());
    assert_eq!(source.bound_token(scope).await.unwrap().details().source, Source::Service);
    [bound.expires_at(), bearer.expires_at()]
}

#[tokio::test]
async fn every_source_gives_both_kinds_of_token() {
    let pair = Pair::new();
    let leg1 = pair.builder(builtin::APP).with_certificate(pair.certificate()).build().unwrap();
    let leg2 = pair.builder(builtin::APP).with_assertions(leg1.clone()).build().unwrap();
    let identity = pair.managed_identity(IdentityId::System).build().unwrap();
    let chosen: [AnyClient; 3] = [leg1.clone().into(), leg2.clone().into(), identity.clone().into()];
    let sources: [&dyn TokenSource; 6] = [&leg1, &leg2, &identity, &chosen[0], &chosen[1], &chosen[2]];
    for source in sources {
        both_kinds(source, &vault()).await;
    }
    assert_eq!(format!("{:?}", chosen[2]), r#"AnyClient("ManagedIdentity")"#);
}

#[tokio::test]
async fn a_bound_token_without_a_certificate_is_an_error_and_nothing_is_sent() {
    let pair = Pair::new();
    let secret = Client::builder(pair.authority(), builtin::APP)
        .with_transport(pair.transport())
        .with_clock(pair.clock().clone())
        .with_secret(Secret::new("not asked for"))
        .build()
        .unwrap();
    let source = AnyClient::from(secret);
    let error = source.bound_token(&vault()).await.unwrap_err();
    assert_eq!(error.code(), "mtls_certificate_not_provided");
    assert!(pair.emulator().journal().is_empty());
}

#[tokio::test]
async fn a_managed_identity_refuses_options_that_the_platform_decides() {
    let pair = Pair::new();
    let identity = pair.managed_identity(IdentityId::System).build().unwrap();
    let scope = vault();
    let acquire = || identity.bearer_token(&scope);
    let tenant = certbound::TenantId::parse("contoso.example").unwrap();
    for refused in [
        acquire().tenant(tenant),
        acquire().authority(pair.authority()),
        acquire().fmi_path("a"),
        acquire().assertion_fmi_path("a"),
        acquire().client_claims("{}"),
        acquire().assertion_claims("{}"),
        acquire().attributes("{}"),
        acquire().body("a", "b"),
        acquire().query("a", "b"),
    ] {
        assert_eq!(refused.await.unwrap_err().code(), "option_not_for_managed_identity");
    }
    assert!(pair.emulator().journal().is_empty());
    acquire().claims("{}").await.unwrap();
}

/// Leg 1 sends the capabilities of both legs, as a client with a certificate does.
#[tokio::test]
async fn a_managed_identity_as_leg_1_sends_the_capabilities_of_leg_2() {
    let pair = Pair::new();
    let identity = pair.managed_identity(IdentityId::System).with_capabilities(["own"]).build().unwrap();
    let leg2 = pair.builder(builtin::TARGET_APP).with_capabilities(["cp1"]).with_assertions(identity);
    leg2.build().unwrap().bound_token(&vault()).await.unwrap();
    let journal = pair.emulator().journal();
    let sent: Vec<_> = journal.iter().filter_map(|entry| entry.parameter("claims")).collect();
    let claims = |values: &str| format!(r#"{{"access_token":{{"xms_cc":{{"values":[{values}]}}}}}}"#);
    assert_eq!(sent, [claims(r#""own","cp1""#), claims(r#""cp1""#)]);
}

#[tokio::test]
async fn a_managed_identity_as_leg_1_refuses_an_fmi_path() {
    let pair = Pair::new();
    let identity = || pair.managed_identity(IdentityId::System).build().unwrap();
    let (scope, target) = (vault(), || pair.builder(builtin::TARGET_APP));
    let bound = target().with_assertions(identity()).build().unwrap();
    let unbound = target().with_unbound_assertions(identity()).build().unwrap();
    let errors = [
        bound.bound_token(&scope).assertion_fmi_path("a").await.unwrap_err(),
        unbound.bearer_token(&scope).assertion_fmi_path("a").await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), "option_not_for_managed_identity");
        assert_eq!(error.leg(), Some(Leg::One));
    }
    bound.bound_token(&scope).await.unwrap();
}
