//! A resource behind a real HAProxy, which only forwards: the resource verifies the header itself.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use super::proxies::{self, Configuration, Running};
use super::resources::Fixture;
use crate::support::text;

/// Starts HAProxy. It inherits a listening socket as its standard input, so no test has to wait for it.
fn haproxy(fixture: &Fixture, configuration: Configuration, resource: &str) -> (Running, u16) {
    let both = [&fixture.server_pem, &fixture.server_key].map(|path| std::fs::read_to_string(path).unwrap());
    let both = crate::support::file(&fixture.directory, "both.pem", both.concat());
    let configuration = configuration
        .with("bind :443", "bind fd@0")
        .with("/etc/ssl/api.both.pem", text(&both))
        .with("127.0.0.1:8080", resource)
        .write(fixture, "haproxy.cfg");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut command = proxies::server("haproxy");
    command.args(["-db", "-f", text(&configuration)]).stdin(Stdio::from(OwnedFd::from(listener)));
    command.stderr(Stdio::inherit());
    (proxies::start(command), port)
}

/// Runs every attack, with the header that HAProxy writes and with headers of that name from the client.
fn drive(header: &[&str], name: &str, value: Option<&str>) {
    let fixture = Fixture::new();
    let (_resource, address) = proxies::decider(&fixture, header);
    let mut configuration = Configuration::of("haproxy", &fixture);
    if let Some(value) = value {
        let documented = "set-header Client-Cert :%[ssl_c_der,base64]: if { ssl_c_used }";
        configuration = configuration
            .with(documented, &format!("set-header {name} {value}"))
            .with("del-header Client-Cert", &format!("del-header {name}"));
    }
    let (_haproxy, port) = haproxy(&fixture, configuration, &address);
    let url = format!("https://localhost:{port}/orders");
    fixture.drive(&url);

    let bound = format!("Authorization: mtls_pop {}", fixture.token);
    let ours = fixture.emulator.certificate();
    let der = proxies::base64_of(ours);
    let underscored = name.replace('-', "_");
    for certificate in [None, Some(text(&fixture.other))] {
        for header in
            [format!("{name}: {der}"), format!("{name}: :{der}:"), format!("{underscored}: :{der}:")]
        {
            let (status, shown) = fixture.get(&url, certificate, &[&bound, &header]);
            assert_eq!(status, 401, "{header:.40} {shown}");
        }
    }
    assert_eq!(fixture.get(&url, Some(ours), &[&bound, &format!("{name}: forged")]).0, 200);
    // HAProxy accepts every certificate, so the verifier refuses these.
    for certificate in proxies::unusable_certificates(&fixture) {
        let (status, shown) = fixture.get(&url, Some(text(&certificate)), &[&bound]);
        assert_eq!(status, 401, "{shown}");
        assert!(shown.contains("bound to a different certificate"), "{shown}");
    }
}

#[test]
fn it_accepts_the_right_client_and_refuses_the_attacks() {
    drive(&["rfc9440"], "Client-Cert", None);
}

/// Attack 24: HAProxy writes `::` if there is no certificate.
#[test]
fn an_empty_header_is_no_certificate() {
    drive(&["rfc9440"], "Client-Cert", Some(":%[ssl_c_der,base64]:"));
}

#[test]
fn it_may_write_base64_under_a_name_of_its_own() {
    let header = ["app-service", "--certificate-header-name", "x-haproxy-client"];
    drive(&header, "X-HAProxy-Client", Some("%[ssl_c_der,base64]"));
}
