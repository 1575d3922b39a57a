//! CFG: the credentials of a client.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use certbound::credential::unbound_fn;
use certbound::error::TransportError;
use certbound::transport::{Answer, HyperTransport, Via};
use certbound::{AnyClient, BindingCertificate, Client, Secret, TokenSource as _, Transport};
use certbound_core::jws;
use tokio_rustls::rustls::ALL_VERSIONS;

use super::door::{Clients, Door};
use super::elsewhere::Elsewhere;
use super::evidence::Evidence;
use super::pki;
use super::rows::rows;
use super::stage::{MTLS_HOST, Stage, global, graph, is_bound_by_certificate, only, output};
use super::token_key::{self, TokenKey};
use super::trap::Trap;
use crate::support::{self, APP, TENANT, refusal, root};

rows! {
    (
        "CFG-01",
        0,
        "A client with a certificate gets a bound token. In TLS it presents exactly the configured leaf certificate.",
        a_certificate_gets_a_bound_token_and_is_presented
    ),
    (
        "CFG-02",
        0,
        "A bound token for a client with a secret does not compile. The command line refuses it with exit code 2, \
         before any request.",
        a_secret_gets_no_bound_token
    ),
    (
        "CFG-03",
        0,
        "A bound token for a client with an unbound assertion is refused before any request. The client does not request \
         a Bearer token instead.",
        an_unbound_assertion_gets_no_bound_token
    ),
    (
        "CFG-04",
        0,
        "A certificate without its private key is an error about the key, before any request.",
        a_certificate_without_its_key_is_refused
    ),
    (
        "CFG-05",
        0,
        "An empty chain is an error. If the client presents no certificate, or a self-signed certificate, the error has \
         the service's code, and nothing is cached. The leaf alone, without its issuer, is enough.",
        an_empty_chain_ends_in_an_error_with_the_services_code
    ),
    (
        "CFG-06",
        1,
        "The library never has the private key. Signatures by the owner of the key are enough for the handshake and \
         for a bound token.",
        a_key_that_only_signs_is_enough,
        with token_key::LIMIT
    ),
}

#[tokio::main(flavor = "current_thread")]
async fn a_certificate_gets_a_bound_token_and_is_presented() -> Evidence {
    let stage = Stage::new().await;
    let certificate = pki::c().binding();
    let token = stage.client(certificate.clone()).bound_token(&graph()).await.unwrap();
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    assert_eq!(token.binding().chain().leaf_der(), pki::c().identity.leaf_der());
    Evidence::of(journal)
        .fact("certificate of the token", pki::named(&token.binding().thumbprint().x5t_s256()))
}

/// Runs `certbound token` with these arguments, with a trap as the proxy. Returns the exit code and the error.
async fn refused_by_the_command_line(trap: &Trap, args: &[&str]) -> (i32, String) {
    let mut command = support::certbound();
    command.env("HTTPS_PROXY", trap.url()).env("SECRET", "S").args(["token", "-o", "json"]);
    command.args(["--scope", graph().as_str(), "--tenant", TENANT, "--client-id", APP]).args(args);
    let output = output(command).await;
    refusal(&output)
}

/// Adds the compiler's message about a program of the library's tests, which does not compile. The library's own test
/// compares the message with the compiler's.
fn with_compiler_error(evidence: Evidence, program: &str) -> Evidence {
    const TESTS: &str = "crates/certbound/tests/misuse";
    let read = |file: &str| std::fs::read_to_string(root().join(file)).unwrap();
    let source = format!("{TESTS}/{program}.rs");
    assert!(read(&source).contains(".bound_token("), "{source}");
    let message = read(&format!("{TESTS}/{program}.stderr"));
    let line = message.lines().next().unwrap();
    assert!(line.starts_with("error[E"), "{message}");
    let (file, name) = (format!("{TESTS}.rs"), "mistakes_do_not_compile");
    let test = read(&file);
    assert!(test.contains(&format!("fn {name}()")) && test.contains("tests/misuse/*.rs"), "{test}");
    evidence
        .fact("program that does not compile", source)
        .fact("message of the compiler", line)
        .fact("test of the message", format!("{name} in {file}"))
}

