//! Fetches from an issuer on this machine. In some tests the issuer breaks the rules for issuers.

use rcgen::generate_simple_self_signed;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Starts an issuer that answers each path with the text of `answer`. If `answer` returns `None`, the issuer never
/// answers.
async fn issuer(answer: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static) -> ExternalIssuer {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let name = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (base, acceptor) = (name.clone(), TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { break };
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut buffer = vec![0; 4096];
            let length = stream.read(&mut buffer).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            match answer(&base, path) {
                Some(text) => {
                    let _ = stream.write_all(text.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
                None => std::future::pending().await,
            }
        }
    });
    ExternalIssuer {
        issuer: name,
        trusted_roots: Some(made.cert.pem()),
        private_address_allowed: true,
        ..ExternalIssuer::default()
    }
}

fn ok(body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn document(base: &str) -> String {
    format!(r#"{{"issuer":"{base}","jwks_uri":"{base}/keys"}}"#)
}

/// Returns the outcome of a fetch as a text.
async fn outcome(answer: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static) -> String {
    let issuer = issuer(answer).await;
    match keys(&issuer).await {
        Ok(keys) => format!("{} keys", keys.len()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn an_issuers_keys_are_found_by_discovery() {
    let found = outcome(|base, path| match path {
        "/.well-known/openid-configuration" => ok(&document(base)),
        _ => ok(r#"{"keys":[{"kty":"RSA","kid":"1"},{"kty":"EC"}, 7]}"#),
    });
    assert_eq!(found.await, "2 keys");
}

#[tokio::test]
async fn s72_an_address_that_is_not_public_is_not_connected_to() {
    let mut issuer = issuer(|base, _| ok(&document(base))).await;
    issuer.private_address_allowed = false;
    let refused = keys(&issuer).await.unwrap_err().to_string();
    assert!(refused.contains("not an address of the public internet"), "{refused}");
    for bad in
        ["http://localhost", "https://127.0.0.1", "https://[::1]", "https://user@localhost", "https://"]
    {
        issuer.issuer = bad.to_owned();
        assert!(matches!(keys(&issuer).await, Err(FetchError::Url(_))), "{bad}");
    }
}

#[tokio::test]
async fn s72_what_an_issuer_must_not_do_ends_the_fetch() {
    let redirect = outcome(|base, _| {
        Some(format!("HTTP/1.1 302 Found\r\nlocation: {base}/else\r\ncontent-length: 0\r\n\r\n"))
    });
    assert!(redirect.await.contains("redirects are not followed"));
    let large = outcome(|_, _| ok(&" ".repeat(MAX_BYTES + 1)));
    assert!(large.await.contains("larger than"));
    let endless = outcome(|_, _| Some(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_BYTES + 1))));
    assert!(endless.await.contains("larger than"));
    let another = outcome(|_, _| ok(&document("https://evil.example")));
    assert!(another.await.contains("a document of this issuer"));
    let plain_keys = outcome(|base, _| {
        ok(&format!(r#"{{"issuer":"{base}","jwks_uri":"{}/keys"}}"#, base.replace("https", "http")))
    });
    assert!(plain_keys.await.contains("not an https URL"));
    let no_keys = outcome(|base, path| if path == "/keys" { ok("{}") } else { ok(&document(base)) });
    assert!(no_keys.await.contains("a set of at most 64 keys"));
    assert!(outcome(|_, _| ok("<html>")).await.contains("a JSON object"));
    assert!(outcome(|_, _| Some("nonsense".to_owned())).await.contains("broke"));
}

/// The clock of tokio is paused and jumps to the time limit, so the test does not wait ten seconds.
#[tokio::test(start_paused = true)]
async fn s72_an_issuer_that_never_answers_is_given_up() {
    assert_eq!(outcome(|_, _| None).await, "fetching the keys took longer than 10 s");
}
