//! The emulator behind its sockets: CONNECT, TLS and HTTP, by a client that is not certbound's.
#![expect(clippy::unwrap_used, reason = "tests")]

mod framing;
mod http2;
mod issuers;
mod late;
mod limits;
mod machine;
mod replaced;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_emulator::serve::{Limits, Server, ServerOptions};
use certbound_emulator::world::builtin::{APP, ORDERS_HOST, TENANT};
use certbound_emulator::{ClientIdentity, Condition, Emulator, Fault, FaultResult, World};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const MTLS: &str = "mtlsauth.microsoft.com";
const LOGIN: &str = "login.microsoftonline.com";
const LEG_1: &str = "client_id=163ffef9-a313-45b4-ab2f-c7e2f5e0e23e&grant_type=client_credentials\
                     &scope=api://AzureADTokenExchange/.default&token_type=mtls_pop";
const ANY: &str = "127.0.0.1:0";

struct Fixture {
    emulator: Arc<Emulator>,
    server: Server,
}

async fn start() -> Fixture {
    start_with(World::built_in()).await
}

async fn start_with(world: World) -> Fixture {
    let emulator = Arc::new(Emulator::new(world).unwrap());
    let server = Server::start(Arc::clone(&emulator), ANY.parse().unwrap()).await.unwrap();
    Fixture { emulator, server }
}

fn tls(emulator: &Emulator, identity: Option<&ClientIdentity>) -> Arc<ClientConfig> {
    tls_of(rustls::DEFAULT_VERSIONS, emulator, identity)
}

