//! No secret is logged at any level. Positive controls prove that the test would find a logged secret.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound::clock::Clock as _;
use certbound::managed_identity::{
    Attestation, AttestationRequest, IdentityId, MachineCertificates, SoftwareKeys,
};
use certbound::region::RegionDetector;
use certbound::state::StateDirectory;
use certbound::{
    Authority, Client, Cloud, ManagedIdentity, Region, ResourceScope, Secret, TenantId, TokenCache, UnixTime,
};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Emulator, PLATFORM_SECRET, World};
use certbound_testkit::{AnsweringTransport, CapturedLogs, EmptyStore, Pair};

fn vault() -> ResourceScope {
    ResourceScope::key_vault(Cloud::Public)
}

#[tokio::test]
async fn the_whole_flow_logs_no_secret() {
    let logs = CapturedLogs::begin();
    let pair = Pair::new();
    let leg1 = pair.leg1();
    let assertion = leg1.assertion().await.unwrap();
    let leg2 = pair.leg2();
    let bound = leg2.bound_token(&vault()).await.unwrap();
    let bearer = leg2.bearer_token(&vault()).await.unwrap();
    let request = http::Request::get("https://demo.vault.azure.net/secrets/demo?api-version=7.4");
    leg2.resource(&vault()).call(request.body(bytes::Bytes::new()).unwrap()).await.unwrap();
    tracing::trace!("{assertion:?} {bound:?} {bearer:?} {leg2:?} {:?}", pair.certificate());

    let thumbprint = pair.emulator().service_fabric_thumbprint();
    let node = ManagedIdentity::system_assigned().with_transport(pair.transport());
    let node = node.with_clock(pair.clock().clone()).with_environment(move |name| match name {
        "IDENTITY_ENDPOINT" => Some("https://169.254.169.254/service-fabric/token".to_owned()),
        "IDENTITY_HEADER" => Some(PLATFORM_SECRET.to_owned()),
        "IDENTITY_SERVER_THUMBPRINT" => Some(thumbprint.to_string()),
        _ => None,
    });
    let node = node.build().unwrap();
    let of_node = node.bearer_token(&vault()).await.unwrap();
    tracing::trace!("{node:?} {of_node:?}");

    let (machine, of_machine, attestation, key) = attested_machine().await;
    tracing::trace!("{machine:?} {of_machine:?}");

    let of_secret = with_other_spans(&pair).await;

    let text = logs.text();
    assert!(text.contains("certificate issued"), "nothing of the machine was captured:\n{text}");
    assert_holds_no_key(&text, &key);
    assert!(!text.contains(PLATFORM_SECRET), "the platform's secret was logged");
    assert!(text.contains("token request"), "nothing was captured:\n{text}");
    let tokens = [assertion.secret(), bound.secret(), bearer.secret(), of_node.secret()];
    for secret in tokens.into_iter().chain([of_machine.secret(), of_secret.secret(), &attestation]) {
        let secret = secret.expose();
        assert!(!text.contains(secret), "a whole token was logged");
        // The signature makes the token usable, so not even that part may be logged.
        assert!(!text.contains(&secret[secret.len() - 40..]), "a token's signature was logged");
    }
    assert!(!text.contains("PRIVATE KEY"));
    assert_documented(&text);
    for (name, secret) in
        [("client secret", builtin::SECRET), ("query", QUERY), ("path", PATH), ("body", BODY)]
    {
        // The emulator of the tests logs the paths of its requests.
        let line = text.lines().find(|line| line.contains(secret) && !line.contains("certbound_emulator::"));
        assert_eq!(line, None, "a {name} was logged");
    }

    // The positive controls: a key in every encoding, and a secret in the log.
    for spelt in [STANDARD.encode(&key), format!("{key:?}"), hex(&key), format!("{:x?}", key)] {
        let found = std::panic::catch_unwind(|| assert_holds_no_key(&spelt, &key));
        assert!(found.is_err(), "a key would not be seen: {spelt}");
    }
    let planted = Secret::new("planted-secret-value");
    tracing::trace!("{}", planted.expose());
    assert!(logs.text().contains("planted-secret-value"));
    log::trace!("{} by log", planted.expose());
    assert!(logs.text().contains("planted-secret-value by log"));
    // The log contains the fields that a span has at its start, and the fields that are set later.
    let span = tracing::info_span!("token_request", a = "planted at the start", b = tracing::field::Empty);
    span.record("b", "planted later");
    drop(span);
    let text = logs.text();
    assert!(text.contains("planted at the start") && text.contains("planted later"));
}

