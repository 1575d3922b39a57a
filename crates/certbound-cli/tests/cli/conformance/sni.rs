//! SNI: the same certificate (by Subject Name and Issuer) without a bound token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound::cache::Source;
use certbound::{BearerToken, BoundToken, Thumbprint};
use certbound_core::jws;
use certbound_core::request::ReceivedForm;

use super::evidence::Evidence;
use super::pki;
use super::recorder::Recorder;
use super::rows::rows;
use super::stage::{MTLS_HOST, Stage, graph, is_bound_by_certificate, only};

rows! {
    (
        "SNI-01",
        0,
        "A Bearer token is requested from the ordinary host, with an assertion that has the certificate in `x5c`, and \
         without a client certificate in TLS.",
        a_bearer_token_is_requested_by_an_assertion_with_x5c
    ),
    (
        "SNI-02",
        0,
        "The answer has the type `Bearer`, and the token has no `cnf`.",
        a_bearer_token_is_not_bound
    ),
    (
        "SNI-03",
        0,
        "A client gets a Bearer token and then a bound token for one scope. Neither request takes the other's entry \
         of the cache.",
        a_bearer_token_is_not_used_as_a_bound_one
    ),
    (
        "SNI-04",
        0,
        "A client gets a bound token and then a Bearer token for one scope. Neither request takes the other's entry \
         of the cache.",
        a_bound_token_is_not_used_as_a_bearer_one
    ),
}

const LOGIN_HOST: &str = "login.microsoftonline.com";

#[tokio::main(flavor = "current_thread")]
async fn a_bearer_token_is_requested_by_an_assertion_with_x5c() -> Evidence {
    let stage = Stage::new().await;
    let recorder = Recorder::new(&stage.network);
    let builder = stage.builder().with_transport(recorder.clone());
    let client = builder.with_certificate(pki::c().binding()).build().unwrap();
    client.bearer_token(&graph()).await.unwrap();
    let journal = stage.journal();
    let entry = only(&journal);
    assert_eq!((entry.host.as_str(), entry.server_name.as_str()), (LOGIN_HOST, LOGIN_HOST));
    assert_eq!((entry.client_certificate.as_deref(), entry.parameter("token_type")), (None, None));
    let jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    assert_eq!(entry.parameter("client_assertion_type"), Some(jwt_bearer));
    // The journal has only the hash of the assertion.
    let form = ReceivedForm::decode(&recorder.given()[0].body).unwrap();
    let header = jws::unverified_header(form.value("client_assertion").unwrap()).unwrap();
    // At Entra, x5c is a text and not an array.
    let x5c = STANDARD.decode(header["x5c"].as_str().unwrap()).unwrap();
    assert_eq!(x5c, pki::c().identity.leaf_der());
    let x5c = Thumbprint::of_der(&x5c).x5t_s256();
    Evidence::of(journal).fact("x5c of the assertion", pki::named(&x5c))
}

#[tokio::main(flavor = "current_thread")]
async fn a_bearer_token_is_not_bound() -> Evidence {
    let stage = Stage::new().await;
    let token = stage.client(pki::c().binding()).bearer_token(&graph()).await.unwrap();
    let claims = jws::unverified_claims(token.secret().expose()).unwrap();
    let confirmation = claims.confirmation().unwrap();
    assert_eq!(confirmation, None);
    assert_eq!(token.details().token_type, "Bearer");
    let journal = stage.journal();
    assert_eq!(only(&journal).token_type.as_deref(), Some("Bearer"));
    Evidence::of(journal).fact("cnf of the token", confirmation.unwrap_or("absent"))
}

/// Checks that each second token is from the cache, and is the first of its own kind. Returns both second tokens as text.
fn are_kept_apart(bearer: &[BearerToken; 2], bound: &[BoundToken; 2]) -> String {
    assert_eq!(bearer[0].secret().expose(), bearer[1].secret().expose());
    assert_eq!(bound[0].secret().expose(), bound[1].secret().expose());
    assert_ne!(bearer[1].secret().expose(), bound[1].secret().expose());
    let (bearer, bound) = (bearer[1].details(), bound[1].details());
    assert_eq!((bearer.source, bearer.token_type.as_str()), (Source::Cache, "Bearer"));
    assert_eq!((bound.source, bound.token_type.as_str()), (Source::Cache, "mtls_pop"));
    format!(
        "{:?} with token_type {}, and {:?} with token_type {}",
        bearer.source, bearer.token_type, bound.source, bound.token_type
    )
}

const SECOND_ROUND: &str = "origin of the third and the fourth token";

#[tokio::main(flavor = "current_thread")]
async fn a_bearer_token_is_not_used_as_a_bound_one() -> Evidence {
    let stage = Stage::new().await;
    let client = stage.client(pki::c().binding());
    let scope = graph();
    let (first, second) =
        (client.bearer_token(&scope).await.unwrap(), client.bound_token(&scope).await.unwrap());
    let (third, fourth) =
        (client.bearer_token(&scope).await.unwrap(), client.bound_token(&scope).await.unwrap());
    let kept = are_kept_apart(&[first, third], &[second, fourth]);
    let journal = stage.journal();
    assert_eq!((journal.len(), journal[0].host.as_str()), (2, LOGIN_HOST));
    is_bound_by_certificate(&journal[1], MTLS_HOST, pki::c());
    Evidence::of(journal).fact(SECOND_ROUND, kept)
}

#[tokio::main(flavor = "current_thread")]
async fn a_bound_token_is_not_used_as_a_bearer_one() -> Evidence {
    let stage = Stage::new().await;
    let client = stage.client(pki::c().binding());
    let scope = graph();
    let (first, second) =
        (client.bound_token(&scope).await.unwrap(), client.bearer_token(&scope).await.unwrap());
    let (third, fourth) =
        (client.bound_token(&scope).await.unwrap(), client.bearer_token(&scope).await.unwrap());
    let kept = are_kept_apart(&[second, fourth], &[first, third]);
    let journal = stage.journal();
    assert_eq!((journal.len(), journal[1].host.as_str()), (2, LOGIN_HOST));
    is_bound_by_certificate(&journal[0], MTLS_HOST, pki::c());
    Evidence::of(journal).fact(SECOND_ROUND, kept)
}
