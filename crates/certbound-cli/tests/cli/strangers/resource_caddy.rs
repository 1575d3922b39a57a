//! An API behind a real Caddy, which sends each request to `certbound verify --serve` before it forwards the request.

use super::proxies::{self, Configuration, Running};
use super::resources::Fixture;
use crate::support::text;

/// Starts Caddy on a Unix socket, because it cannot choose a free port.
fn caddy(fixture: &Fixture, decider: &str) -> (Running, u16) {
    let folder = text(fixture.directory.path());
    let socket = fixture.directory.path().join("caddy.sock");
    let configuration = Configuration::of("caddy", fixture)
        .with("https://api.example.com {", &format!("https://localhost {{\n\tbind unix/{}", text(&socket)))
        .with("127.0.0.1:9000", decider)
        .with("127.0.0.1:8080", &proxies::api())
        .after("{\n\tadmin off\n\tauto_https off\n}\n")
        .write(fixture, "Caddyfile");
    let mut command = proxies::server("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config", text(&configuration)]);
    for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(variable, folder);
    }
    let mut running = proxies::start(command);
    assert!(running.says("serving initial configuration"));
    (running, proxies::relay(socket))
}

#[test]
fn it_accepts_the_right_client_and_refuses_the_attacks() {
    let fixture = Fixture::new();
    let (_decider, address) =
        proxies::decider(&fixture, &["app-service", "--certificate-header-name", "x-client-cert"]);
    let (_caddy, port) = caddy(&fixture, &address);
    let url = format!("https://localhost:{port}/orders");
    fixture.drive(&url);
    proxies::attack_what_the_proxy_passes_on(&fixture, &url);

    // The verifier reads Caddy's header, even if the client sends a header with the same name.
    let bound = format!("Authorization: mtls_pop {}", fixture.token);
    let ours = fixture.emulator.certificate();
    let header = |name: &str| format!("{name}: {}", proxies::base64_of(ours));
    for certificate in [None, Some(text(&fixture.other))] {
        for name in ["X-Client-Cert", "X_Client_Cert"] {
            let (status, shown) = fixture.get(&url, certificate, &[&bound, &header(name)]);
            assert_eq!(status, 401, "{name} {shown}");
        }
    }
    let (status, shown) =
        fixture.get(&url, Some(ours), &[&bound, "X-Client-Cert: forged", "X-Certbound-Others: forged"]);
    assert_eq!(status, 200, "{shown}");
    assert!(!shown.contains("forged"), "Caddy removes these headers of the client: {shown}");
}
