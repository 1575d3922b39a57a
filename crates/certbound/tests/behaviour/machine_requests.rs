//! The platform, the endpoint and the selector of a request, and the environment variables that they need.

use certbound::cache::Source;
use certbound::managed_identity::{
    IdentityId, MachineSource, ManagedIdentityBuildError, ManagedIdentityBuilder,
};
use certbound::{Authority, Client, ManagedIdentity, TenantId, TokenCache, UnixTime};
use certbound_testkit::{AnsweringTransport, ManualClock, NeverTransport};

use crate::two_leg::vault;

const GUID: &str = "98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514";
const VAULT: &str = "resource=https%3A%2F%2Fvault.azure.net";
const APP_SERVICE: &[(&str, &str)] =
    &[("IDENTITY_ENDPOINT", "http://127.0.0.1:41/msi/token"), ("IDENTITY_HEADER", "H")];
const ARC: &[(&str, &str)] =
    &[("IDENTITY_ENDPOINT", "http://localhost:40342/x"), ("IMDS_ENDPOINT", "http://localhost:40342")];
const ML: &[(&str, &str)] =
    &[("MSI_ENDPOINT", "http://127.0.0.1:42/msi"), ("MSI_SECRET", "S"), ("DEFAULT_IDENTITY_CLIENT_ID", "D")];
const CLOUD_SHELL: &[(&str, &str)] = &[("MSI_ENDPOINT", "http://localhost:50342/oauth2/token")];

type Variables = &'static [(&'static str, &'static str)];

const NOW: UnixTime = UnixTime::from_secs(1_785_000_000);

