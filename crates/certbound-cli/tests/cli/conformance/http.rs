//! HTTP-01 to HTTP-05: connections, and transports of a program's own.

use bytes::Bytes;
use certbound::error::TransportError;
use certbound::retry::RetryPolicy;
use certbound::transport::{Answer, TlsFacts, Via};
use certbound::{Client, TokenCache, Transport};
use tokio::net::TcpListener;
use tokio_rustls::rustls::ALL_VERSIONS;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::door::door_to;
use super::evidence::Evidence;
use super::old_tls::tls_1_1;
use super::pki;
use super::recorder::Recorder;
use super::rows::rows;
use super::stage::{MTLS_HOST, Stage, global, graph, is_bound_by_certificate, network, only};
use crate::support::APP;

rows! {
    (
        "HTTP-01",
        1,
        "Each connection is a tunnel through the configured proxy, and uses TLS 1.3 or TLS 1.2. A server that chooses \
         TLS 1.1 gets no token request.",
        older_versions_of_tls_are_refused
    ),
    (
        "HTTP-02",
        0,
        "A transport of the program's own gets the client's certificate with each request.",
        a_transport_of_ones_own_gets_the_certificate
    ),
    (
        "HTTP-03",
        0,
        "A transport of the program's own that returns an empty answer, or fails, leads to an error and no panic. The \
         client opens no connection in its place.",
        a_transport_that_gives_nothing_is_an_error
    ),
    (
        "HTTP-04",
        1,
        "All requests with one certificate share a client and its connections.",
        one_certificate_has_one_connection
    ),
    (
        "HTTP-05",
        0,
        "A certificate with a different DER has a connection of its own, even if the key is the same.",
        another_certificate_has_another_connection
    ),
}

