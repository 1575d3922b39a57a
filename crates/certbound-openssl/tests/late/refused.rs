//! Servers that renegotiate never, twice, without requesting the certificate or at a wrong moment.

use certbound::error::{TransportError, Untrusted};

use crate::support::{Pki, Seen, call, certificate, serve, serve_by, transport};

fn late(error: TransportError, seen: &Seen, words: &str) {
    assert!(matches!(error, TransportError::CertificateNotRequestedLate { .. }), "{error:?}");
    assert_eq!(error.code(), "certificate_not_requested");
    assert!(error.to_string().contains(words), "{error}");
    assert!(!seen.has_token(), "no token without the certificate");
}

fn renegotiated(error: &TransportError, words: &str) {
    assert!(matches!(error, TransportError::Renegotiated { .. }), "{error:?}");
    assert_eq!(error.code(), "renegotiation_refused");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_renegotiate_gets_no_token() {
    let pki = Pki::new();
    let never = |mut peer: crate::support::Peer| async move {
        while peer.request().await.is_some() {
            peer.answer("401 Unauthorized", "no token").await;
        }
    };
    let (address, seen) = serve(&pki, never).await;
    let error = call(&transport(&pki), address, &certificate()).await.unwrap_err();
    late(error, &seen, "answered the first request and did not request");
    assert_eq!(seen.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_answers_and_closes_without_a_renegotiation_did_not_request_the_certificate() {
    let pki = Pki::new();
    let closing = |mut peer: crate::support::Peer| async move {
        peer.request().await.unwrap();
        peer.write("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    };
    let (address, seen) = serve(&pki, closing).await;
    let error = call(&transport(&pki), address, &certificate()).await.unwrap_err();
    late(error, &seen, "answered the first request and did not request");
}

/// Only a server that got the certificate may have rejected it.
#[tokio::test]
async fn a_server_that_closes_without_an_answer_is_blamed_only_with_the_certificate() {
    let pki = Pki::new();
    let at_once = |mut peer: crate::support::Peer| async move {
        peer.request().await.unwrap();
    };
    let (address, _) = serve(&pki, at_once).await;
    let error = call(&transport(&pki), address, &certificate()).await.unwrap_err();
    assert!(matches!(error, TransportError::Interrupted { .. }), "{error:?}");

    let after_the_certificate = |mut peer: crate::support::Peer| async move {
        peer.request().await.unwrap();
        peer.ask().await.unwrap();
    };
    let (address, seen) = serve(&pki, after_the_certificate).await;
    let error = call(&transport(&pki), address, &certificate()).await.unwrap_err();
    assert!(matches!(error, TransportError::EndedAfterCertificate { .. }), "{error:?}");
    assert!(!seen.has_token());
}

/// A server that presents a different certificate in the renegotiation.
async fn changed_to(pki: &Pki, later: &Pki) -> (TransportError, Seen) {
    let asking = |mut peer: crate::support::Peer| async move {
        peer.request().await.unwrap();
        if peer.ask().await.is_ok() {
            peer.answer("401 Unauthorized", "no token").await;
            peer.request().await;
        }
    };
    let (certificate_of_server, key) = later.leaf(|_| {});
    let acceptor = pki.acceptor().with_later_certificate(&certificate_of_server, &key).unwrap();
    let (address, seen) = serve_by(acceptor, asking).await;
    (call(&transport(pki), address, &certificate()).await.unwrap_err(), seen)
}

#[tokio::test]
async fn a_server_that_changes_its_certificate_gets_no_token() {
    let pki = Pki::new();
    let (error, seen) = changed_to(&pki, &pki).await;
    renegotiated(&error, "a different certificate in the renegotiation");
    assert!(!seen.has_token());

    let (error, seen) = changed_to(&pki, &Pki::named("another CA")).await;
    let TransportError::Tls { reason, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(reason.find(), Some(Untrusted::UnknownRoot { .. })), "{error}");
    assert!(!seen.has_token());
}

#[tokio::test]
async fn a_renegotiation_without_a_request_for_the_certificate_gets_no_token() {
    let pki = Pki::new();
    let empty = |mut peer: crate::support::Peer| async move {
        while peer.request().await.is_some() {
            peer.client.renegotiate_without_request().await.unwrap();
            peer.answer("401 Unauthorized", "no token").await;
        }
    };
    let (address, seen) = serve(&pki, empty).await;
    let error = call(&transport(&pki), address, &certificate()).await.unwrap_err();
    late(error, &seen, "renegotiated TLS and did not request");
}

#[tokio::test]
async fn two_renegotiations_before_the_first_answer_are_refused() {
    let pki = Pki::new();
    let twice = |mut peer: crate::support::Peer| async move {
        while peer.request().await.is_some() {
            peer.ask().await.unwrap();
            let _ = peer.ask().await;
            peer.answer("401 Unauthorized", "no token").await;
        }
    };
    let (address, seen) = serve(&pki, twice).await;
    let error = call(&transport(&pki), address, &certificate()).await.unwrap_err();
    renegotiated(&error, "a second time");
    assert!(!seen.has_token());
}

/// The first renegotiation requests the certificate, and the second one, which does not, follows after the first answer.
#[tokio::test]
async fn a_renegotiation_between_the_answers_keeps_the_token_back() {
    let pki = Pki::new();
    let again = |mut peer: crate::support::Peer| async move {
        peer.request().await.unwrap();
        peer.ask().await.unwrap();
        peer.write("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n1").await;
        let _ = peer.client.renegotiate_without_request().await;
        peer.write("2").await;
        while peer.request().await.is_some() {
            peer.answer("200 OK", "the secret").await;
        }
    };
    let (address, seen) = serve(&pki, again).await;
    let error = call(&transport(&pki), address, &certificate()).await.unwrap_err();
    renegotiated(&error, "a second time");
    assert!(!seen.has_token());
}

#[tokio::test]
async fn a_renegotiation_in_the_middle_of_a_body_is_refused() {
    let pki = Pki::new();
    let in_the_first = |mut peer: crate::support::Peer| async move {
        peer.request().await.unwrap();
        peer.write("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n1").await;
        let _ = peer.ask().await;
        peer.write("2").await;
        while peer.request().await.is_some() {
            peer.answer("200 OK", "the secret").await;
        }
    };
    let (address, seen) = serve(&pki, in_the_first).await;
    let error = call(&transport(&pki), address, &certificate()).await.unwrap_err();
    renegotiated(&error, "after its answer had begun");
    assert!(!seen.has_token());

    let in_the_second = |mut peer: crate::support::Peer| async move {
        peer.request().await.unwrap();
        peer.ask().await.unwrap();
        peer.answer("401 Unauthorized", "no token").await;
        peer.request().await.unwrap();
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n1").await;
        let _ = peer.ask().await;
        peer.write("2").await;
    };
    let (address, _) = serve(&pki, in_the_second).await;
    let error = call(&transport(&pki), address, &certificate()).await.unwrap_err();
    renegotiated(&error, "a second time");
}

#[tokio::test]
async fn a_server_that_closes_after_its_first_answer_gets_no_token() {
    let pki = Pki::new();
    let closing = |mut peer: crate::support::Peer| async move {
        peer.request().await.unwrap();
        peer.ask().await.unwrap();
        peer.write("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    };
    let (address, seen) = serve(&pki, closing).await;
    let error = call(&transport(&pki), address, &certificate()).await.unwrap_err();
    assert_eq!(error.code(), "connection_interrupted", "{error:?}");
    assert!(!seen.has_token());
}

#[tokio::test]
async fn a_server_that_is_not_trusted_or_has_another_name_gets_nothing() {
    let (pki, other) = (Pki::new(), Pki::named("another CA"));
    let (address, seen) = serve(&pki, |_| async {}).await;
    let error = call(&transport(&other), address, &certificate()).await.unwrap_err();
    let TransportError::Tls { reason, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(reason.find(), Some(Untrusted::UnknownRoot { .. })), "{error}");
    let trusting = transport(&pki).with_hosts(["127.0.0.1"]);
    let request =
        http::Request::get(format!("https://127.0.0.1:{}/", address.port())).body(bytes::Bytes::new());
    let via = certbound::transport::Via::Resource;
    let certificate = certificate();
    let error = certbound::Transport::send(&trusting, request.unwrap(), via(&certificate)).await.unwrap_err();
    assert_eq!(error.code(), "tls_failed");
    assert!(error.to_string().contains("it is for localhost, not for 127.0.0.1"), "{error}");
    assert!(seen.requests().is_empty());
}
