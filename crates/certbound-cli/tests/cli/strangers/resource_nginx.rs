//! A resource behind a real nginx, which asks `certbound verify --serve` before it serves.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::resources::{Fixture, ORDERS_ID, ROLE};
use crate::support::{TENANT, file, text};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `certbound verify --serve`, and where it listens.
fn decider(fixture: &Fixture) -> (Running, String) {
    let mut child = fixture
        .emulator
        .certbound()
        .args(["verify", "--serve", "127.0.0.1:0", "--audience", ORDERS_ID, "--require-role", ROLE])
        .args(["--certificate-header", "nginx", "--trust-proxy", "127.0.0.1/32", "--remember", "100"])
        .env("AZURE_TENANT_ID", TENANT)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value =
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    (Running(child), ready["listen"].as_str().unwrap().to_owned())
}

/// nginx on a socket in the file system: it cannot be asked for a free port.
fn nginx(fixture: &Fixture, decider: &str) -> (Running, PathBuf) {
    let folder = fixture.directory.path();
    let socket = folder.join("nginx.sock");
    std::fs::create_dir(folder.join("www")).unwrap();
    std::fs::write(folder.join("www/orders"), "orders\n").unwrap();
    let template = include_str!("nginx.conf");
    let configuration = template
        .replace("FOLDER", text(folder))
        .replace("SERVER_PEM", text(&fixture.server_pem))
        .replace("SERVER_KEY", text(&fixture.server_key))
        .replace("DECIDER", decider);
    let configuration = file(&fixture.directory, "nginx.conf", configuration);
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
    let child = Command::new(program.unwrap_or("nginx"))
        .args(["-p", text(folder), "-c", text(&configuration), "-e", "stderr"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nginx is needed: run the tests by `cargo xtask test`");
    let mut running = Running(child);
    // It listens before it tells its limits. One process: a worker would outlive a master that is killed.
    let stderr = running.0.stderr.take().unwrap();
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let started = lines.by_ref().find(|line| line.contains("getrlimit") || line.contains("[emerg]"));
    assert!(started.as_ref().is_some_and(|line| !line.contains("[emerg]")), "{started:?}");
    // What it says later must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (running, socket)
}

/// Clients that know TCP only come by a port of ours.
fn relay(socket: PathBuf) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    super::resources::in_background(move || async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            let socket = socket.clone();
            tokio::spawn(async move {
                let mut nginx = tokio::net::UnixStream::connect(socket).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut nginx).await
            });
        }
    });
    port
}

#[test]
fn it_accepts_the_right_client_and_refuses_the_attacks() {
    let fixture = Fixture::new();
    let (_decider, url) = decider(&fixture);
    let (_nginx, socket) = nginx(&fixture, &url);
    let port = relay(socket);
    fixture.drive(&format!("https://localhost:{port}/orders"));

    // 51: who reaches the decider past nginx is the proxy's host itself, and must write the header as nginx does.
    let direct = |header: &str| {
        fixture.get(&url, None, &[&format!("Authorization: mtls_pop {}", fixture.token), header])
    };
    for header in ["X-SSL-Client-Cert: nonsense", "X_SSL_Client_Cert: x", "X-Nothing: x"] {
        assert_eq!(direct(header).0, 401, "{header}");
    }
}