#[tokio::main(flavor = "current_thread")]
async fn a_secret_gets_no_bound_token() -> Evidence {
    let trap = Trap::new();
    let (exit, code) = refused_by_the_command_line(&trap, &["--client-secret-env", "SECRET"]).await;
    assert_eq!((exit, code.as_str()), (2, "mtls_certificate_not_provided"));
    // A program that chooses its credential at run time gets the same error.
    let builder = Client::builder(global(), APP).with_network(&trap.network());
    let client: AnyClient = builder.with_secret(Secret::new("S")).build().unwrap().into();
    let error = client.bound_token(&graph()).await.unwrap_err();
    assert_eq!(error.code(), code);
    with_compiler_error(trap.nothing_arrived(), "bound_token_by_a_secret")
        .fact("certbound token --client-secret-env", format!("exit code {exit}, {code}"))
        .fact(
            "error of the library's AnyClient, whose kind of credential is known only at run time",
            error.code(),
        )
}

#[tokio::main(flavor = "current_thread")]
async fn an_unbound_assertion_gets_no_bound_token() -> Evidence {
    let trap = Trap::new();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"J.J.J").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let (exit, code) = refused_by_the_command_line(&trap, &["--assertion-file", &path]).await;
    assert_eq!((exit, code.as_str()), (2, "mtls_certificate_not_provided"));
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let assertions = unbound_fn(move |_: &_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, std::io::Error>(Secret::new("J.J.J")) }
    });
    let builder = Client::builder(global(), APP).with_network(&trap.network());
    let client: AnyClient = builder.with_unbound_assertions(assertions).build().unwrap().into();
    let error = client.bound_token(&graph()).await.unwrap_err();
    let asked = asked.load(Ordering::SeqCst);
    assert_eq!((error.code(), asked), (code.as_str(), 0));
    with_compiler_error(trap.nothing_arrived(), "bound_token_by_an_unbound_assertion")
        .fact("certbound token --assertion-file", format!("exit code {exit}, {code}"))
        .fact(
            "error of the library's AnyClient, whose kind of credential is known only at run time",
            error.code(),
        )
        .fact("assertions that the client requested from the program", asked)
}

#[tokio::main(flavor = "current_thread")]
async fn a_certificate_without_its_key_is_refused() -> Evidence {
    let trap = Trap::new();
    let error = BindingCertificate::from_pem(pki::c().identity.certificate_pem.as_bytes()).unwrap_err();
    assert_eq!(error.code(), "cert_without_private_key");
    let file = root().join("testdata/certificates/rsa.pem");
    let (exit, code) = refused_by_the_command_line(&trap, &["--certificate", file.to_str().unwrap()]).await;
    assert_eq!((exit, code.as_str()), (2, error.code()));
    trap.nothing_arrived()
        .fact("error of the library", error.code())
        .fact("certbound token --certificate", format!("exit code {exit}, {code}"))
}

