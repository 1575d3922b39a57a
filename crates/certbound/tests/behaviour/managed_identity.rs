//! Managed identities against the emulated machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use certbound::cache::Source;
use certbound::managed_identity::{Attestation, AttestationRequest, IdentityId, KeyStrength};
use certbound::{Authority, Client, Cloud, ManagedIdentity, ResourceScope, Secret, TenantId, UnixTime};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, JournalEntry, World};
use certbound_testkit::{AnsweringTransport, ManualClock, Pair, Seen};

use crate::two_leg::vault;

pub(crate) fn system(pair: &Pair) -> ManagedIdentity {
    pair.managed_identity(IdentityId::System).build().unwrap()
}

/// A claims challenge. With these claims a token is requested although one is cached, with the same certificate.
pub(crate) const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1785000000"}}}"#;

/// Returns the last part of each requested path.
pub(crate) fn asked(pair: &Pair) -> Vec<String> {
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
    assert_eq!(token.details().region.as_ref().map(|region| region.as_str()), Some("westus3"));
    assert!(token.binding().chain().subject().contains(builtin::SYSTEM_IDENTITY));
    assert_eq!(
        token.details().endpoint,
        format!("https://westus3.mtlsauth.microsoft.com/{}/oauth2/v2.0/token", builtin::TENANT)
    );
    let url = format!("https://{}/secrets/demo", builtin::VAULT_HOST);
    let get = http::Request::get(url).body(bytes::Bytes::new()).unwrap();
    assert_eq!(identity.resource(&vault).call(get).await.unwrap().status(), 200);

    // For another resource the certificate exists already. A second request for the same resource sends nothing.
    asked(&pair);
    identity.bound_token(&ResourceScope::graph(Cloud::Public)).await.unwrap();
    assert_eq!(asked(&pair), ["token"]);
    let again = identity.bound_token(&vault).await.unwrap();
    assert_eq!((again.details().source, asked(&pair)), (Source::Cache, vec![]));
    let challenged = identity.bound_token(&vault).claims(CLAIMS).await.unwrap();
    assert_eq!((challenged.binding(), asked(&pair)), (token.binding(), vec!["token".to_owned()]));
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
    // In this exchange the assertion is unbound: it is a Bearer token of the identity.
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
    let certificates = certbound::managed_identity::MachineCertificates::new();
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
    assert!(token.scopes().eq(["https://management.azure.com"]));
    assert_eq!(identity.bearer_token(&management).await.unwrap(), token);
    assert_eq!(asked(&pair), ["token"]);
}

/// Refuses the next token request as the service refuses a certificate.
pub(crate) fn refuse_once(pair: &Pair, aadsts: u32) {
    let body = format!(
        r#"{{"error":"invalid_client","error_description":"AADSTS{aadsts}: no.","error_codes":[{aadsts}]}}"#
    );
    let result = FaultResult::Status { status: 401, body, retry_after: None, headers: [].into() };
    let condition = Condition { host_suffix: Some("mtlsauth.microsoft.com".to_owned()), ..Condition::any() };
    pair.emulator().add_fault(Fault::once(condition, result));
}

/// During this time after a certificate was refused, its successor is not replaced for the same reason.
pub(crate) const PAUSE: Duration = Duration::from_secs(180);

/// Returns for each request for a certificate whether it bypassed the metadata service's cache.
pub(crate) fn past_the_cache(pair: &Pair) -> Vec<bool> {
    let journal = pair.emulator().journal();
    let issued = journal.iter().filter(|entry| entry.path.ends_with("issuecredential"));
    issued.map(|entry| entry.parameter("bypass_cache").is_some()).collect()
}

