//! CACHE: which callers share a token.

use std::collections::BTreeSet;
use std::path::Path;

use certbound::cache::{SealedStore, Source};
use certbound::credential::ByCertificate;
use certbound::state::StateDirectory;
use certbound::{BindingCertificate, BoundToken, Client, Thumbprint, TokenCache};
use certbound_core::jws;
use certbound_emulator::world::builtin::ORDERS_HOST;
use certbound_emulator::{Condition, Fault, FaultResult, LegKind};
use tokio_rustls::rustls::ALL_VERSIONS;

use super::door::{Door, door_to};
use super::evidence::Evidence;
use super::pki;
use super::rows::rows;
use super::stage::{
    MTLS_HOST, Stage, confirmation, graph, is_bound_by_certificate, only, order, orders, output,
};
use crate::support::{json, root};

rows! {
    (
        "CACHE-01",
        0,
        "A token from the memory of the cache has all fields of the first result.",
        a_token_from_memory_has_all_fields
    ),
    (
        "CACHE-02",
        0,
        "A certificate that was renewed over the same key gets a token of its own.",
        a_renewed_certificate_is_a_miss
    ),
    (
        "CACHE-03",
        0,
        "Two certificates of one application share neither tokens nor connections, even for one scope.",
        two_certificates_share_neither_tokens_nor_connections
    ),
    (
        "CACHE-04",
        1,
        "The same leaf with a different chain of issuers shares the token, because a token is bound to the leaf.",
        the_same_leaf_with_other_issuers_shares_the_token
    ),
    (
        "CACHE-05",
        0,
        "An answer with the type `Bearer` is written neither to the memory nor to the store.",
        a_downgrade_is_not_stored
    ),
    (
        "CACHE-06",
        0,
        "Two processes with different certificates share one sealed file at the same time. Neither they nor later processes \
         get a token that is bound to the certificate of the other.",
        two_processes_on_one_file_get_their_own_tokens
    ),
    (
        "CACHE-07",
        0,
        "A token from the store, read by a new cache, has all fields of the first result, with certificate and key. Only \
         the region outcome is not stored.",
        a_token_from_the_store_has_all_fields
    ),
}

fn client(stage: &Stage, cache: &TokenCache, certificate: BindingCertificate) -> Client<ByCertificate> {
    stage.builder().with_cache(cache.clone()).with_certificate(certificate).build().unwrap()
}

/// Returns the fields of a result that a cached token must have too. Only the place of the token differs.
fn fields(token: &BoundToken) -> Vec<(&'static str, String)> {
    let details = token.details();
    vec![
        ("token", token.secret().expose().to_owned()),
        ("expiry", token.expires_at().as_secs().to_string()),
        ("scopes", token.scopes().collect::<Vec<_>>().join(" ")),
        ("scheme", format!("{:?}", token.scheme())),
        ("certificate", token.binding().thumbprint().hex()),
        ("token type", details.token_type),
        ("tenant", details.tenant),
        ("endpoint", details.endpoint),
        ("region", format!("{:?}", details.region)),
        ("granted scopes", format!("{:?} {}", details.scopes, details.scopes_granted)),
        ("correlation id", details.correlation_id.to_string()),
        ("observed binding", details.binding_observed.to_string()),
        ("time of refresh", format!("{:?}", details.refresh_at)),
        ("other members of the answer", format!("{:?}", details.additional)),
    ]
}

/// Checks the second result, and returns the names of its fields.
fn has_all_fields(first: &BoundToken, second: &BoundToken, source: Source) -> String {
    assert_eq!(first.details().source, Source::Service);
    assert_eq!(second.details().source, source);
    assert_eq!(fields(second), fields(first));
    assert_eq!(second.details().token_type, "mtls_pop");
    fields(second).into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}

#[tokio::main(flavor = "current_thread")]
async fn a_token_from_memory_has_all_fields() -> Evidence {
    let stage = Stage::new().await;
    let client = stage.client(pki::c().binding());
    let first = client.bound_token(&graph()).await.unwrap();
    let second = client.bound_token(&graph()).await.unwrap();
    let fields = has_all_fields(&first, &second, Source::Cache);
    let outcome = second.details().region_outcome;
    assert!(outcome.is_some() && outcome == first.details().region_outcome);
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    Evidence::of(journal).fact("equal fields of the cached token", fields + ", region outcome")
}

/// Returns a new cache over the sealed file in this folder, as a new process has it.
fn sealed(folder: &Path) -> TokenCache {
    let state = StateDirectory::open(folder.join("tokens")).unwrap();
    TokenCache::new().with_store(SealedStore::with_key_file(&state).unwrap())
}