fn tls_of(
    versions: &[&'static rustls::SupportedProtocolVersion],
    emulator: &Emulator,
    identity: Option<&ClientIdentity>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(emulator.ca_pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = identity.chain_der.iter().cloned().map(CertificateDer::from).collect();
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    Arc::new(config)
}

/// Opens a tunnel. The error is the proxy's answer if its status is not 200.
async fn connect(proxy: SocketAddr, target: &str) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    if answer.starts_with("HTTP/1.1 200 ") { Ok(stream) } else { Err(answer) }
}

impl Fixture {
    fn identity(&self) -> Option<&ClientIdentity> {
        Some(self.emulator.client_identity())
    }

    async fn send(
        &self,
        host: &str,
        config: Arc<ClientConfig>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        let tunnel = connect(self.server.proxy_address(), &format!("{host}:443")).await?;
        let stream =
            TlsConnector::from(config).connect(ServerName::try_from(host.to_owned())?, tunnel).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    async fn leg_1(&self) -> Result<Response<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        self.send(MTLS, tls(&self.emulator, self.identity()), post(MTLS, LEG_1)).await
    }

    async fn admin(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let url = self.server.admin_url();
        let (address, token) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        self.admin_raw(method, &format!("/{token}/{path}"), address, body).await
    }

    async fn admin_raw(&self, method: &str, path: &str, host: &str, body: &str) -> (u16, Value) {
        let url = self.server.admin_url();
        let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", host);
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        (head.status.as_u16(), serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap())
    }
}

fn post(host: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post(format!("/{TENANT}/oauth2/v2.0/token"))
        .header("host", host)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

fn value(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test]
async fn a_bound_token_is_issued_and_used_over_real_tls() {
    let fixture = start().await;
    let direct = LEG_1.replace("api://AzureADTokenExchange", "api://orders");
    let config = tls(&fixture.emulator, fixture.identity());
    let answer = fixture.send(MTLS, Arc::clone(&config), post(MTLS, &direct)).await.unwrap();
    let token = value(&answer)["access_token"].as_str().unwrap().to_owned();
    let call = || {
        Request::get("/orders")
            .header("host", ORDERS_HOST)
            .header("authorization", format!("mtls_pop {token}"))
            .body(Full::default())
            .unwrap()
    };
    let orders = fixture.send(ORDERS_HOST, config, call()).await.unwrap();
    assert_eq!((orders.status(), value(&orders)["caller"].as_str()), (StatusCode::OK, Some(APP)));
    let stolen = fixture.send(ORDERS_HOST, tls(&fixture.emulator, None), call()).await.unwrap();
    assert_eq!(stolen.status(), StatusCode::UNAUTHORIZED);

    let journal = fixture.emulator.journal();
    assert_eq!(journal.len(), 3);
    assert!(journal[0].client_certificate.is_some());
    assert_eq!(journal[0].client_certificate, journal[1].client_certificate);
    assert_eq!(journal[2].client_certificate, None);
    assert!(journal.iter().all(|entry| entry.protocol.as_deref() == Some("TLSv1_3") && !entry.resumed));
    assert_eq!(journal[1].server_name, ORDERS_HOST);
}

#[tokio::test]
async fn an_ordinary_login_host_never_asks_for_the_certificate() {
    let fixture = start().await;
    let config = tls(&fixture.emulator, fixture.identity());
    let answer = fixture.send(LOGIN, config, post(LOGIN, LEG_1)).await.unwrap();
    assert_eq!(value(&answer)["error_codes"][0], 392_200);
    assert_eq!(fixture.emulator.journal()[0].client_certificate, None);
}

/// Opens two connections by each TLS version. Returns the version, whether the session was resumed, and whether the
/// certificate is known.
async fn twice_by_each_version(fixture: &Fixture) -> Vec<(String, bool, bool)> {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = tls_of(&[version], &fixture.emulator, fixture.identity());
        for _ in 0..2 {
            let answer = fixture.send(MTLS, Arc::clone(&config), post(MTLS, LEG_1)).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        }
    }
    let journal = fixture.emulator.journal();
    let known = fixture.emulator.client_identity().leaf_der();
    let known = certbound_core::certificate::Thumbprint::of_der(known).x5t_s256();
    journal
        .iter()
        .map(|entry| {
            let certificate = entry.client_certificate.as_ref() == Some(&known);
            (entry.protocol.clone().unwrap(), entry.resumed, certificate)
        })
        .collect()
}

#[tokio::test]
async fn sessions_are_never_resumed_in_either_version() {
    let told = twice_by_each_version(&start().await).await;
    let expected =
        ["TLSv1_2", "TLSv1_2", "TLSv1_3", "TLSv1_3"].map(|version| (version.to_owned(), false, true));
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_world_may_allow_it_and_a_resumed_session_still_knows_its_certificate() {
    let fixture = start_with(World { session_resumption: true, ..World::built_in() }).await;
    let told = twice_by_each_version(&fixture).await;
    let expected = [("TLSv1_2", false), ("TLSv1_2", true), ("TLSv1_3", false), ("TLSv1_3", true)]
        .map(|(version, resumed)| (version.to_owned(), resumed, true));
    assert_eq!(told, expected);
}

#[tokio::test]
async fn the_proxy_ends_emulated_hosts_only() {
    let fixture = start().await;
    let proxy = fixture.server.proxy_address();
    for target in ["example.com:443", "mtlsauth.microsoft.com:80", "169.254.169.254:80", "localhost:443"] {
        let answer = connect(proxy, target).await.unwrap_err();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
    }
    let tunnel = connect(proxy, "mtlsauth.microsoft.com:443").await.unwrap();
    let name = ServerName::try_from(LOGIN).unwrap();
    let connector = TlsConnector::from(tls(&fixture.emulator, None));
    assert!(connector.connect(name, tunnel).await.is_err(), "the server name is not the CONNECT host");

    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream
        .write_all(b"GET http://login.microsoftonline.com/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("CONNECT only"), "{answer}");
}

#[tokio::test]
async fn a_host_named_by_a_stranger_gets_a_certificate_and_the_kept_ones_are_bounded() {
    let fixture = start().await;
    let config = tls(&fixture.emulator, None);
    for n in 0..300 {
        let host = format!("vault{n}.vault.azure.net");
        let request = Request::get("/secrets/demo").header("host", &host).body(Full::default()).unwrap();
        let answer = fixture.send(&host, Arc::clone(&config), request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let fixture = start().await;
    let config = tls(&fixture.emulator, None);
    let large = "a".repeat(1024 * 1024 + 1);
    // Either the answer comes before the whole body is sent, or the connection closes. The request never succeeds.
    if let Ok(answer) = fixture.send(MTLS, config, post(MTLS, &large)).await {
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert!(fixture.emulator.journal().is_empty());
}

#[tokio::test]
async fn faults_of_the_transport_are_carried_out() {
    let fixture = start().await;
    let arm = |result| fixture.emulator.add_fault(Fault::once(Condition::any(), result));

    arm(FaultResult::ConnectionReset);
    let error = fixture.leg_1().await.unwrap_err();
    let kind =
        std::iter::successors(Some(&*error as &(dyn std::error::Error + 'static)), |error| error.source())
            .find_map(|error| error.downcast_ref::<std::io::Error>())
            .map(std::io::Error::kind);
    assert_eq!(kind, Some(std::io::ErrorKind::ConnectionReset), "{error:?}");

    arm(FaultResult::TruncatedBody);
    assert!(fixture.leg_1().await.is_err(), "half a body is no answer");

    let before = tokio::time::Instant::now();
    arm(FaultResult::Delay { milliseconds: 60 });
    assert_eq!(fixture.leg_1().await.unwrap().status(), StatusCode::OK);
    assert!(before.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn a_truncated_body_announces_more_than_it_brings() {
    let fixture = start().await;
    fixture.emulator.add_fault(Fault::once(Condition::any(), FaultResult::TruncatedBody));
    let tunnel = connect(fixture.server.proxy_address(), &format!("{MTLS}:443")).await.unwrap();
    let connector = TlsConnector::from(tls(&fixture.emulator, fixture.identity()));
    let mut stream = connector.connect(ServerName::try_from(MTLS).unwrap(), tunnel).await.unwrap();
    let head = format!(
        "POST /{TENANT}/oauth2/v2.0/token HTTP/1.1\r\nhost: {MTLS}\r\ncontent-type: \
         application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{LEG_1}",
        LEG_1.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The read may end with an error, which does not matter here.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let announced = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(body.len(), announced.parse::<usize>().unwrap() / 2);
    assert!(body.starts_with("{\"token_type\""));
}

#[tokio::test]
async fn the_admin_surface_does_what_it_says_and_only_for_those_who_may() {
    let fixture = start().await;
    fixture.leg_1().await.unwrap();
    let (status, journal) = fixture.admin("GET", "journal", "").await;
    assert_eq!((status, journal["entries"][0]["host"].as_str()), (200, Some(MTLS)));
    assert_eq!(journal["entries"][0]["status"], 200);
    assert_eq!(fixture.admin("DELETE", "journal", "").await.0, 200);
    assert_eq!(fixture.admin("GET", "journal", "").await.1, json!({ "entries": [], "dropped": 0 }));

    let (_, clock) = fixture.admin("PUT", "clock", r#"{"advance_seconds":800000}"#).await;
    assert_eq!(clock["offset_seconds"], 800_000);
    assert_eq!(value(&fixture.leg_1().await.unwrap())["error_codes"][0], 392_204);
    assert_eq!(fixture.admin("PUT", "clock", "{}").await.0, 400);

    let fault = r#"{"condition":{"leg":"leg1"},"result":{"status":{"status":503}},"count":1}"#;
    assert_eq!(fixture.admin("POST", "faults", fault).await.0, 200);
    assert_eq!(fixture.admin("GET", "faults", "").await.1["faults"][0]["count"], 1);
    assert_eq!(fixture.admin("POST", "faults", "{}").await.0, 400);
    let of_handshake = r#"{"condition":{"leg":"leg1"},"result":"client_certificate_refused"}"#;
    let (status, body) = fixture.admin("POST", "faults", of_handshake).await;
    assert!(
        status == 400 && body["error"].as_str().is_some_and(|text| text.contains("`leg` from the condition")),
        "{body}"
    );
    let large = fault.replace("leg1\"", &format!("leg1\",\"path_contains\":\"{}\"", "a".repeat(16 * 1024)));
    assert_eq!(fixture.admin("POST", "faults", &large).await.0, 413);
    assert_eq!(fixture.leg_1().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    fixture.admin("POST", "faults", fault).await;
    assert_eq!(fixture.admin("DELETE", "faults", "").await.0, 200);

    assert_eq!(fixture.admin("POST", "keys/rotate", "").await.0, 200);
    assert_eq!(fixture.admin("POST", "reset", "").await.0, 200);
    assert_eq!(fixture.leg_1().await.unwrap().status(), StatusCode::OK);
    assert_eq!(fixture.admin("GET", "world", "").await.1["tenants"][0]["id"], TENANT);

    assert_eq!(fixture.admin("GET", "nothing", "").await.0, 404);
    assert_eq!(fixture.admin("GET", "reset", "").await.0, 405);
    let url = fixture.server.admin_url();
    let (address, token) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    assert_eq!(fixture.admin_raw("GET", "/world", address, "").await.0, 404);
    assert_eq!(fixture.admin_raw("GET", &format!("/{}/world", &token[1..]), address, "").await.0, 404);
    assert_eq!(fixture.admin_raw("GET", &format!("/{token}/world"), "evil.example", "").await.0, 403);
}

/// A client that reads slowly, or not at all, needs the memory of one piece. The rest stays in the journal.
#[tokio::test]
async fn a_full_journal_is_sent_piece_by_piece() {
    let fixture = start().await;
    let value = "a".repeat(512);
    let query = (0..32).map(|n| format!("x{n}{value}=1&")).collect::<String>();
    let config = tls(&fixture.emulator, None);
    for _ in 0..40 {
        let request = Request::get(format!("/?{query}")).header("host", LOGIN).body(Full::default()).unwrap();
        fixture.send(LOGIN, Arc::clone(&config), request).await.unwrap();
    }
    let url = fixture.server.admin_url();
    let (address, token) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("/{token}/journal")).header("host", address);
    let answer = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(answer.headers().get("content-length"), None, "its length is not known before it is sent");
    assert_eq!(answer.headers()["content-type"], "application/json; charset=utf-8");
    let journal: Value =
        serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!((journal["entries"].as_array().unwrap().len(), &journal["dropped"]), (40, &json!(0)));
}

/// A proxy that is directed to the port sends the whole URI, with the name that a web page chose.
#[tokio::test]
async fn the_admin_surface_answers_under_its_own_name_only() {
    let fixture = start().await;
    let url = fixture.server.admin_url();
    let (address, token) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let port = address.split(':').nth(1).unwrap();
    let localhost = format!("localhost:{port}");
    for (authority, host, status) in [
        (address, address, 200),
        (&localhost, address, 200),
        ("evil.example", address, 403),
        ("evil.example", "evil.example", 403),
        (&format!("evil.example:{port}"), address, 403),
        (&format!("a@{address}"), address, 403),
        (address, "evil.example", 403),
        ("127.0.0.1", address, 403),
    ] {
        let (found, _) =
            fixture.admin_raw("GET", &format!("http://{authority}/{token}/clock"), host, "").await;
        assert_eq!(found, status, "{authority} {host}");
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let two = format!(
        "GET /{token}/clock HTTP/1.1\r\nHost: {address}\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(two.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test]
async fn it_listens_on_loopback_only_and_stops_when_told() {
    let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
    let refused = Server::start(Arc::clone(&emulator), "0.0.0.0:0".parse().unwrap()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
    let server = Server::start(emulator, ANY.parse().unwrap()).await.unwrap();
    let proxy = server.proxy_address();
    let mut open = connect(proxy, "mtlsauth.microsoft.com:443").await.unwrap();
    server.shutdown().await;
    assert!(TcpStream::connect(proxy).await.is_err());
    assert!(matches!(open.read(&mut [0]).await, Ok(0) | Err(_)));
}