#[tokio::test]
async fn a_certificate_that_is_blamed_is_replaced_once() {
    let pair = Pair::new();
    let identity = system(&pair);
    let first = identity.bound_token(&vault()).await.unwrap();
    assert_eq!((past_the_cache(&pair), asked(&pair).len()), (vec![false], 3));
    refuse_once(&pair, 1_000_901);
    let second = identity.bound_token(&vault()).claims(CLAIMS).await.unwrap();
    assert_eq!(past_the_cache(&pair), [true], "the service may have cached the refused certificate");
    assert_eq!(asked(&pair), ["token", "getplatformmetadata", "issuecredential", "token"]);
    assert_ne!(first.binding(), second.binding());
    assert_eq!(first.binding().chain().ders().len(), 1, "the older certificate does not change");
    // A second refusal is an error, for an assertion too.
    pair.clock().advance(PAUSE);
    refuse_once(&pair, 1_000_901);
    refuse_once(&pair, 1_000_901);
    let error = identity.bound_token(&vault()).claims(CLAIMS).await.unwrap_err();
    assert_eq!((error.code(), error.aadsts()), ("invalid_client", Some(1_000_901)));
    // The certificate that was refused last is not presented again either.
    asked(&pair);
    identity.bound_token(&vault()).claims(CLAIMS).await.unwrap();
    assert_eq!(asked(&pair), ["getplatformmetadata", "issuecredential", "token"]);
    pair.clock().advance(PAUSE);
    refuse_once(&pair, 1_000_901);
    identity.assertion().await.unwrap();
    assert_eq!(asked(&pair), ["token", "getplatformmetadata", "issuecredential", "token"]);
}

#[tokio::test]
async fn a_certificate_is_renewed_at_half_of_its_life_and_never_under_a_token() {
    let pair = Pair::new();
    let identity = system(&pair);
    let day = Duration::from_secs(24 * 3600);
    let first = identity.bound_token(&vault()).await.unwrap();
    pair.clock().advance(3 * day);
    let before_half = identity.bound_token(&vault()).await.unwrap();
    assert_eq!(before_half.binding(), first.binding());
    asked(&pair);
    pair.clock().advance(day);
    // Callers get the old certificate during the renewal. After the renewal they get the new certificate.
    let meanwhile = identity.bound_token(&vault()).await.unwrap();
    assert_eq!(meanwhile.binding(), first.binding());
    let soon = async {
        loop {
            let token = identity.bound_token(&vault()).await.unwrap();
            if token.binding() != first.binding() {
                break token;
            }
            tokio::task::yield_now().await;
        }
    };
    let renewed = tokio::time::timeout(Duration::from_secs(60), soon).await.unwrap();
    assert_eq!(past_the_cache(&pair), [false], "the old certificate was not refused");
    assert_ne!(renewed.binding(), first.binding());
    assert_eq!(meanwhile.binding(), first.binding());
    // On its last day a certificate is not used for new tokens, even if the renewal failed.
    let refused = Condition { path_contains: Some("getplatformmetadata".to_owned()), ..Condition::any() };
    pair.clock().advance(6 * day + Duration::from_secs(60));
    pair.emulator().add_fault(Fault::once(
        refused,
        FaultResult::Status { status: 403, body: String::new(), retry_after: None, headers: [].into() },
    ));
    assert_eq!(identity.bound_token(&vault()).await.unwrap_err().code(), "managed_identity_request_failed");
    assert_ne!(identity.bound_token(&vault()).await.unwrap().binding(), renewed.binding());
}

/// Returns an identity whose platform answers by a function.
fn answered(
    variables: &'static [(&'static str, &'static str)],
    id: IdentityId,
    answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static,
) -> (ManagedIdentity, AnsweringTransport) {
    let transport = AnsweringTransport::new(answer);
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let identity = ManagedIdentity::builder(id)
        .with_environment(variable)
        .with_transport(transport.clone())
        .with_clock(ManualClock::at(UnixTime::from_secs(1_785_000_000)))
        .build()
        .unwrap();
    (identity, transport)
}

const TOKEN: &str = r#"{"access_token":"T","expires_on":"1785003600","resource":"https://vault.azure.net","token_type":"Bearer"}"#;

