//! A resource behind a real Apache, which only forwards: the resource verifies the header itself.

use std::net::TcpListener;
use std::process::Command;

use super::proxies::{self, Configuration, Running};
use super::resources::Fixture;
use crate::support::{stderr, stdout, text};

const MODULES: [&str; 6] = ["mpm_event", "authz_core", "headers", "proxy", "proxy_http", "ssl"];

/// Starts Apache. It cannot choose a free port or inherit a socket. If another process took the free port in the
/// meantime, the next port is tried.
fn apache(fixture: &Fixture, resource: &str) -> (Running, u16) {
    for _ in 0..16 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = text(fixture.directory.path());
        let modules = MODULES
            .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
            .concat();
        // Apache needs User and Group if root starts it, because it must not serve as root.
        let head = format!(
            "ServerName localhost\nServerRoot {folder}\nPidFile {folder}/apache.pid\nMutex file:{folder}\n\
             ErrorLog /dev/stderr\nLogLevel warn mpm_event:debug\nUser www-data\nGroup www-data\n\
             Listen 127.0.0.1:{port}\n{modules}"
        );
        let configuration = Configuration::of("apache", fixture)
            .with("<VirtualHost *:443>", &format!("<VirtualHost *:{port}>"))
            .with("127.0.0.1:8080", resource)
            .after(&head)
            .write(fixture, "apache.conf");
        let mut command = proxies::server("apache2");
        // Apache runs as one process, because child processes would outlive a killed parent.
        command.args(["-X", "-f", text(&configuration)]);
        let mut running = proxies::start(command);
        if running.says("start_threads") {
            return (running, port);
        }
    }
    panic!("no port is free");
}

#[test]
fn it_accepts_the_right_client_and_refuses_the_attacks() {
    let fixture = Fixture::new();
    let (_resource, address) = proxies::decider(&fixture, &["nginx"]);
    let (_apache, port) = apache(&fixture, &address);
    let url = format!("https://localhost:{port}/orders");
    fixture.drive(&url);

    let bound = format!("Authorization: mtls_pop {}", fixture.token);
    let ours = fixture.emulator.certificate();
    let pem = std::fs::read_to_string(ours).unwrap();
    let line = pem.split_inclusive("-----END CERTIFICATE-----").next().unwrap().replace('\n', " ");
    for certificate in [None, Some(text(&fixture.other))] {
        for name in ["X-SSL-Client-Cert", "X_SSL_Client_Cert"] {
            let (status, shown) = fixture.get(&url, certificate, &[&bound, &format!("{name}: {line}")]);
            assert_eq!(status, 401, "{name} {shown}");
        }
    }
    assert_eq!(fixture.get(&url, Some(ours), &[&bound, "X-SSL-Client-Cert: forged"]).0, 200);
    // `optional_no_ca` accepts only an unknown issuer. These certificates are refused in the handshake.
    for certificate in proxies::unusable_certificates(&fixture) {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--noproxy", "*", "--cacert", text(&fixture.server_pem), "-H", &bound, &url]);
        let output = curl.args(["--cert", text(&certificate)]).output().unwrap();
        assert!(!output.status.success() && stderr(&output).contains("alert"), "{}", stdout(&output));
    }
}
