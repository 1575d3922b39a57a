//! Hosts that request the certificate late, with a TLS library of the test. This library does not encrypt.

use std::io;

use certbound_emulator::serve::{BoxedIo, LateAccepting, LateClient, LateConnection, LateTls, Requesting};

use super::*;

const LATE: &str = "late.vault.azure.net";

/// Accepts every stream as it is.
#[derive(Debug)]
struct Plain;

impl LateTls for Plain {
    fn accept<'a>(&'a self, stream: BoxedIo, _: &'a [Vec<u8>], _: &'a [u8]) -> LateAccepting<'a> {
        Box::pin(async { Ok(LateConnection { stream, client: Arc::new(Silent) }) })
    }
}

/// A client that never answers the request for its certificate.
struct Silent;

impl LateClient for Silent {
    fn server_name(&self) -> Option<String> {
        Some(LATE.to_owned())
    }

    fn request_certificate(&self) -> Requesting<'_> {
        Box::pin(std::future::pending::<io::Result<_>>())
    }

    fn refuse_certificate(&self) -> Requesting<'_> {
        self.request_certificate()
    }
}

fn world() -> World {
    let text = World::built_in().to_toml().unwrap();
    let usual = "[[resources.hosts]]\nname = \"*.vault.azure.net\"";
    let late = format!("[[resources.hosts]]\nname = \"{LATE}\"\nlate_certificate = true\n\n");
    World::from_toml(&text.replace(usual, &format!("{late}{usual}"))).unwrap()
}

async fn start_late() -> Server {
    let emulator = Arc::new(Emulator::new(world()).unwrap());
    let mut limits = Limits::default();
    limits.head = Duration::from_millis(100);
    let options = ServerOptions { limits, late_tls: Some(Arc::new(Plain)), ..ServerOptions::default() };
    Server::start_anyone_can_mint_tokens(emulator, options).await.unwrap()
}

#[tokio::test]
async fn a_client_that_does_not_renegotiate_in_time_loses_the_connection() {
    let server = start_late().await;
    let mut tunnel = connect(server.proxy_address(), &format!("{LATE}:443")).await.unwrap();
    let head = format!("GET /secrets/demo HTTP/1.1\r\nHost: {LATE}\r\nx-ms-tokenboundauth: true\r\n\r\n");
    tunnel.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), tunnel.read_to_end(&mut answer)).await;
    // The connection can end by a reset.
    let _ = ended.expect("the client holds the connection");
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}

/// A request without the header needs no renegotiation. The answer to HEAD has no body, so the second answer follows
/// directly.
#[tokio::test]
async fn a_request_that_does_not_opt_in_is_answered_without_a_renegotiation() {
    let server = start_late().await;
    let mut tunnel = connect(server.proxy_address(), &format!("{LATE}:443")).await.unwrap();
    let request =
        |method: &str, more: &str| format!("{method} /secrets HTTP/1.1\r\nHost: {LATE}\r\n{more}\r\n");
    let both = request("HEAD", "") + &request("GET", "Connection: close\r\n");
    tunnel.write_all(both.as_bytes()).await.unwrap();
    let mut answers = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), tunnel.read_to_string(&mut answers)).await;
    read.expect("the connection ends after the second answer").unwrap();
    let (head, get) = answers.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 401 ") && head.contains("content-length: "), "{answers}");
    assert!(get.starts_with("HTTP/1.1 401 ") && get.ends_with('}'), "{answers}");
}
