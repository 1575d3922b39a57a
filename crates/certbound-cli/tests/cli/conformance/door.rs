//! A TLS server for the rows that the emulator's own server cannot show: old versions of TLS, a demanded certificate,
//! a count of handshakes, and hosts that the emulator does not have.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use certbound::Network;
use certbound::transport::NetworkBuilder;
use certbound_emulator::TlsFacts;
use certbound_emulator::world::builtin::ORDERS_HOST;
use certbound_serve::{Connection, Limits};
use certbound_verifier::rustls_0_23::{AnyClientCertificate, never_resume};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ServerConnection, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::gate::Gate;
use super::stage::{self, MTLS_HOST, Stage};

/// The client certificates that a door accepts.
pub(super) enum Clients {
    /// Any certificate, or none, as the emulator does.
    MayPresent,
    /// A certificate of this authority, DER. Without it the handshake fails.
    MustPresent(Vec<u8>),
}

type Answer = dyn Fn(&TlsFacts, Request<Bytes>) -> Response<Bytes> + Send + Sync;

/// A proxy that leads to a few hosts. It ends when it is dropped.
pub(super) struct Door {
    proxy_url: String,
    root_pem: String,
    connections: Arc<AtomicUsize>,
    tunnels: Arc<Mutex<Vec<String>>>,
    handshakes: Arc<AtomicUsize>,
    gate: Arc<Gate>,
    task: JoinHandle<()>,
}

/// The parts of a door that its connections share.
#[derive(Clone)]
struct Shared {
    hosts: &'static [&'static str],
    acceptor: TlsAcceptor,
    answer: Arc<Answer>,
    connections: Arc<AtomicUsize>,
    /// The first line of each request for a tunnel.
    tunnels: Arc<Mutex<Vec<String>>>,
    handshakes: Arc<AtomicUsize>,
    gate: Arc<Gate>,
}

impl Door {
    /// Opens a door to `hosts`. `answer` gets each request with the facts of its connection.
    pub(super) async fn open(
        hosts: &'static [&'static str],
        versions: &[&'static SupportedProtocolVersion],
        clients: Clients,
        answer: impl Fn(&TlsFacts, Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        let certified =
            rcgen::generate_simple_self_signed(hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>())
                .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config(&certified, versions, clients)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy_url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared {
            hosts,
            acceptor,
            answer: Arc::new(answer),
            connections: Arc::default(),
            tunnels: Arc::default(),
            handshakes: Arc::default(),
            gate: Arc::new(Gate::new()),
        };
        let (connections, handshakes) = (Arc::clone(&shared.connections), Arc::clone(&shared.handshakes));
        let (tunnels, gate) = (Arc::clone(&shared.tunnels), Arc::clone(&shared.gate));
        let serving = certbound_serve::serve(
            listener,
            Limits::default(),
            std::future::pending(),
            move |stream, _, connection| {
                let shared = shared.clone();
                async move {
                    // A connection that a client ends early is no failure of the server. The test sees its own error.
                    let _ = serve(stream, &connection, shared).await;
                }
            },
        );
        let task = tokio::spawn(serving);
        Self { proxy_url, root_pem: certified.cert.pem(), connections, tunnels, handshakes, gate, task }
    }

    /// Returns a network that has no open connections.
    pub(super) fn network(&self) -> Network {
        self.network_with(|builder| builder)
    }

    /// Returns such a network with more settings.
    pub(super) fn network_with(&self, settings: impl FnOnce(NetworkBuilder) -> NetworkBuilder) -> Network {
        settings(stage::network_builder(&self.proxy_url, &self.root_pem)).build().unwrap()
    }

    pub(super) fn proxy_url(&self) -> &str {
        &self.proxy_url
    }

    pub(super) fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Returns the gate of the answers.
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Returns the number of connections that clients opened to the proxy.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the first line of each request for a tunnel.
    pub(super) fn tunnels(&self) -> Vec<String> {
        self.tunnels.lock().unwrap().clone()
    }

    /// Returns the number of complete handshakes, which is the number of connections with requests.
    pub(super) fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::SeqCst)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a door to the token service and the custom API of a stage.
pub(super) async fn door_to(stage: &Stage, versions: &[&'static SupportedProtocolVersion]) -> Door {
    let emulator = Arc::clone(&stage.emulator);
    let answer = move |facts: &_, request| emulator.handle(emulator.now(), facts, request);
    Door::open(&[MTLS_HOST, ORDERS_HOST], versions, Clients::MayPresent, answer).await
}

fn config(
    certified: &rcgen::CertifiedKey<rcgen::KeyPair>,
    versions: &[&'static SupportedProtocolVersion],
    clients: Clients,
) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients: Arc<dyn ClientCertVerifier> = match clients {
        Clients::MayPresent => Arc::new(AnyClientCertificate::new(Arc::clone(&provider))),
        Clients::MustPresent(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(authority)).unwrap();
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap()
        }
    };
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let chain = vec![certified.cert.der().clone()];
    let mut config = builder.with_client_cert_verifier(clients).with_single_cert(chain, key.into()).unwrap();
    never_resume(&mut config);
    config
}

async fn serve(mut stream: TcpStream, connection: &Connection, shared: Shared) -> io::Result<()> {
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let tunnel = connect(&mut stream, shared.hosts).await?;
    shared.tunnels.lock().unwrap().push(tunnel);
    let tls = shared.acceptor.accept(stream).await?;
    shared.handshakes.fetch_add(1, Ordering::SeqCst);
    let facts = Arc::new(facts(tls.get_ref().1));
    let service = move |request: Request<certbound_serve::Body>| {
        let (answer, gate, facts) =
            (Arc::clone(&shared.answer), Arc::clone(&shared.gate), Arc::clone(&facts));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let response = answer(&facts, Request::from_parts(head, body));
            gate.pass().await;
            Ok::<_, Infallible>(response.map(Full::new))
        }
    };
    connection.http1(tls, service).await
}

/// Answers the request of a client for a tunnel to one of `hosts`, and returns the first line of the request.
pub(super) async fn connect(stream: &mut TcpStream, hosts: &[&str]) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let line = head.lines().next().unwrap_or_default();
    let is_known = hosts.iter().any(|host| line.starts_with(&format!("CONNECT {host}:443 ")));
    let answer = if is_known { "200 OK" } else { "403 Forbidden\r\nContent-Length: 0" };
    stream.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await?;
    Ok(line.to_owned())
}

fn facts(connection: &ServerConnection) -> TlsFacts {
    let chain = connection.peer_certificates().filter(|chain| !chain.is_empty());
    TlsFacts {
        server_name: connection.server_name().unwrap_or_default().to_owned(),
        client_chain: chain.map(|chain| chain.iter().map(|certificate| certificate.to_vec()).collect()),
        resumed: connection.handshake_kind() == Some(tokio_rustls::rustls::HandshakeKind::Resumed),
        protocol: connection.protocol_version().and_then(|it| it.as_str().map(str::to_owned)),
    }
}
