//! Servers that answer before they have read the whole request, and then close the connection.

use bytes::Bytes;
use certbound::Transport as _;
use certbound::error::TransportError;
use certbound::transport::{Answer, Via};
use http::Request;
use http::header::AUTHORIZATION;

use crate::support::{Peer, Pki, TOKEN, certificate, serve, transport};

/// A body that does not fit into the buffers of a connection.
const LARGE: usize = 16 * 1024 * 1024;

/// Sends a request with a large body to a server that closes the connection without reading the body. `answer` is what the
/// server sends before.
async fn answered_early(answer: &'static str) -> Result<Answer, TransportError> {
    let pki = Pki::new();
    let early = move |mut peer: Peer| async move {
        peer.request().await.unwrap();
        peer.ask().await.unwrap();
        peer.answer("401 Unauthorized", "no token").await;
        peer.request().await.unwrap();
        peer.write(answer).await;
        // The unread body makes the system reset the connection.
    };
    let (address, _) = serve(&pki, early).await;
    let request = Request::put(format!("https://localhost:{}/secrets/a?api-version=7.4", address.port()))
        .header(AUTHORIZATION, format!("mtls_pop {TOKEN}"))
        .body(Bytes::from(vec![b'a'; LARGE]));
    transport(&pki).send(request.unwrap(), Via::Resource(&certificate())).await
}

/// The reset can arrive before or after the client reads the answer, so the test repeats the call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_is_reported_although_the_body_was_not_sent() {
    let refusal = "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 9\r\n\r\ntoo large";
    for _ in 0..10 {
        let answer = answered_early(refusal).await.unwrap();
        assert_eq!((answer.response.status().as_u16(), &**answer.response.body()), (413, &b"too large"[..]));
    }
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_an_error() {
    let error = answered_early("").await.unwrap_err();
    assert!(matches!(error, TransportError::EndedAfterCertificate { .. }), "{error:?}");
    let error =
        answered_early("HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\n\r\ntoo").await.unwrap_err();
    assert_eq!(error.code(), "connection_interrupted", "{error:?}");
}
