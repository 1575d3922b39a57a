//! PLAT: platforms.

use certbound::resource::CallFacts;
use certbound::{BindingCertificate, Client};
use certbound_emulator::world::builtin::ORDERS_HOST;
use tokio_rustls::rustls::version::TLS12;

use super::door::door_to;
use super::evidence::Evidence;
use super::pki;
use super::rows::{Result, Row, rows};
use super::stage::{MTLS_HOST, Stage, global, is_bound_by_certificate, order, orders};
use super::token_key::{self, TokenKey};
use crate::support::APP;

/// The row that needs Windows.
const ON_WINDOWS: Row = Row {
    id: "PLAT-01",
    priority: 0,
    must: "On Windows, a certificate with a software key gets a bound token and calls a resource.",
    result: Result::NotHere("It needs Windows, and the tests run on Linux only."),
    limit: None,
};

rows! {
    [ON_WINDOWS]
    (
        "PLAT-02",
        0,
        "On Linux, a certificate in a PEM file gets a bound token in two legs and calls a resource.",
        a_pem_file_on_linux_gets_a_token_and_calls
    ),
    (
        "PLAT-03",
        0,
        "On Linux, TLS 1.2 is enough for the token and for the resource.",
        tls_1_2_is_enough_for_token_and_resource
    ),
    (
        "PLAT-04",
        1,
        "A key that cannot be exported gets a bound token in two legs and calls a resource.",
        a_key_that_cannot_be_exported_gets_a_token_and_calls,
        with token_key::LIMIT
    ),
}

#[tokio::main(flavor = "current_thread")]
async fn a_pem_file_on_linux_gets_a_token_and_calls() -> Evidence {
    assert_eq!(std::env::consts::OS, "linux");
    let stage = Stage::new().await;
    let certificate = BindingCertificate::from_pem_file(stage.file("C")).unwrap();
    let leg1 = stage.client(certificate);
    let leg2 = stage.builder().with_assertions(leg1).build().unwrap();
    let answer = leg2.resource(&orders()).call(order()).await.unwrap();
    let facts = answer.extensions().get::<CallFacts>().unwrap().0;
    assert_eq!((answer.status().as_u16(), facts.presented), (200, Some(pki::c().thumbprint())));
    let journal = stage.journal();
    assert_eq!(journal.len(), 3);
    is_bound_by_certificate(&journal[0], MTLS_HOST, pki::c());
    assert_eq!(journal[1].token_type.as_deref(), Some("mtls_pop"));
    assert!(journal.iter().all(|entry| entry.client_certificate == Some(pki::c().thumbprint().x5t_s256())));
    assert_eq!((journal[2].host.as_str(), journal[2].status), (ORDERS_HOST, 200));
    Evidence::of(journal).fact("operating system", std::env::consts::OS)
}

#[tokio::main(flavor = "current_thread")]
async fn tls_1_2_is_enough_for_token_and_resource() -> Evidence {
    let stage = Stage::new().await;
    let door = door_to(&stage, &[&TLS12]).await;
    let builder = Client::builder(global(), APP).with_network(&door.network());
    let client = builder.with_certificate(pki::c().binding()).build().unwrap();
    assert_eq!(client.resource(&orders()).call(order()).await.unwrap().status(), 200);
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    is_bound_by_certificate(&journal[0], MTLS_HOST, pki::c());
    assert_eq!((journal[1].host.as_str(), journal[1].status), (ORDERS_HOST, 200));
    assert!(journal.iter().all(|entry| entry.protocol.as_deref() == Some("TLSv1_2")));
    assert_eq!(journal[1].client_certificate, journal[0].client_certificate);
    Evidence::of(journal)
}

#[tokio::main(flavor = "current_thread")]
async fn a_key_that_cannot_be_exported_gets_a_token_and_calls() -> Evidence {
    let stage = Stage::new().await;
    let key = TokenKey::generate(&stage);
    let (url, scope) = (format!("https://{ORDERS_HOST}/orders"), orders());
    let call = ["call", "--scope", scope.as_str(), &url];
    let without = key.run_without_the_key(&stage, &call).await;
    assert!(stage.journal().is_empty(), "the refused command sent nothing");
    key.run(&stage, &call).await;
    let journal = stage.journal();
    assert_eq!(journal.len(), 3);
    key.bound_both_legs(&journal[0], &journal[1]);
    assert_eq!((journal[2].host.as_str(), journal[2].status), (ORDERS_HOST, 200));
    assert_eq!(journal[2].authorization_scheme.as_deref(), Some("mtls_pop"));
    assert_eq!(journal[2].client_certificate.as_deref(), Some(key.x5t_s256.as_str()));
    Evidence::of(journal)
        .with_new(&key.x5t_s256)
        .fact("client", "`certbound call` as a process of its own")
        .fact("token of the key", "SoftHSM, which is software")
        .fact("private key, by pkcs11-tool", &key.attributes)
        .fact("the same command with a token that does not have the key", without)
}
