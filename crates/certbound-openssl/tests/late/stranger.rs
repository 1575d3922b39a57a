//! OpenSSL's own server, which renegotiates and requests the certificate when its input has the line `R`.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::support::{Pki, TOKEN, call, certificate, transport};

/// The subject of the client's certificate, as OpenSSL prints it.
const SUBJECT: &str = "CN = p256, O = certbound tests";

/// The time in which the server must print what a test expects.
const LIMIT: Duration = Duration::from_secs(20);

struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(pki: &Pki, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = pki.issue("localhost");
        std::fs::write(folder.path().join("server.pem"), chain + &key).unwrap();
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "server.pem", "-key", "server.pem"])
            .args(more)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(output.read_line(&mut line).await.unwrap() > 0, "s_server ended");
            if let Some(address) = line.trim().strip_prefix("ACCEPT ") {
                break address.parse().unwrap();
            }
        };
        Self { child, input, output, log, address, _folder: folder }
    }

    /// Reads the output up to `end`.
    async fn until(&mut self, end: &str) -> String {
        until(&mut self.output, end).await
    }

    async fn says(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).await.unwrap();
        self.input.flush().await.unwrap();
    }
}

/// Reads up to `end`, for at most the limit of a test.
async fn until(from: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        let read = tokio::time::timeout(LIMIT, from.read_u8()).await;
        let seen_so_far = String::from_utf8_lossy(&seen);
        let byte = read.unwrap_or_else(|_| panic!("no {end:?} in {seen_so_far}"));
        seen.push(byte.unwrap_or_else(|_| panic!("it ended without {end:?}: {seen_so_far}")));
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn s_server_renegotiates_and_shows_the_certificate_before_the_token() {
    let pki = Pki::new();
    let mut server = Server::start(&pki, &["-tls1_2", "-no_ticket", "-no_cache"]).await;
    let address = server.address;
    let operator = async {
        let first = server.until("x-ms-tokenboundauth: true\r\n\r\n").await;
        assert!(first.contains("GET /secrets/demo") && !first.contains(TOKEN), "{first}");
        server.says("R\n").await;
        // The server logs the subject of each certificate that it gets.
        let logged = until(&mut server.log, "verify return:1\n").await;
        assert!(logged.contains(&format!("depth=0 {SUBJECT}\n")), "{logged}");
        server.says("HTTP/1.1 401 Unauthorized\nContent-Length: 0\n\n").await;
        let second = server.until("\r\n\r\n").await;
        assert!(second.contains(TOKEN), "{second}");
        server.says("HTTP/1.1 204 No Content\n\n").await;
    };
    let (transport, certificate) = (transport(&pki), certificate());
    let (answer, ()) = tokio::join!(call(&transport, address, &certificate), operator);
    assert_eq!(answer.unwrap().response.status(), 204);
}

/// A server that resumes sessions gives an abbreviated renegotiation, which requests nothing.
#[tokio::test]
async fn s_server_with_sessions_gets_no_token() {
    let pki = Pki::new();
    let mut server = Server::start(&pki, &["-tls1_2"]).await;
    let address = server.address;
    let operator = async {
        server.until("x-ms-tokenboundauth: true\r\n\r\n").await;
        server.says("R\n").await;
        // The server takes a line as a command only if it reads the line alone.
        server.until("Read BLOCK\n").await;
        server.says("HTTP/1.1 401 Unauthorized\nContent-Length: 0\n\n").await;
        server
    };
    let (transport, certificate) = (transport(&pki), certificate());
    let (answer, mut server) = tokio::join!(call(&transport, address, &certificate), operator);
    let error = answer.unwrap_err();
    assert_eq!(error.code(), "certificate_not_requested", "{error:?}");
    assert!(error.to_string().contains("resumed a TLS session in the renegotiation"), "{error}");
    server.child.kill().await.unwrap();
    let mut rest = String::new();
    tokio::time::timeout(LIMIT, server.output.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert!(!rest.contains(TOKEN), "{rest}");
}
