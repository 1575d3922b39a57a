//! Managed identities against the emulated machine.

use certbound::{Authority, Client, IdentityId, ManagedIdentity, ResourceScope, Source, TenantId};
use certbound_core::environment::Cloud;
use certbound_testkit::Pair;
use certbound_testkit::emulator::JournalEntry;
use certbound_testkit::emulator::world::builtin;

use crate::two_leg::vault;

fn system(pair: &Pair) -> ManagedIdentity {
    pair.managed_identity(IdentityId::System).build().unwrap()
}

/// What was asked, in short: the last part of each path.
fn asked(pair: &Pair) -> Vec<String> {
    let journal = pair.emulator().journal();
    pair.emulator().clear_journal();
    let last = |entry: &JournalEntry| entry.path.rsplit('/').next().unwrap_or_default().to_owned();
    journal.iter().map(last).collect()
}

#[tokio::test]
async fn a_machine_binds_tokens_to_the_certificate_it_is_issued() {
    let pair = Pair::new();
    let identity = system(&pair);
    let vault = vault();
    let token = identity.bound_token(&vault).await.unwrap();
    assert_eq!(asked(&pair), ["getplatformmetadata", "issuecredential", "token"]);
    assert!(token.details().binding_observed);
    assert!(token.binding().chain().subject().contains(builtin::SYSTEM_IDENTITY));
    assert_eq!(
        token.details().endpoint,
        format!("https://westus3.mtlsauth.microsoft.com/{}/oauth2/v2.0/token", builtin::TENANT)
    );
    let url = format!("https://{}/secrets/demo", builtin::VAULT_HOST);
    let get = http::Request::get(url).body(bytes::Bytes::new()).unwrap();
    assert_eq!(identity.resource(&vault).call(get).await.unwrap().status(), 200);

    // Another resource: the certificate is there already. The same again: nothing is asked.
    asked(&pair);
    identity.bound_token(&ResourceScope::graph(Cloud::Public)).await.unwrap();
    assert_eq!(asked(&pair), ["token"]);
    let again = identity.bound_token(&vault).await.unwrap();
    assert_eq!((again.details().source, asked(&pair)), (Source::Cache, vec![]));
    let forced = identity.bound_token(&vault).force_refresh().await.unwrap();
    assert_eq!((forced.binding(), asked(&pair)), (token.binding(), vec!["token".to_owned()]));
}

#[tokio::test]
async fn it_is_leg_1_for_bound_and_bearer_tokens() {
    let pair = Pair::new();
    for id in [IdentityId::System, IdentityId::client_id(builtin::USER_IDENTITY).unwrap()] {
        let leg1 = pair.managed_identity(id).build().unwrap();
        let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(leg1.clone()).build().unwrap();
        let token = leg2.bound_token(&vault()).await.unwrap();
        assert_eq!(token.details().legs.len(), 2);
        assert_eq!(*token.binding(), leg1.assertion().await.unwrap().binding().clone());
        let bearer = leg2.bearer_token(&vault()).await.unwrap();
        assert_eq!(bearer.details().token_type, "Bearer");
    }
    // The classic exchange: a plain token as an assertion that is bound to nothing.
    let authority = Authority::public(TenantId::parse(builtin::TENANT).unwrap());
    let classic = Client::builder(authority, builtin::TARGET_APP).with_transport(pair.transport());
    let classic =
        classic.with_clock(pair.clock().clone()).with_unbound_assertions(system(&pair)).build().unwrap();
    classic.bearer_token(&vault()).await.unwrap();
}

#[tokio::test]
async fn one_certificate_for_an_identity_however_it_is_named() {
    let pair = Pair::new();
    let names = [
        IdentityId::client_id(builtin::USER_IDENTITY).unwrap(),
        IdentityId::object_id(builtin::USER_IDENTITY_PRINCIPAL).unwrap(),
        IdentityId::resource_id(builtin::USER_IDENTITY_RESOURCE).unwrap(),
    ];
    let certificates = certbound::MachineCertificates::new();
    let mut thumbprints = Vec::new();
    for id in names {
        let identity = pair.managed_identity(id).with_certificates(certificates.clone()).build().unwrap();
        thumbprints.push(identity.bound_token(&vault()).await.unwrap().binding().thumbprint());
    }
    thumbprints.dedup();
    assert_eq!((thumbprints.len(), certificates.len()), (1, 1));
    let issued = asked(&pair).iter().filter(|path| *path == "issuecredential").count();
    assert_eq!(issued, 1);
}

#[tokio::test]
async fn a_hundred_who_ask_at_once_make_one_certificate_and_one_request() {
    let pair = Pair::new();
    let identity = system(&pair);
    let vault = vault();
    let all = (0..100).map(|_| async { identity.bound_token(&vault).await.unwrap() });
    let tokens = futures_util::future::join_all(all).await;
    assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(asked(&pair), ["getplatformmetadata", "issuecredential", "token"]);
}

#[tokio::test]
async fn plain_tokens_come_from_the_older_version_and_are_cached() {
    let pair = Pair::new();
    let identity = system(&pair);
    let management = ResourceScope::parse("https://management.azure.com/.default").unwrap();
    let token = identity.bearer_token(&management).await.unwrap();
    assert_eq!(token.scopes(), ["https://management.azure.com"]);
    assert_eq!(identity.bearer_token(&management).await.unwrap(), token);
    assert_eq!(asked(&pair), ["token"]);
}
