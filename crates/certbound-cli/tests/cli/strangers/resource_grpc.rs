//! The layer on tonic, with the code of the example. curl sends gRPC requests.

use super::resources::{Fixture, in_background};
use crate::support::text;

#[path = "../../../../certbound-verifier/examples/grpc.rs"]
#[expect(dead_code, unreachable_pub, reason = "an example with a main of its own")]
mod example;

/// An empty message: no compression, length 0.
const FRAME: &[u8] = &[0, 0, 0, 0, 0];

#[test]
fn it_accepts_the_right_client_and_refuses_the_attacks() {
    let fixture = Fixture::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (verifier, chain, key) = (
        fixture.verifier(),
        std::fs::read(&fixture.server_pem).unwrap(),
        std::fs::read(&fixture.server_key).unwrap(),
    );
    in_background(move || async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        example::serve(listener, verifier, &chain, &key).await
    });
    let frame = crate::support::file(&fixture.directory, "frame", FRAME);
    let message = format!("@{}", text(&frame));
    let url = format!("https://localhost:{port}/grpc.health.v1.Health/Check");
    let ask = |certificate: Option<&str>, authorization: &str, data: &str| {
        let output = fixture.curl(
            certificate,
            &[
                "--http2",
                "-H",
                "content-type: application/grpc",
                "-H",
                "te: trailers",
                "-H",
                authorization,
                "--data-binary",
                data,
                &url,
            ],
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let ours = Some(fixture.emulator.certificate());
    let bound = format!("authorization: mtls_pop {}", fixture.token);
    let answered = ask(ours, &bound, &message);
    assert!(answered.starts_with("HTTP/2 200") && answered.contains("\u{8}\u{1}"), "SERVING: {answered:?}");
    assert!(!answered.contains("grpc-status: 16"), "{answered:?}");

    let plain = fixture.token_for("api://orders/.default", &["--bearer"]);
    let for_graph = fixture.token_for("https://graph.microsoft.com/.default", &[]);
    for (certificate, authorization, reason) in [
        (None, bound.clone(), "no client certificate"),
        (Some(text(&fixture.other)), bound.clone(), "bound to a different certificate"),
        (ours, format!("authorization: Bearer {}", fixture.token), "under Bearer"),
        (ours, format!("authorization: Bearer {plain}"), "not bound to a certificate"),
        (ours, format!("authorization: mtls_pop {for_graph}"), "audience is not accepted"),
        (ours, "x-nothing: x".to_owned(), "a token is required"),
    ] {
        // This request has no message. The server does not read the body of a refused request, and curl reports the
        // reset of an unread body as an error.
        let refused = ask(certificate, &authorization, "");
        assert!(refused.contains("grpc-status: 16"), "{reason}: {refused:?}");
        assert!(refused.contains(reason), "{reason}: {refused:?}");
        assert!(!refused.contains("\u{8}\u{1}"), "{reason}: {refused:?}");
    }
}