/// Checks that exactly the spans of the document were captured from their start to their end. The search for secrets
/// then includes all their fields. The document must also name these fields.
fn assert_documented(text: &str) {
    let page = include_str!("../../../docs/observability.md");
    let (_, table) = page.split_once("\n## Spans\n").unwrap();
    let rows = table.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: BTreeMap<&str, &str> = rows.filter_map(|row| row.split_once('`')).collect();
    let mut captured: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines() {
        let Some((spans, event)) = line.split_once(": certbound::span: ") else { continue };
        // The line names the parents first.
        let (name, fields) = spans.rsplit("}:").next().unwrap().split_once('{').unwrap();
        let fields = fields.split(' ').filter_map(|field| Some(field.split_once('=')?.0));
        let (name, event) = (name.rsplit(' ').next().unwrap(), event.split(' ').next().unwrap());
        captured.entry((name, event)).or_default().extend(fields);
    }
    for event in ["new", "close"] {
        let names: Vec<_> = captured.keys().filter(|(_, of)| *of == event).map(|(name, _)| *name).collect();
        assert_eq!(names, rows.keys().copied().collect::<Vec<_>>(), "{event}");
    }
    for ((name, _), fields) in captured {
        for field in fields.into_iter().filter(|field| !field.starts_with("otel.")) {
            let is_http = ["http.", "server.", "error.type"].iter().any(|part| field.starts_with(part));
            let row = rows[name];
            let is_named = row.contains(&format!("`{field}`")) || (is_http && row.contains("HTTP fields"));
            assert!(is_named, "the document does not name the field {field} of {name}");
        }
    }
}

/// Texts of requests that can be secret.
const QUERY: &str = "planted-in-a-query";
const PATH: &str = "planted-in-a-path";
const BODY: &str = "planted-in-a-body";

/// Opens the spans that the flow above does not open: the spans of a store, of discovery, and of the detection of the
/// region. The requests contain secrets in each part that a caller chooses.
async fn with_other_spans(pair: &Pair) -> certbound::BearerToken {
    let cache = TokenCache::new().with_store(EmptyStore);
    let region = Authority::public(TenantId::parse(builtin::TENANT).unwrap()).with_region(Region::detect());
    let detector = RegionDetector::with_environment(|_| None);
    let client = pair.builder_at(region, builtin::SECRET_APP).with_region_detector(detector);
    let client = client.with_cache(cache.clone()).with_secret(Secret::new(builtin::SECRET)).build().unwrap();
    let (graph, vault) = (ResourceScope::graph(Cloud::Public), vault());
    let token = client.bearer_token(&graph).query("dc", QUERY).body("more", BODY).await.unwrap();
    cache.flush().await;
    let asked = http::Request::get(format!("https://demo.vault.azure.net/{PATH}?code={QUERY}"));
    pair.leg2().resource(&vault).call(asked.body(bytes::Bytes::new()).unwrap()).await.unwrap();

    let issuer = AnsweringTransport::new(|seen| match seen.method.as_str() {
        "GET" => (503, String::new()),
        _ => unreachable!("the request after discovery"),
    });
    let oidc = Client::builder(Authority::oidc("https://idp.example/realm").unwrap(), builtin::SECRET_APP);
    let oidc = oidc
        .with_transport(issuer)
        .with_clock(pair.clock().clone())
        .with_secret(Secret::new(builtin::SECRET))
        .build()
        .unwrap();
    oidc.bearer_token(&ResourceScope::of_other_authority("read").unwrap()).await.unwrap_err();
    token
}

/// An attestation hook that uses the emulator and records its token.
struct Remembers(Arc<Emulator>, Arc<Mutex<String>>, UnixTime);

impl Attestation for Remembers {
    async fn attest(&self, request: &AttestationRequest) -> Result<Secret, String> {
        let now = self.2;
        let token = self.0.attest_for_tests(request.key.public_key(), now, "right");
        *self.1.lock().unwrap() = token.clone();
        Ok(Secret::new(token))
    }
}

/// Returns a machine whose key is attested and stored in a folder, with its bound token, the attestation and the
/// private key.
async fn attested_machine() -> (ManagedIdentity, certbound::BoundToken, Secret, Vec<u8>) {
    let mut world = World::built_in();
    world.machine.attestation_required = true;
    let pair = Pair::with_world(world);
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    let state = StateDirectory::open(&folder).unwrap();
    let said = Arc::new(Mutex::new(String::new()));
    let machine = pair
        .managed_identity(IdentityId::System)
        .with_certificates(MachineCertificates::kept_in(&state))
        .with_keys(SoftwareKeys::kept_in(&state))
        .with_attestation(Remembers(Arc::clone(pair.emulator()), Arc::clone(&said), pair.clock().now()))
        .build()
        .unwrap();
    let token = machine.bound_token(&vault()).await.unwrap();
    let attestation = Secret::new(said.lock().unwrap().clone());
    assert!(attestation.len() > 100);
    (machine, token, attestation, std::fs::read(folder.join("software-key.der")).unwrap())
}

/// Checks that the text does not contain the middle of a key, which contains its secret numbers, in any usual encoding.
fn assert_holds_no_key(text: &str, key: &[u8]) {
    let middle = &key[key.len() / 3..key.len() / 3 + 24];
    let listed = format!("{middle:?}");
    let in_hex = format!("{middle:x?}");
    assert!(!text.contains(listed.trim_matches(['[', ']'])), "a key was logged as numbers");
    assert!(!text.contains(in_hex.trim_matches(['[', ']'])), "a key was logged as numbers");
    assert!(!text.contains(&hex(middle)), "a key was logged in hexadecimal");
    // Base64 has three alignments. Its first and last characters depend on the neighbouring bytes.
    for skip in 0..3 {
        let part = STANDARD.encode(&middle[skip..skip + 21]);
        assert!(!text.contains(&part), "a key was logged in base64");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
