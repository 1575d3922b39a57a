//! Tests of the certificate of a connection. Nothing is sent to a server that did not request a certificate.

use bytes::Bytes;
use certbound::error::TransportError;
use certbound::transport::Via;
use certbound::{BindingCertificate, Transport as _};

use crate::server::{Asks, TestServer, ok, stays_open};

fn binding(name: &str) -> BindingCertificate {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/certificates/");
    let certificate = BindingCertificate::from_pem_files(
        format!("{folder}{name}.pem"),
        format!("{folder}{name}.pkcs8.pem"),
    );
    certificate.unwrap()
}

fn get(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).header("authorization", "mtls_pop token").body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn a_server_that_does_not_ask_sees_no_byte_of_http() {
    let server = TestServer::start(Asks::ForNothing, ok("")).await;
    let transport = server.network().build().unwrap().transport();
    let binding = binding("p256");
    for via in [Via::Bound(&binding), Via::Resource(&binding)] {
        let error = transport.send(get(&server.url()), via).await.unwrap_err();
        assert_eq!(error, TransportError::CertificateNotRequested { host: "127.0.0.1".to_owned() });
    }
    // The same server answers a request without a certificate. After this answer the log is complete.
    let answer = transport.send(get(&server.url()), Via::Tls).await.unwrap();
    assert_eq!((answer.tls.certificate_requested, answer.tls.presented), (false, None));
    let with_http: Vec<_> = server.seen().into_iter().filter(|seen| seen.http_bytes > 0).collect();
    assert_eq!(with_http.len(), 1, "only the plain request arrived");
}

#[tokio::test]
async fn token_hosts_resume_within_a_binding_and_resources_never_do() {
    let server = TestServer::start(Asks::ForCertificate, ok("x")).await;
    let transport = server.network().build().unwrap().transport();
    let (rsa, p256) = (binding("rsa"), binding("p256"));
    let mut presented = Vec::new();
    for via in
        [Via::Bound(&rsa), Via::Bound(&rsa), Via::Bound(&p256), Via::Resource(&rsa), Via::Resource(&rsa)]
    {
        let answer = transport.send(get(&server.url()), via).await.unwrap();
        assert!(answer.tls.certificate_requested);
        presented.push((answer.tls.presented, answer.tls.resumed));
    }
    let (r, p) = (Some(rsa.thumbprint()), Some(p256.thumbprint()));
    assert_eq!(presented, [(r, false), (r, true), (p, false), (r, false), (r, false)]);
    // The server sees the same facts: a session is resumed only with the same client certificate.
    let seen: Vec<_> = server.seen().iter().map(|seen| (seen.certificate, seen.resumed)).collect();
    assert_eq!(seen, presented);
}

/// The same leaf is loaded without its issuer and with its issuer. Each chain is presented unchanged.
#[tokio::test]
async fn the_same_leaf_with_other_issuers_has_connections_of_its_own() {
    let server = TestServer::start(Asks::ForCertificate, ok("x")).await;
    let transport = server.network().build().unwrap().transport();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/certificates/rsa.bundle.pem");
    let (leaf, chain) = (binding("rsa"), BindingCertificate::from_pem_file(file).unwrap());
    assert_eq!(leaf, chain);
    for binding in [&leaf, &chain, &leaf] {
        let via = Via::Resource(binding);
        assert_eq!(
            transport.send(get(&server.url()), via).await.unwrap().tls.presented,
            Some(leaf.thumbprint())
        );
    }
    let seen: Vec<_> = server.seen().iter().map(|seen| (seen.certificate, seen.chain)).collect();
    let thumbprint = Some(leaf.thumbprint());
    assert_eq!(seen, [(thumbprint, 1), (thumbprint, 2), (thumbprint, 1)]);
}

/// The connections are closed with the key. Otherwise the key would remain in memory as long as its connections.
#[tokio::test]
async fn connections_that_are_kept_end_with_the_last_handle_on_their_binding() {
    let server = TestServer::start(Asks::ForCertificate, stays_open("x")).await;
    let transport = server.network().build().unwrap().transport();
    let (ends, stays) = (binding("rsa"), binding("p256"));
    for binding in [&ends, &stays] {
        transport.send(get(&server.url()), Via::Bound(binding)).await.unwrap();
        transport.send(get(&server.url()), Via::Resource(binding)).await.unwrap();
    }
    assert_eq!(server.open(), 4);
    let clone = ends.clone();
    drop(ends);
    assert_eq!(server.open(), 4);
    drop(clone);
    // The connections of the other binding remain open.
    server.until_open(2).await;
    drop(stays);
}

#[tokio::test]
async fn interleaved_bindings_each_present_their_own() {
    let server = TestServer::start(Asks::ForCertificate, ok("x")).await;
    let transport = server.network().build().unwrap().transport();
    let bindings = [binding("rsa"), binding("p256"), binding("p384"), binding("other")];
    let url = server.url();
    let calls = (0..80).map(|turn| {
        let (transport, binding, url) = (transport.clone(), bindings[turn % 4].clone(), url.clone());
        tokio::spawn(async move {
            let answer = transport.send(get(&url), Via::Bound(&binding)).await.unwrap();
            assert_eq!(answer.tls.presented, Some(binding.thumbprint()));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    for binding in &bindings {
        let count =
            server.seen().iter().filter(|seen| seen.certificate == Some(binding.thumbprint())).count();
        assert_eq!(count, 20, "{binding:?}");
    }
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_refused() {
    let server = TestServer::start(Asks::ForCertificate, ok("x")).await;
    let stranger = TestServer::start(Asks::ForCertificate, ok("x")).await;
    let transport = stranger.network().build().unwrap().transport();
    let error = transport.send(get(&server.url()), Via::Bound(&binding("p256"))).await.unwrap_err();
    assert!(matches!(error, TransportError::Tls { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("127.0.0.1: "), "{text}");
    assert!(text.contains("the server's certificate is not trusted: the key of its issuer"), "{text}");
    assert!(server.seen().is_empty());
}