#[tokio::test]
async fn each_platform_is_asked_in_its_own_way() {
    const APP_SERVICE: &[(&str, &str)] =
        &[("IDENTITY_ENDPOINT", "http://127.0.0.1:41/msi/token"), ("IDENTITY_HEADER", "H")];
    const ML: &[(&str, &str)] = &[
        ("MSI_ENDPOINT", "http://127.0.0.1:42/msi"),
        ("MSI_SECRET", "S"),
        ("DEFAULT_IDENTITY_CLIENT_ID", "D"),
    ];
    const CLOUD_SHELL: &[(&str, &str)] = &[("MSI_ENDPOINT", "http://localhost:50342/oauth2/token")];
    const ARC: &[(&str, &str)] =
        &[("IDENTITY_ENDPOINT", "http://localhost:40342/x"), ("IMDS_ENDPOINT", "http://localhost:40342")];
    const POD: &[(&str, &str)] =
        &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://10.0.0.1:4/metadata/identity/oauth2/token")];
    const VAULT: &str = "resource=https%3A%2F%2Fvault.azure.net";
    let guid = "98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514";
    let client = || IdentityId::client_id(guid).unwrap();
    let object = || IdentityId::object_id(guid).unwrap();
    let resource = || IdentityId::resource_id("/subscriptions/a").unwrap();
    let imds = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01";
    type Row<'a> = (&'static [(&'static str, &'static str)], IdentityId, String, &'a str, &'a str, &'a str);
    let rows: Vec<Row<'_>> = vec![
        (&[], IdentityId::System, format!("{imds}&{VAULT}"), "true", "", ""),
        (&[], client(), format!("{imds}&{VAULT}&client_id={guid}"), "true", "", ""),
        (&[], object(), format!("{imds}&{VAULT}&object_id={guid}"), "true", "", ""),
        (&[], resource(), format!("{imds}&{VAULT}&msi_res_id=%2Fsubscriptions%2Fa"), "true", "", ""),
        (
            POD,
            IdentityId::System,
            format!("http://10.0.0.1:4/metadata/identity/oauth2/token?api-version=2018-02-01&{VAULT}"),
            "true",
            "",
            "",
        ),
        (
            APP_SERVICE,
            resource(),
            format!(
                "http://127.0.0.1:41/msi/token?api-version=2019-08-01&{VAULT}&mi_res_id=%2Fsubscriptions%2Fa"
            ),
            "",
            "H",
            "",
        ),
        (
            ML,
            IdentityId::System,
            format!("http://127.0.0.1:42/msi?api-version=2017-09-01&{VAULT}&clientid=D"),
            "true",
            "",
            "S",
        ),
        (
            ML,
            client(),
            format!("http://127.0.0.1:42/msi?api-version=2017-09-01&{VAULT}&clientid={guid}"),
            "true",
            "",
            "S",
        ),
        (CLOUD_SHELL, IdentityId::System, "http://localhost:50342/oauth2/token".to_owned(), "true", "", ""),
        (
            ARC,
            IdentityId::System,
            format!("http://localhost:40342/x?api-version=2020-06-01&{VAULT}"),
            "true",
            "",
            "",
        ),
    ];
    for (variables, id, url, metadata, header, secret) in rows {
        let (identity, transport) = answered(variables, id, |_| (200, TOKEN.to_owned()));
        identity.bearer_token(&vault()).await.unwrap();
        let seen = transport.only();
        assert_eq!(seen.url, url);
        assert_eq!(
            (seen.header("metadata"), seen.header("x-identity-header"), seen.header("secret")),
            (metadata, header, secret),
            "{url}"
        );
        let is_post = url.starts_with("http://localhost:50342");
        assert_eq!(
            (seen.method.as_str(), seen.body.as_str()),
            if is_post { ("POST", VAULT) } else { ("GET", "") },
            "{url}"
        );
        assert!(!seen.certificate);
    }
    // An unsupported request is refused before a request is sent.
    for variables in [APP_SERVICE, ML, CLOUD_SHELL, ARC] {
        let (identity, transport) = answered(variables, IdentityId::System, |_| (200, TOKEN.to_owned()));
        let error = identity.bound_token(&vault()).await.unwrap_err();
        assert_eq!(error.code(), "mtls_pop_not_supported_for_environment");
        assert!(
            error.to_string().contains(&identity.origin().to_string()) && transport.seen().is_empty(),
            "{error}"
        );
        assert!(!identity.capabilities().await.unwrap().binds);
    }
}