#[tokio::main(flavor = "current_thread")]
async fn older_versions_of_tls_are_refused() -> Evidence {
    let stage = Stage::new().await;
    let mut tunnels = Vec::new();
    for version in [&TLS13, &TLS12] {
        let door = door_to(&stage, &[version]).await;
        let client = Client::builder(global(), APP).with_network(&door.network());
        client.with_certificate(pki::c().binding()).build().unwrap().bound_token(&graph()).await.unwrap();
        tunnels.extend(door.tunnels());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let old = tokio::spawn(tls_1_1(listener));
    let network = network(&proxy, stage.emulator.ca_pem());
    let builder = Client::builder(global(), APP).with_network(&network);
    let client = builder.with_retry_policy(RetryPolicy::none()).with_certificate(pki::c().binding());
    let error = client.build().unwrap().bound_token(&graph()).await.unwrap_err();
    assert!(
        matches!(&error, certbound::Error::Transport { cause: TransportError::Tls { .. }, .. }),
        "{error:?}"
    );
    drop(network);
    const PROTOCOL_VERSION: u8 = 70;
    let (tunnel, alert) = old.await.unwrap();
    assert_eq!(alert, PROTOCOL_VERSION);
    tunnels.push(tunnel);
    assert_eq!(tunnels.len(), 3, "one connection to each proxy");
    assert!(tunnels.iter().all(|line| *line == format!("CONNECT {MTLS_HOST}:443 HTTP/1.1")), "{tunnels:?}");
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    for (entry, version) in journal.iter().zip(["TLSv1_3", "TLSv1_2"]) {
        is_bound_by_certificate(entry, MTLS_HOST, pki::c());
        assert_eq!(entry.protocol.as_deref(), Some(version));
    }
    let servers = ["TLS 1.3", "TLS 1.2", "TLS 1.1"].into_iter().zip(tunnels);
    let evidence = servers.fold(Evidence::of(journal), |evidence, (server, line)| {
        evidence.fact(format!("request to the proxy of the server with {server}"), line)
    });
    evidence.fact("error at the server that chooses TLS 1.1", error.code()).fact(
        "data that this server received after its answer",
        format!("the alert {alert} (protocol_version), and nothing else"),
    )
}

#[tokio::main(flavor = "current_thread")]
async fn a_transport_of_ones_own_gets_the_certificate() -> Evidence {
    let stage = Stage::new().await;
    let recorder = Recorder::new(&stage.network);
    let leg1 = stage.builder().with_transport(recorder.clone()).with_certificate(pki::c().binding());
    let leg1 = leg1.build().unwrap();
    let leg2 = stage.builder().with_transport(recorder.clone()).with_assertions(leg1).build().unwrap();
    leg2.bound_token(&graph()).await.unwrap();
    let given = recorder.given();
    assert!(given.iter().all(|given| given.certificate == Some(pki::c().thumbprint())));
    let journal = stage.journal();
    assert_eq!((given.len(), journal.len()), (2, 2));
    is_bound_by_certificate(&journal[0], MTLS_HOST, pki::c());
    assert_eq!(journal[1].client_certificate, journal[0].client_certificate);
    let given = given[0].certificate.unwrap().x5t_s256();
    Evidence::of(journal).fact("certificate that the transport got with each request", pki::named(&given))
}

/// A transport that returns an empty answer, or an error.
struct Nothing {
    is_error: bool,
}

impl Transport for Nothing {
    async fn send(&self, _: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let presented = via.binding().map(|binding| binding.thumbprint());
        let tls = TlsFacts { certificate_requested: true, presented, resumed: false };
        match self.is_error {
            true => Err(TransportError::CertificateNotRequested { host: MTLS_HOST.to_owned() }),
            false => Ok(Answer { response: http::Response::new(Bytes::new()), tls }),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn a_transport_that_gives_nothing_is_an_error() -> Evidence {
    let stage = Stage::new().await;
    let door = door_to(&stage, ALL_VERSIONS).await;
    let (network, cache) = (door.network(), TokenCache::new());
    let builder = || Client::builder(global(), APP).with_network(&network);
    let ask = async |is_error| {
        let builder = builder().with_transport(Nothing { is_error }).with_cache(cache.clone());
        let client = builder.with_certificate(pki::c().binding()).build().unwrap();
        client.bound_token(&graph()).await.unwrap_err()
    };
    let (empty, failed) = (ask(false).await, ask(true).await);
    let connections = door.connections();
    assert_eq!((empty.code(), failed.code()), ("json_parse_failed", "certificate_not_requested"));
    let cached = cache.len();
    assert_eq!((connections, cached), (0, 0));
    // The same client with the usual transport reaches the server, so the server would have seen a connection.
    let usual = builder().with_certificate(pki::c().binding()).build().unwrap();
    usual.bound_token(&graph()).await.unwrap();
    assert_eq!(door.connections(), 1);
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    Evidence::of(journal)
        .fact("error for an empty answer", empty.code())
        .fact("error for a transport that fails", failed.code())
        .fact("connections that the server saw from the clients with these transports", connections)
        .fact("cached tokens of these clients", cached)
        .fact(
            "connections that the server saw from a client with the usual transport",
            door.connections() - connections,
        )
}

#[tokio::main(flavor = "current_thread")]
async fn one_certificate_has_one_connection() -> Evidence {
    let stage = Stage::new().await;
    let door = door_to(&stage, ALL_VERSIONS).await;
    let (network, certificate) = (door.network(), pki::c().binding());
    for _ in 0..5 {
        let client = Client::builder(global(), APP).with_network(&network).with_cache(TokenCache::new());
        let client = client.with_certificate(certificate.clone()).build().unwrap();
        client.bound_token(&graph()).await.unwrap();
    }
    assert_eq!(door.handshakes(), 1);
    let journal = stage.journal();
    assert_eq!(journal.len(), 5);
    journal.iter().for_each(|entry| is_bound_by_certificate(entry, MTLS_HOST, pki::c()));
    Evidence::of(journal).fact("handshakes that the server saw", door.handshakes())
}

#[tokio::main(flavor = "current_thread")]
async fn another_certificate_has_another_connection() -> Evidence {
    let stage = Stage::new().await;
    let door = door_to(&stage, ALL_VERSIONS).await;
    let network = door.network();
    let client = |named: &pki::Named| {
        let builder = Client::builder(global(), APP).with_network(&network);
        builder.with_certificate(named.binding()).build().unwrap()
    };
    // Both clients stay alive: a connection ends with the last handle on its certificate.
    let (c, renewed) = (client(pki::c()), client(pki::renewed()));
    for client in [&c, &renewed, &c, &renewed] {
        client.bound_token(&graph()).force_refresh().await.unwrap();
    }
    assert_eq!(door.handshakes(), 2);
    let journal = stage.journal();
    assert_eq!(journal.len(), 4);
    for (entry, named) in journal.iter().zip([pki::c(), pki::renewed(), pki::c(), pki::renewed()]) {
        is_bound_by_certificate(entry, MTLS_HOST, named);
    }
    Evidence::of(journal).fact("handshakes that the server saw", door.handshakes())
}
