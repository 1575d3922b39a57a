//! Workload identity of Kubernetes: the variables of its webhook, and the file that the cluster rotates.

use std::path::Path;

use certbound::{ResourceScope, WorkloadIdentity};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{AnsweringTransport, Pair};

use crate::two_leg::vault;

const FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const CLIENT: &str = "AZURE_CLIENT_ID";
const TENANT: &str = "AZURE_TENANT_ID";
const HOST: &str = "AZURE_AUTHORITY_HOST";

/// Returns the four variables, with one of them replaced.
fn set<'a>(file: &'a Path, but: (&'a str, &'a str)) -> impl Fn(&str) -> Option<String> {
    move |name| match name {
        name if name == but.0 => Some(but.1.to_owned()),
        FILE => Some(file.display().to_string()),
        CLIENT => Some(builtin::TARGET_APP.to_owned()),
        TENANT => Some(builtin::TENANT.to_owned()),
        _ => None,
    }
}

#[tokio::test]
async fn a_clusters_token_is_exchanged_and_read_anew() {
    let pair = Pair::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let identity = WorkloadIdentity::from_environment(set(&file, (HOST, ""))).unwrap();
    assert_eq!(identity.client_id(), builtin::TARGET_APP);
    let client = identity.client().with_transport(pair.transport()).with_clock(pair.clock().clone());
    let client = client.build().unwrap();
    let scope: ResourceScope = vault();
    let missing = client.bearer_token(&scope).await.unwrap_err();
    assert_eq!(missing.code(), "assertion_provider_failed");
    // The emulated tenant trusts a Bearer token of a managed identity.
    let machine = pair.managed_identity(certbound::managed_identity::IdentityId::System).build().unwrap();
    let exchange = ResourceScope::parse("https://vault.azure.net/.default").unwrap();
    let wrong = machine.bearer_token(&exchange).await.unwrap();
    std::fs::write(&file, wrong.secret().expose()).unwrap();
    // The token has another audience, so the service refuses it. The refusal shows that the file was read.
    assert!(client.bearer_token(&scope).await.unwrap_err().aadsts().is_some());
    std::fs::write(&file, assertion(&pair).await).unwrap();
    client.bearer_token(&scope).await.unwrap();
}

/// Returns a token for the token-exchange audience from the metadata service.
async fn assertion(pair: &Pair) -> String {
    use certbound::Transport as _;
    use certbound::transport::Via;

    let url = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=api://AzureADTokenExchange";
    let request = http::Request::get(url).header("metadata", "true").body(bytes::Bytes::new()).unwrap();
    let answer = pair.transport().send(request, Via::Local).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(answer.response.body()).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_authority_is_that_of_the_variables() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "a.b.c").unwrap();
    for (host, asked) in [
        ("", "https://login.microsoftonline.com"),
        ("https://login.microsoftonline.us/", "https://login.microsoftonline.us"),
        ("https://login.partner.microsoftonline.cn", "https://login.partner.microsoftonline.cn"),
        ("login.microsoftonline.us", "https://login.microsoftonline.us"),
    ] {
        let transport = AnsweringTransport::with_tokens();
        let identity = WorkloadIdentity::from_environment(set(&file, (HOST, host))).unwrap();
        let client = identity.client().with_transport(transport.clone()).build().unwrap();
        client.bearer_token(&vault()).await.unwrap();
        let seen = transport.only();
        assert_eq!(seen.url, format!("{asked}/{}/oauth2/v2.0/token", builtin::TENANT));
        assert_eq!(
            (seen.parameter("client_id"), seen.parameter("client_assertion")),
            (builtin::TARGET_APP, "a.b.c")
        );
        assert!(seen.parameter("client_assertion_type").ends_with("jwt-bearer") && !seen.certificate);
    }
}

#[test]
fn a_variable_that_cannot_be_used_is_named() {
    for (variable, value, code) in [
        (FILE, "", "workload_identity_not_configured"),
        (CLIENT, "", "workload_identity_not_configured"),
        (TENANT, "", "workload_identity_not_configured"),
        (CLIENT, "my-app", "invalid_client_id"),
        (TENANT, "common", "missing_tenanted_authority"),
        (HOST, "http://login.microsoftonline.com", "authority_not_https"),
    ] {
        let environment = set(Path::new("/no/such/file"), (variable, value));
        let error = WorkloadIdentity::from_environment(environment).expect_err(variable);
        assert_eq!(error.code(), code, "{variable}={value}");
        assert!(error.to_string().contains(variable), "{error}");
        assert!(!error.fix().is_empty());
    }
}
