//! The common parts of the tests with proxies: the configuration from the documentation, the verifier that the proxies
//! use, and the API behind them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use axum::Router;
use http::HeaderMap;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};

use super::resources::{Fixture, ORDERS_ID, ROLE, in_background};
use crate::support::{TENANT, file, text};

/// A process that ends with the test.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Reads the process's stderr up to a line with this text. Returns false if the process ends first. A thread reads
    /// the rest, because a full pipe would block the process.
    pub(super) fn says(&mut self, ready: &str) -> bool {
        let stderr = self.0.stderr.take().unwrap();
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let is_ready = lines.by_ref().any(|line| {
            let found = line.contains(ready);
            said.push(line);
            found
        });
        if !is_ready {
            eprintln!("{}", said.join("\n"));
        }
        std::thread::spawn(move || lines.for_each(drop));
        is_ready
    }
}

/// A block of `docs/proxies.md`: the tests run exactly what a reader copies.
pub(super) struct Configuration(String);

impl Configuration {
    /// Returns the block in this language, with the server certificate of the fixture.
    pub(super) fn of(language: &str, fixture: &Fixture) -> Self {
        let page = include_str!("../../../../../docs/proxies.md");
        let block = page.split_once(&format!("```{language}\n")).unwrap().1;
        let block = block.split_once("\n```").unwrap().0;
        Self(format!("{block}\n"))
            .replace("/etc/ssl/api.pem", text(&fixture.server_pem))
            .replace("/etc/ssl/api.key", text(&fixture.server_key))
    }

    /// Replaces a text, which must exist.
    pub(super) fn with(self, from: &str, to: &str) -> Self {
        assert!(self.0.contains(from), "{from} in {}", self.0);
        self.replace(from, to)
    }

    fn replace(self, from: &str, to: &str) -> Self {
        Self(self.0.replace(from, to))
    }

    /// Puts `head`, which only the test needs, before the block.
    pub(super) fn after(self, head: &str) -> Self {
        Self(format!("{head}{}", self.0))
    }

    /// Puts `tail`, which only the test needs, after the block.
    pub(super) fn before(self, tail: &str) -> Self {
        Self(format!("{}{tail}", self.0))
    }

    pub(super) fn write(&self, fixture: &Fixture, name: &str) -> PathBuf {
        file(&fixture.directory, name, &self.0)
    }
}

/// Returns the command of a server, at Debian's path if it exists there.
pub(super) fn server(name: &str) -> Command {
    let path = Path::new("/usr/sbin").join(name);
    let mut command = if path.exists() { Command::new(path) } else { Command::new(name) };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

pub(super) fn start(mut command: Command) -> Running {
    Running(command.spawn().expect("the proxy is needed: run the tests by `cargo xtask test`"))
}

/// Starts `certbound verify --serve` for a form of header. Returns its address too.
pub(super) fn decider(fixture: &Fixture, header: &[&str]) -> (Running, String) {
    let mut command = fixture.emulator.certbound();
    command.args(["verify", "--serve", "127.0.0.1:0", "--audience", ORDERS_ID, "--require-role", ROLE]);
    command.args(["--trust-proxy", "127.0.0.1/32", "--remember", "100", "--certificate-header"]).args(header);
    let mut child = command.env("AZURE_TENANT_ID", TENANT).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value =
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let url = ready["listen"].as_str().unwrap();
    (Running(child), url.strip_prefix("http://").unwrap().to_owned())
}

/// Starts an API that answers with the headers it received, one per line, without the token.
pub(super) fn api() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let echo = |headers: HeaderMap| async move {
        let headers = headers.iter().filter(|(name, _)| *name != "authorization");
        let lines = headers.map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or("?")));
        lines.collect::<String>()
    };
    let app = Router::new().fallback(echo);
    in_background(move || async move {
        axum_server::from_tcp(listener)?.serve(app.into_make_service()).await?;
        Ok(())
    });
    address
}

/// Forwards a TCP port to a Unix socket, for clients that support only TCP.
pub(super) fn relay(socket: PathBuf) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    in_background(move || async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            let socket = socket.clone();
            tokio::spawn(async move {
                let mut proxy = tokio::net::UnixStream::connect(socket).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut proxy).await
            });
        }
    });
    port
}

/// Returns the DER of the certificate in a PEM file, in base64.
pub(super) fn base64_of(path: &str) -> String {
    let pem = std::fs::read_to_string(path).unwrap();
    pem.lines().skip(1).take_while(|line| !line.starts_with('-')).collect()
}

/// Returns an expired certificate, and one whose extended key usage is for servers only.
pub(super) fn unusable_certificates(fixture: &Fixture) -> [PathBuf; 2] {
    let mut over = CertificateParams::default();
    (over.not_before, over.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let mut for_servers = CertificateParams::default();
    for_servers.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    [("over.pem", over), ("for-servers.pem", for_servers)].map(|(name, params)| {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        file(&fixture.directory, name, format!("{}{}", certificate.pem(), key.serialize_pem()))
    })
}

/// Sends these bytes and reads until the server closes the connection.
pub(super) fn raw(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Two attacks. Headers of the client with the names of the seven headers must not reach the API. A token in the URL
/// must be found beside bytes that are not ASCII.
pub(super) fn attack_what_the_proxy_passes_on(fixture: &Fixture, url: &str) {
    let bound = format!("Authorization: mtls_pop {}", fixture.token);
    let ours = Some(fixture.emulator.certificate());
    let spoofed = [
        "X-Certbound-Client-Id: forged",
        "X-Certbound-Tenant-Id: forged",
        "X-Certbound-Object-Id: forged",
        "X-Certbound-Subject: forged",
        "X-Certbound-Roles: forged",
        "X-Certbound-Scopes: forged",
        "X-Certbound-Certificate: forged",
    ];
    let (status, shown) = fixture.get(url, ours, &[&[bound.as_str()], &spoofed[..]].concat());
    assert_eq!(status, 200, "{shown}");
    assert!(!shown.contains("forged"), "{shown}");
    // The token has no scopes, so this header is missing or empty.
    assert!(shown.contains(&format!("x-certbound-roles: {ROLE}\n")), "{shown}");
    let scopes = shown.lines().find_map(|line| line.strip_prefix("x-certbound-scopes:")).unwrap_or_default();
    assert_eq!(scopes.trim(), "", "{shown}");

    for query in ["?\u{e9}&access_token", "/\u{e9}?access_token", "?a;access_token"] {
        let url = format!("{url}{query}={}", fixture.token);
        let (status, shown) = fixture.get(&url, ours, &[&bound]);
        assert_eq!(status, 401, "{query} {shown}");
        assert!(shown.contains("must not be in the URL"), "{query} {shown}");
    }
    let (status, shown) = fixture.get(&format!("{url}?\u{e9}"), ours, &[&bound]);
    assert_eq!(status, 200, "{shown}");
}
