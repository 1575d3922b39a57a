//! The layer on axum, with the code of the example.

use super::resources::{Fixture, in_background};

#[path = "../../../../certbound-verifier/examples/axum.rs"]
#[expect(dead_code, unreachable_pub, reason = "an example with a main of its own")]
mod example;

fn start(fixture: &Fixture) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (verifier, chain, key) = (
        fixture.verifier(),
        std::fs::read(&fixture.server_pem).unwrap(),
        std::fs::read(&fixture.server_key).unwrap(),
    );
    in_background(move || async move { example::serve(listener, verifier, &chain, &key).await });
    port
}

#[test]
fn it_accepts_the_right_client_and_refuses_the_attacks() {
    let fixture = Fixture::new();
    let port = start(&fixture);
    fixture.drive(&format!("https://localhost:{port}/orders"));
}

#[test]
fn openssl_is_asked_for_a_certificate_and_no_session_is_taken_up_again() {
    let fixture = Fixture::new();
    let port = start(&fixture);
    let address = format!("127.0.0.1:{port}");
    let certificate = fixture.emulator.certificate();
    let request = format!(
        "GET /orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: mtls_pop {}\r\nConnection: close\r\n\r\n",
        fixture.token
    );
    let with = ["-cert", certificate, "-key", certificate];
    for version in ["-tls1_2", "-tls1_3"] {
        let shown = fixture.s_client(&address, &[&with[..], &[version]].concat(), &request);
        assert!(shown.contains("HTTP/1.1 200"), "{version} {shown}");
        assert!(shown.contains("No client certificate CA names sent"), "{shown}");
        let shown = fixture.s_client(&address, &[version], &request);
        assert!(shown.contains("HTTP/1.1 401") && shown.contains("no client certificate"), "{shown}");
    }
    // Attack 18: a TLS session of one connection must not work on another connection.
    let session = fixture.directory.path().join("session.pem");
    let session = session.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let _ = std::fs::remove_file(session);
        fixture.s_client(&address, &[&with[..], &[version, "-sess_out", session]].concat(), &request);
        if !std::path::Path::new(session).exists() {
            continue; // openssl got no session, so there is nothing to resume.
        }
        let shown = fixture.s_client(&address, &[version, "-sess_in", session], &request);
        assert!(!shown.contains("Reused,") && shown.contains("HTTP/1.1 401"), "{version} {shown}");
    }
}

/// Attack 52: hyper handles such a request before the layer sees it. `v52_a_request_of_two_lengths_reaches_no_resource` in the
/// verifier's tests covers the layer's own refusal.
#[test]
fn hyper_judges_a_request_of_two_lengths_by_its_chunks_and_ends_the_connection() {
    let fixture = Fixture::new();
    let address = format!("127.0.0.1:{}", start(&fixture));
    let certificate = fixture.emulator.certificate();
    let request = format!(
        "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\
         Authorization: mtls_pop {}\r\n\r\n0\r\n\r\n",
        fixture.token
    );
    // Nothing after the request is read. With `-ign_eof` openssl waits for the end of the connection.
    let shown = fixture.s_client(&address, &["-cert", certificate, "-key", certificate], &request.repeat(2));
    assert_eq!(shown.matches("HTTP/1.1").count(), 1, "{shown}");
    assert!(shown.contains("HTTP/1.1 405") && shown.contains("connection: close"), "{shown}");
}