fn builder(variables: Variables, id: IdentityId) -> ManagedIdentityBuilder {
    ManagedIdentity::builder(id).with_clock(ManualClock::at(NOW)).with_environment(move |name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

/// Returns the URL of the only token request. The agent confirms every identity.
async fn asked(builder: ManagedIdentityBuilder) -> String {
    let transport = AnsweringTransport::new(|_| {
        let ids = format!(r#""client_id":"{GUID}","object_id":"{GUID}","mi_res_id":"/subscriptions/a""#);
        (200, format!(r#"{{"access_token":"T","expires_in":3600,{ids}}}"#))
    });
    let identity = builder.with_transport(transport.clone()).build().unwrap();
    identity.bearer_token(&vault()).await.unwrap();
    transport.only().url
}

#[tokio::test]
async fn a_platform_that_is_named_is_taken_whatever_the_environment_says() {
    for (variables, origin, url) in [
        (
            APP_SERVICE,
            MachineSource::Imds,
            format!("http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&{VAULT}"),
        ),
        (
            CLOUD_SHELL,
            MachineSource::AzureArc,
            format!("http://127.0.0.1:40342/metadata/identity/oauth2/token?api-version=2020-06-01&{VAULT}"),
        ),
        (ML, MachineSource::CloudShell, "http://127.0.0.1:42/msi".to_owned()),
        (
            ARC,
            MachineSource::Imds,
            format!("http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&{VAULT}"),
        ),
    ] {
        assert_eq!(asked(builder(variables, IdentityId::System).at(origin)).await, url);
    }
    // A named source still needs its variables.
    let refused = builder(CLOUD_SHELL, IdentityId::System).at(MachineSource::AppService).build().unwrap_err();
    assert!(refused.to_string().contains("IDENTITY_ENDPOINT"), "{refused}");
}

#[tokio::test]
async fn each_platform_has_its_own_words_for_an_identity() {
    let client = || IdentityId::client_id(GUID).unwrap();
    let object = || IdentityId::object_id(GUID).unwrap();
    let resource = || IdentityId::resource_id("/subscriptions/a").unwrap();
    let app = format!("http://127.0.0.1:41/msi/token?api-version=2019-08-01&{VAULT}");
    let arc = format!("http://localhost:40342/x?api-version=2020-06-01&{VAULT}");
    for (variables, id, url) in [
        (APP_SERVICE, client(), format!("{app}&client_id={GUID}")),
        (APP_SERVICE, object(), format!("{app}&object_id={GUID}")),
        (APP_SERVICE, resource(), format!("{app}&mi_res_id=%2Fsubscriptions%2Fa")),
        (ARC, client(), format!("{arc}&client_id={GUID}")),
        (ARC, object(), format!("{arc}&object_id={GUID}")),
        (ARC, resource(), format!("{arc}&msi_res_id=%2Fsubscriptions%2Fa")),
    ] {
        assert_eq!(asked(builder(variables, id)).await, url);
    }
}

#[test]
fn what_the_environment_lacks_is_told_before_anything_is_asked() {
    const UNNAMED: Variables = &[("MSI_ENDPOINT", "http://127.0.0.1:42/msi"), ("MSI_SECRET", "S")];
    const ODD_HEADER: Variables =
        &[("IDENTITY_ENDPOINT", "http://127.0.0.1:41/x"), ("IDENTITY_HEADER", "se\u{1}cret")];
    const ODD_SECRET: Variables = &[
        ("MSI_ENDPOINT", "http://127.0.0.1:42/msi"),
        ("MSI_SECRET", "se\u{7f}cret"),
        ("DEFAULT_IDENTITY_CLIENT_ID", "D"),
    ];
    const ODD_FABRIC: Variables = &[
        ("IDENTITY_ENDPOINT", "https://127.0.0.1:41/x"),
        ("IDENTITY_HEADER", "se\ncret"),
        ("IDENTITY_SERVER_THUMBPRINT", "A9993E364706816ABA3E25717850C26C9CD0D89D"),
    ];
    for (variables, code, variable, fix) in [
        (UNNAMED, "invalid_managed_identity_id_type", "DEFAULT_IDENTITY_CLIENT_ID", "set the variable"),
        (ODD_HEADER, "invalid_managed_identity_endpoint", "IDENTITY_HEADER", "one line"),
        (ODD_SECRET, "invalid_managed_identity_endpoint", "MSI_SECRET", "one line"),
        (ODD_FABRIC, "invalid_managed_identity_endpoint", "IDENTITY_HEADER", "one line"),
    ] {
        let identity = builder(variables, IdentityId::System).with_transport(NeverTransport);
        let error = identity.build().expect_err(variable);
        assert!(matches!(error, ManagedIdentityBuildError::Environment(_)), "{error:?}");
        assert_eq!(error.code(), code, "{variable}");
        assert!(
            error.to_string().contains(variable) && error.fix().contains(fix),
            "{error}: {}",
            error.fix()
        );
        assert!(!format!("{error} {error:?}").contains("cret"), "{error:?}");
    }
    // A named identity does not need the variable.
    let named = IdentityId::client_id(GUID).unwrap();
    builder(UNNAMED, named).with_transport(NeverTransport).build().unwrap();
}

/// Identities of different programs or with different defaults can have one endpoint. Their tokens are not shared.
#[tokio::test]
async fn the_default_identity_and_the_platforms_secret_separate_tokens() {
    const OTHER_DEFAULT: Variables = &[
        ("MSI_ENDPOINT", "http://127.0.0.1:42/msi"),
        ("MSI_SECRET", "S"),
        ("DEFAULT_IDENTITY_CLIENT_ID", "E"),
    ];
    const OTHER_SECRET: Variables =
        &[("IDENTITY_ENDPOINT", "http://127.0.0.1:41/msi/token"), ("IDENTITY_HEADER", "other")];
    const TOKEN: &str = r#"{"access_token":"T","expires_in":3600,"token_type":"Bearer"}"#;
    let authority = Authority::public(TenantId::parse("contoso.com").unwrap());
    for (one, other) in [(ML, OTHER_DEFAULT), (APP_SERVICE, OTHER_SECRET)] {
        let cache = TokenCache::new();
        let transport = AnsweringTransport::new(|_| (200, TOKEN.to_owned()));
        let (mut of_identity, mut of_client) = (Vec::new(), Vec::new());
        for variables in [one, one, other] {
            let builder = builder(variables, IdentityId::System).with_transport(transport.clone());
            let identity = builder.with_cache(cache.clone()).build().unwrap();
            of_identity.push(identity.bearer_token(&vault()).await.unwrap().details().source);
            let client = Client::builder(authority.clone(), GUID).with_transport(transport.clone());
            let client = client.with_clock(ManualClock::at(NOW)).with_cache(cache.clone());
            let client = client.without_authority_validation();
            let client = client.with_unbound_assertions(identity).build().unwrap();
            of_client.push(client.bearer_token(&vault()).await.unwrap().details().source);
        }
        assert_eq!(of_identity, [Source::Service, Source::Cache, Source::Service], "{other:?}");
        assert_eq!(of_client, of_identity, "{other:?}");
    }
}
