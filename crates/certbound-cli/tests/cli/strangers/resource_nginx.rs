//! An API behind a real nginx, which sends each request to `certbound verify --serve` before it forwards the request.

use super::proxies::{self, Configuration, Running};
use super::resources::Fixture;
use crate::support::{APP, text};

/// Starts nginx on a Unix socket, because it cannot choose a free port.
fn nginx(fixture: &Fixture, decider: &str) -> (Running, u16) {
    let folder = fixture.directory.path();
    let socket = folder.join("nginx.sock");
    // nginx runs as one process, because a worker would outlive a killed master.
    let head = "daemon off;\nmaster_process off;\nerror_log stderr notice;\npid FOLDER/nginx.pid;\nevents {}\nhttp {\n\
        access_log off;\nclient_body_temp_path FOLDER/body;\nproxy_temp_path FOLDER/proxy;\n\
        fastcgi_temp_path FOLDER/fastcgi;\nuwsgi_temp_path FOLDER/uwsgi;\nscgi_temp_path FOLDER/scgi;\n";
    let configuration = Configuration::of("nginx", fixture)
        .with("listen 443 ssl;", &format!("listen unix:{} ssl;", text(&socket)))
        .with("127.0.0.1:9000", decider)
        .with("127.0.0.1:8080", &proxies::api())
        .after(&head.replace("FOLDER", text(folder)))
        .before("}\n")
        .write(fixture, "nginx.conf");
    let mut command = proxies::server("nginx");
    command.args(["-p", text(folder), "-c", text(&configuration), "-e", "stderr"]);
    let mut running = proxies::start(command);
    // nginx logs its limits after it has started to listen.
    assert!(running.says("getrlimit"));
    (running, proxies::relay(socket))
}

#[test]
fn it_accepts_the_right_client_and_refuses_the_attacks() {
    let fixture = Fixture::new();
    let (_decider, address) = proxies::decider(&fixture, &["nginx"]);
    let (_nginx, port) = nginx(&fixture, &address);
    let url = format!("https://localhost:{port}/orders");
    fixture.drive(&url);
    proxies::attack_what_the_proxy_passes_on(&fixture, &url);

    // Attack 51: a request that reaches the verifier without nginx comes from the proxy's own host. It must have
    // nginx's header.
    let direct = |header: &str| {
        let bound = format!("Authorization: mtls_pop {}", fixture.token);
        fixture.get(&format!("http://{address}"), None, &[&bound, header])
    };
    for header in ["X-SSL-Client-Cert: nonsense", "X_SSL_Client_Cert: x", "X-Nothing: x"] {
        assert_eq!(direct(header).0, 401, "{header}");
    }

    // `optional_no_ca` accepts only an unknown issuer. nginx itself refuses these certificates.
    for certificate in proxies::unusable_certificates(&fixture) {
        let bound = format!("Authorization: mtls_pop {}", fixture.token);
        let (status, shown) = fixture.get(&url, Some(text(&certificate)), &[&bound]);
        assert_eq!(status, 400, "{shown}");
        assert!(shown.contains("SSL certificate error") && !shown.contains(APP), "{shown}");
    }
}

/// Attack 52: nginx sends requests without a body to the verifier, so a request with two lengths is not from nginx.
/// hyper handles it before our code sees it. `v52_a_request_of_two_lengths_reaches_no_resource` in the verifier's tests
/// covers our own refusal.
#[test]
fn hyper_judges_a_question_of_two_lengths_by_its_chunks_and_ends_the_connection() {
    let fixture = Fixture::new();
    let (_decider, address) =
        proxies::decider(&fixture, &["app-service", "--certificate-header-name", "X-Client-Cert"]);
    let der = proxies::base64_of(fixture.emulator.certificate());
    let head = |lengths: &str, more: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\n{lengths}Authorization: mtls_pop {}\r\nX-Client-Cert: {der}\r\n{more}\r\n",
            fixture.token
        )
    };
    let (length, chunked) = ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n");
    let smuggled = head("", "Connection: close\r\n");
    // hyper removes the length and reads the chunked body. Nothing after the request is read.
    for both in [[length, chunked].concat(), [chunked, length].concat()] {
        let shown = proxies::raw(&address, &format!("{}0\r\n\r\n{smuggled}", head(&both, "")));
        assert_eq!(shown.matches("HTTP/1.1").count(), 1, "{shown}");
        assert!(shown.contains("connection: close\r\n"), "{shown}");
    }
    for one in [length, chunked] {
        let body = if one == length { "12345" } else { "0\r\n\r\n" };
        let shown = proxies::raw(&address, &format!("{}{body}", head(one, "Connection: close\r\n")));
        assert!(shown.starts_with("HTTP/1.1 200"), "{shown}");
    }
}