#[tokio::test]
async fn a_platform_that_cannot_now_is_asked_again_by_its_table() {
    for (status, times) in [(404, 4), (429, 4), (500, 4), (410, 8), (400, 1), (403, 1)] {
        let (identity, transport) = answered(&[], IdentityId::System, move |_| (status, String::new()));
        let error = identity.bearer_token(&vault()).await.unwrap_err();
        assert_eq!(
            (error.code(), transport.seen().len()),
            ("managed_identity_request_failed", times),
            "{status}"
        );
        assert_eq!(error.is_transient(), times > 1);
    }
    // A metadata service of version 1 answers the operation of version 2 with 404.
    let (identity, transport) = answered(&[], IdentityId::System, |_| (404, String::new()));
    let error = identity.bound_token(&vault()).await.unwrap_err();
    assert_eq!((error.code(), transport.seen().len()), ("mtls_pop_token_not_supported_in_imds_v1", 4));
    // A transient failure is not visible to the caller.
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let (identity, _) = answered(&[], IdentityId::System, move |_| {
        match calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 | 1 => (503, String::new()),
            _ => (200, TOKEN.to_owned()),
        }
    });
    identity.bearer_token(&vault()).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_passes_by_the_identity_is_found_out() {
    const ARC: &[(&str, &str)] =
        &[("IDENTITY_ENDPOINT", "http://localhost:40342/x"), ("IMDS_ENDPOINT", "http://localhost:40342")];
    let client = || IdentityId::client_id("98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514").unwrap();
    let resource = || IdentityId::resource_id("/subscriptions/a").unwrap();
    for (id, echo, taken) in [
        (client(), "", false),
        (client(), r#","client_id":"other""#, false),
        (client(), r#","object_id":"98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514""#, false),
        (client(), r#","client_id":"98C4F2E7-1b60-4a5d-9e83-0f7d26b8c514""#, true),
        (resource(), r#","msi_res_id":"/Subscriptions/A""#, true),
        (resource(), r#","mi_res_id":"/subscriptions/a""#, true),
        (resource(), r#","mi_res_id":"/subscriptions/b","msi_res_id":"/subscriptions/a""#, true),
        (resource(), r#","mi_res_id":"/subscriptions/a","msi_res_id":"/subscriptions/b""#, false),
    ] {
        let body = TOKEN.replace('}', &format!("{echo}}}"));
        let (identity, _) = answered(ARC, id, move |_| (200, body.clone()));
        let code = identity.bearer_token(&vault()).await.map(drop).map_err(|error| error.code().to_owned());
        let expected = match taken {
            true => Ok(()),
            false => Err("user_assigned_managed_identity_not_supported".to_owned()),
        };
        assert_eq!(code, expected, "{echo}");
    }
}

/// A hook that returns the attestation token that a word describes.
pub(crate) struct Says(&'static str, Arc<AtomicUsize>, Arc<certbound_testkit::emulator::Emulator>, UnixTime);

impl Attestation for Says {
    async fn attest(&self, request: &AttestationRequest) -> Result<Secret, String> {
        self.1.fetch_add(1, Ordering::SeqCst);
        match self.0 {
            "nothing" => Ok(Secret::new(" ")),
            "failure" => Err("the TPM is locked".to_owned()),
            fault => Ok(Secret::new(self.2.attest_for_tests(request.key.public_key(), self.3, fault))),
        }
    }
}

#[tokio::test]
async fn s84_an_attestation_is_the_keys_own_and_the_service_judges_it() {
    for (word, expected) in [
        ("right", Ok(())),
        ("expired", Err((Some(1_000_610), "invalid_client"))),
        ("issuer", Err((Some(1_000_611), "invalid_client"))),
        ("key", Err((Some(1_000_612), "invalid_client"))),
        ("jku", Err((Some(1_000_613), "invalid_client"))),
        ("signature", Err((Some(1_000_614), "invalid_client"))),
        ("nothing", Err((None, "attestation_failed"))),
        ("failure", Err((None, "attestation_failed"))),
    ] {
        let mut world = World::built_in();
        world.machine.attestation_required = true;
        let pair = Pair::with_world(world);
        let unattested = system(&pair).bound_token(&vault()).await.unwrap_err();
        assert_eq!(unattested.code(), "managed_identity_request_failed");
        assert!(unattested.fix().contains("attest"), "{}", unattested.fix());
        let calls = Arc::new(AtomicUsize::new(0));
        let hook = Says(
            word,
            Arc::clone(&calls),
            Arc::clone(pair.emulator()),
            certbound::clock::Clock::now(pair.clock()),
        );
        let identity = pair.managed_identity(IdentityId::System).with_attestation(hook).build().unwrap();
        let result = identity.bound_token(&vault()).await.map(drop);
        let result = result.map_err(|error| (error.aadsts(), error.code().to_owned()));
        assert_eq!(result, expected.map_err(|(number, code)| (number, code.to_owned())), "{word}");
        // An attestation token that the service refused is not used for the second attempt.
        let expected_calls = if matches!(expected, Err((Some(_), _))) { 2 } else { 1 };
        assert_eq!(calls.load(Ordering::SeqCst), expected_calls, "{word}");
    }
}

#[tokio::test]
async fn a_key_that_is_kept_less_well_than_demanded_sends_nothing() {
    let pair = Pair::new();
    let builder = pair.managed_identity(IdentityId::System).min_strength(KeyStrength::Hardware);
    let identity = builder.build().unwrap();
    assert_eq!(identity.bound_token(&vault()).await.unwrap_err().code(), "min_strength_not_met");
    assert!(asked(&pair).is_empty());
}

/// Checks the client's certificate request with openssl.
#[tokio::test]
async fn openssl_verifies_the_certificate_request() {
    use std::io::Write as _;

    let metadata = r#"{"cuId":{"vmId":"01234567-89ab-cdef-0123-456789abcdef"},"clientId":"11111111-2222-3333-4444-555555555555",
        "tenantId":"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee","attestationEndpoint":"https://x.example"}"#;
    let (identity, transport) = {
        let transport = AnsweringTransport::new(move |seen| match seen.method.as_str() {
            "GET" => (200, metadata.to_owned()),
            _ => (400, String::new()),
        });
        let transport = transport.with_header("server", "IMDS/1");
        let builder =
            ManagedIdentity::system_assigned().with_environment(|_| None).with_transport(transport.clone());
        (builder.build().unwrap(), transport)
    };
    identity.bound_token(&vault()).await.unwrap_err();
    let body: serde_json::Value = serde_json::from_str(&transport.seen()[1].body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1, "no attestation_token");
    let csr =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body["csr"].as_str().unwrap())
            .unwrap();
    let mut openssl = std::process::Command::new("openssl")
        .args(["req", "-inform", "DER", "-noout", "-verify", "-subject", "-nameopt", "RFC2253", "-text"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(&csr).unwrap();
    let output = openssl.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && text.contains("verify OK"), "{text}");
    for part in [
        // RFC 2253 writes the names in reverse order. All versions of openssl agree on this form.
        "CN=11111111-2222-3333-4444-555555555555,DC=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "1.3.6.1.4.1.311.90.2.10",
        r#"{"vmId":"01234567-89ab-cdef-0123-456789abcdef"}"#,
        "rsassaPss",
        "Salt Length: 0x20",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