#[tokio::main(flavor = "current_thread")]
async fn an_empty_chain_ends_in_an_error_with_the_services_code() -> Evidence {
    let empty = BindingCertificate::from_pem_pair(b"", pki::c().identity.key_pem.as_bytes()).unwrap_err();
    assert_eq!(empty.code(), "certificate_missing");
    let stage = Stage::new().await;
    let (emulator, lengths) = (Arc::clone(&stage.emulator), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&lengths);
    let door = Door::open(&[MTLS_HOST], ALL_VERSIONS, Clients::MayPresent, move |facts, request| {
        seen.lock().unwrap().push(facts.client_chain.as_ref().map_or(0, Vec::len).to_string());
        emulator.handle(emulator.now(), facts, request)
    })
    .await;
    let (network, cache) = (door.network(), certbound::TokenCache::new());
    let builder = || Client::builder(global(), APP).with_network(&network).with_cache(cache.clone());
    let bare = builder().with_transport(WithoutCertificate(network.transport()));
    let bare = bare.with_certificate(pki::c().binding()).build().unwrap();
    let missing = bare.bound_token(&graph()).await.unwrap_err();
    assert!(matches!(missing, certbound::Error::Refused { .. }), "{missing:?}");
    assert!(cache.is_empty() && !missing.fix().is_empty());
    let client = |certificate| builder().with_certificate(certificate).build().unwrap();
    let alone = pki::self_signed().binding();
    assert_eq!(alone.chain().ders().len(), 1);
    let error = client(alone).bound_token(&graph()).await.unwrap_err();
    let cached = cache.len();
    assert_eq!((error.aadsts(), error.code(), cached), (Some(700_027), "invalid_client", 0));
    assert!(!error.fix().is_empty() && !error.is_transient());
    // The same leaf as usual, without its issuer: the service finds the issuer itself.
    let leaf = pki::c().leaf_alone();
    assert_eq!(leaf.chain().ders().len(), 1);
    client(leaf).bound_token(&graph()).await.unwrap();
    let journal = stage.journal();
    assert_eq!((journal.len(), journal[0].client_certificate.as_deref()), (3, None));
    is_bound_by_certificate(&journal[2], MTLS_HOST, pki::c());
    let lengths = lengths.lock().unwrap().join(", ");
    assert_eq!(lengths, "0, 1, 1");
    let shown = |error: &certbound::Error| format!("{}, AADSTS{}", error.code(), error.aadsts().unwrap());
    Evidence::of(journal)
        .fact("error of an empty chain", empty.code())
        .fact("error of the first request", shown(&missing))
        .fact("error of the second request", shown(&error))
        .fact("cached tokens after the errors", cached)
        .fact("certificates that the server received in the handshakes of the three requests", lengths)
}

/// A transport with an empty TLS certificate: it presents none.
struct WithoutCertificate(Arc<HyperTransport>);

impl Transport for WithoutCertificate {
    async fn send(&self, request: http::Request<Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
        self.0.send(request, Via::Tls).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn a_key_that_only_signs_is_enough() -> Evidence {
    let stage = Stage::new().await;
    let signatures = Arc::new(AtomicUsize::new(0));
    let signer = Elsewhere::new(stage.file("C"), Arc::clone(&signatures));
    let chain = pki::c().identity.certificate_pem.as_bytes();
    let certificate = BindingCertificate::from_signer(chain, signer).unwrap();
    let leg1 = stage.client(certificate);
    let leg2 = stage.builder().with_assertions(leg1.clone()).build().unwrap();
    let token = leg2.bound_token(&graph()).await.unwrap();
    assert_eq!(token.binding().thumbprint(), pki::c().thumbprint());
    let count = signatures.load(Ordering::SeqCst);
    assert_eq!(count, 2, "one signature proves the key, and one is for the handshake of both legs");
    // The key cannot leave the token.
    let (key, scope) = (TokenKey::generate(&stage), graph());
    let result: serde_json::Value =
        serde_json::from_str(&key.run(&stage, &["exchange", "--scope", scope.as_str()]).await).unwrap();
    let claims = jws::unverified_claims(result["accessToken"].as_str().unwrap()).unwrap();
    assert_eq!(claims.confirmation().unwrap(), Some(key.x5t_s256.as_str()));
    let journal = stage.journal();
    assert_eq!(journal.len(), 4);
    is_bound_by_certificate(&journal[0], MTLS_HOST, pki::c());
    is_bound_by_certificate(&journal[1], MTLS_HOST, pki::c());
    key.bound_both_legs(&journal[2], &journal[3]);
    Evidence::of(journal)
        .with_new(&key.x5t_s256)
        .fact("key of C", "in a process of OpenSSL")
        .fact("signatures by OpenSSL, one to prove the key and one for the handshake", count)
        .fact("key of T", "in a token of SoftHSM, which is software")
        .fact("client with the key of T", "`certbound exchange` as a process of its own")
        .fact("private key of T, by pkcs11-tool", &key.attributes)
}