#[tokio::main(flavor = "current_thread")]
async fn a_token_from_the_store_has_all_fields() -> Evidence {
    let stage = Stage::new().await;
    let cache = sealed(stage.folder());
    let first = client(&stage, &cache, pki::c().binding()).bound_token(&orders()).await.unwrap();
    cache.flush().await;
    let again = sealed(stage.folder());
    let second = client(&stage, &again, pki::c().binding()).bound_token(&orders()).await.unwrap();
    let fields = has_all_fields(&first, &second, Source::Store);
    assert_eq!(second.details().region_outcome, None);
    assert_eq!(second.binding().chain().leaf_der(), pki::c().identity.leaf_der());
    // The call needs the private key.
    let answer = second.resource().call(order()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    is_bound_by_certificate(&journal[0], MTLS_HOST, pki::c());
    assert_eq!((journal[1].host.as_str(), journal[1].status), (ORDERS_HOST, 200));
    assert_eq!(journal[1].client_certificate, journal[0].client_certificate);
    let stored = format!("sha256:{}", Thumbprint::of_der(second.secret().expose().as_bytes()).hex());
    let called = journal[1].authorization_token.clone().unwrap();
    let tokens = BTreeSet::from([stored, called]).len();
    assert_eq!(tokens, 1);
    Evidence::of(journal)
        .fact("equal fields of the stored token", fields)
        .fact("different tokens in the store and in the call, by SHA-256", tokens)
}

#[tokio::main(flavor = "current_thread")]
async fn a_renewed_certificate_is_a_miss() -> Evidence {
    let stage = Stage::new().await;
    let cache = TokenCache::new();
    assert_eq!(
        pki::c().binding().chain().public_key_info(),
        pki::renewed().binding().chain().public_key_info()
    );
    let mut acquired = Vec::new();
    for (named, source) in [
        (pki::c(), Source::Service),
        (pki::renewed(), Source::Service),
        (pki::c(), Source::Cache),
        (pki::renewed(), Source::Cache),
    ] {
        let token = client(&stage, &cache, named.binding()).bound_token(&graph()).await.unwrap();
        assert_eq!((token.details().source, token.binding().thumbprint()), (source, named.thumbprint()));
        let of = format!("{:?}, cnf {}", token.details().source, confirmation(&token));
        acquired.push((format!("origin of the token with {}", named.name), of));
    }
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    is_bound_by_certificate(&journal[0], MTLS_HOST, pki::c());
    is_bound_by_certificate(&journal[1], MTLS_HOST, pki::renewed());
    acquired.into_iter().fold(Evidence::of(journal), |evidence, (name, value)| evidence.fact(name, value))
}

#[tokio::main(flavor = "current_thread")]
async fn two_certificates_share_neither_tokens_nor_connections() -> Evidence {
    let stage = Stage::new().await;
    let cache = TokenCache::new();
    let call = async |named: &pki::Named| {
        let resource = client(&stage, &cache, named.binding()).resource(&orders());
        let answer = resource.call(order()).await.unwrap();
        assert_eq!(answer.status(), 200);
        resource.token().await.unwrap()
    };
    let tokens = [call(pki::c()).await, call(pki::d()).await, call(pki::c()).await, call(pki::d()).await];
    let texts = tokens.each_ref().map(|token| token.secret().expose());
    assert_ne!(texts[0], texts[1]);
    assert_eq!(texts[..2], texts[2..]);
    let bound_to = tokens.each_ref().map(confirmation);
    let journal = stage.journal();
    assert_eq!(journal.len(), 6);
    for (at, named) in [(0, pki::c()), (2, pki::d())] {
        is_bound_by_certificate(&journal[at], MTLS_HOST, named);
    }
    for (at, named) in [(1, pki::c()), (3, pki::d()), (4, pki::c()), (5, pki::d())] {
        assert_eq!((journal[at].host.as_str(), journal[at].status), (ORDERS_HOST, 200));
        assert_eq!(journal[at].client_certificate, Some(named.thumbprint().x5t_s256()));
    }
    Evidence::of(journal).fact("cnf of the tokens of the four calls", bound_to.join(", "))
}

#[tokio::main(flavor = "current_thread")]
async fn the_same_leaf_with_other_issuers_shares_the_token() -> Evidence {
    let stage = Stage::new().await;
    let cache = TokenCache::new();
    let whole = pki::c().binding();
    let leaf = pki::c().leaf_alone();
    assert_eq!((whole.chain().ders().len(), leaf.chain().ders().len()), (2, 1));
    let first = client(&stage, &cache, whole).bound_token(&graph()).await.unwrap();
    let second = client(&stage, &cache, leaf).bound_token(&graph()).await.unwrap();
    assert_eq!(second.details().source, Source::Cache);
    assert_eq!(first.secret().expose(), second.secret().expose());
    let page = std::fs::read_to_string(root().join("docs/cache.md")).unwrap();
    let documented = page.lines().find(|line| line.starts_with("| certificate | by its SHA-256.")).unwrap();
    let documented = documented.split('.').next().unwrap().trim_start_matches("| ").replace(" | ", " ");
    // The token is used with the chain that the second client has.
    assert_eq!(second.binding().chain().ders().len(), 1);
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    Evidence::of(journal)
        .fact("origin of the token with the leaf alone", format!("{:?}", second.details().source))
        .fact("in the table of the cache key of docs/cache.md", documented)
}

#[tokio::main(flavor = "current_thread")]
async fn a_downgrade_is_not_stored() -> Evidence {
    let stage = Stage::new().await;
    let cache = sealed(stage.folder());
    let fault = Fault::once(Condition::leg(LegKind::Direct), FaultResult::BearerForMtlsPop);
    assert!(stage.emulator.add_fault(fault));
    let error = client(&stage, &cache, pki::c().binding()).bound_token(&graph()).await.unwrap_err();
    let cached = cache.len();
    assert_eq!((error.code(), cached), ("token_type_mismatch", 0));
    cache.flush().await;
    // Neither kind of token is in the store: a new cache over the same file requests both.
    let again = client(&stage, &sealed(stage.folder()), pki::c().binding());
    let bearer = again.bearer_token(&graph()).await.unwrap().details().source;
    let bound = again.bound_token(&graph()).await.unwrap().details().source;
    assert_eq!((bearer, bound), (Source::Service, Source::Service));
    let journal = stage.journal();
    assert_eq!(journal.len(), 3);
    assert_eq!(journal[0].token_type.as_deref(), Some("Bearer"));
    is_bound_by_certificate(&journal[2], MTLS_HOST, pki::c());
    Evidence::of(journal)
        .fact("error of the first acquisition", error.code())
        .fact("tokens in memory after the error", cached)
        .fact("origin of the Bearer token of a new cache over the same store", format!("{bearer:?}"))
        .fact("origin of the bound token of this cache", format!("{bound:?}"))
}

/// Runs one process of the command line with a certificate, and returns its result.
async fn process(stage: &Stage, door: &Door, folder: &Path, named: &pki::Named) -> serde_json::Value {
    let certificate = stage.file(named.name);
    let mut command =
        stage.command(&["token", "-o", "json", "--scope", graph().as_str(), "--certificate", &certificate]);
    let root = stage.folder().join("door.pem");
    std::fs::write(&root, door.root_pem()).unwrap();
    command.env("HTTPS_PROXY", door.proxy_url()).env("SSL_CERT_FILE", root);
    command.env_remove("CERTBOUND_NO_CACHE").env("CERTBOUND_CACHE_DIR", folder);
    json(&output(command).await)
}

#[tokio::main(flavor = "current_thread")]
async fn two_processes_on_one_file_get_their_own_tokens() -> Evidence {
    let stage = Stage::new().await;
    let door = door_to(&stage, ALL_VERSIONS).await;
    let folder = stage.folder().join("shared");
    let (c, d) = (pki::c(), pki::d());
    let run = |named| process(&stage, &door, &folder, named);
    // The answers go when both processes wait for them, so both read the file before either writes it.
    door.gate().close();
    let both_wait = async {
        let held = door.gate().has_held(2).await;
        door.gate().open();
        held
    };
    let (first, second, at_once) = tokio::join!(run(c), run(d), both_wait);
    let (third, fourth) = (run(c).await, run(d).await);
    let mut processes = Vec::new();
    for (result, named, is_cached) in
        [(&first, c, false), (&second, d, false), (&third, c, true), (&fourth, d, true)]
    {
        let (kind, from_cache) = (&result["tokenType"], result["fromCache"].as_bool().unwrap());
        assert_eq!((kind.as_str(), from_cache), (Some("mtls_pop"), is_cached));
        let claims = jws::unverified_claims(result["accessToken"].as_str().unwrap()).unwrap();
        let confirmation = claims.confirmation().unwrap().unwrap();
        assert_eq!(confirmation, named.thumbprint().x5t_s256());
        let of = format!("fromCache {from_cache}, cnf {}", pki::named(confirmation));
        processes.push((format!("process {} with {}", processes.len() + 1, named.name), of));
    }
    assert_eq!(
        (&first["accessToken"], &second["accessToken"]),
        (&third["accessToken"], &fourth["accessToken"])
    );
    assert!(folder.join("tokens.sealed").is_file());
    let journal = stage.journal();
    assert_eq!(journal.len(), 2, "{journal:#?}");
    let mut certificates: Vec<_> = journal.iter().map(|entry| entry.client_certificate.clone()).collect();
    let mut expected = vec![Some(c.thumbprint().x5t_s256()), Some(d.thumbprint().x5t_s256())];
    certificates.sort();
    expected.sort();
    assert_eq!(certificates, expected);
    // Process 1 and process 2 ran at the same time, so their requests arrived in any order.
    let evidence = Evidence::in_any_order(journal)
        .fact("processes that waited while the server held their answers", at_once);
    processes.into_iter().fold(evidence, |evidence, (name, value)| evidence.fact(name, value))
}
