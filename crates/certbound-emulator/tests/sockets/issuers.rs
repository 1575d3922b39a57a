//! External issuers whose keys are fetched: from the token request to the issuer's own server and back.

use std::sync::atomic::{AtomicUsize, Ordering};

use ::aws_lc_rs::rand::SystemRandom;
use ::aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use ::aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound_core::jws::{self, PublicKey};
use certbound_core::time::UnixTime;
use certbound_emulator::world::{ExternalIssuer, FederatedCredential};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// An issuer on a port of this machine, with its own certificate.
struct Outside {
    name: String,
    root: String,
    key: RsaKeyPair,
    asked: Arc<AtomicUsize>,
}

impl Outside {
    async fn start() -> Self {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (n, e) = PublicKey::from_certificate(certificate.der())
            .unwrap()
            .rsa_components()
            .map(|(n, e)| (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e)))
            .unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let documents = [
            json!({ "issuer": name, "jwks_uri": format!("{name}/keys") }).to_string(),
            json!({ "keys": [{ "kty": "RSA", "kid": "k1", "n": n, "e": e }] }).to_string(),
        ];
        let asked = Arc::new(AtomicUsize::new(0));
        let (counter, acceptor) = (Arc::clone(&asked), TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or_default();
                let [metadata, keys] = &documents;
                let body = if request[..length].starts_with(b"GET /keys ") { keys } else { metadata };
                counter.fetch_add(1, Ordering::SeqCst);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        let key = RsaKeyPair::from_pkcs8(key.serialized_der()).unwrap();
        Self { name, root: certificate.pem(), key, asked }
    }

    /// Returns the number of documents that it sent.
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn token(&self, kid: &str, now: UnixTime) -> String {
        let now = now.as_secs();
        let map = |value: Value| value.as_object().unwrap().clone();
        let claims = json!({
            "iss": self.name, "sub": "somebody", "aud": "api://AzureADTokenExchange", "exp": now + 600,
        });
        let input = jws::signing_input(&map(json!({ "alg": "RS256", "kid": kid })), &map(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        jws::assemble(input, &signature).expose().to_owned()
    }
}

#[tokio::test]
async fn s72_an_issuers_keys_are_fetched_from_another_server_when_they_are_needed() {
    let issuer = Outside::start().await;
    let mut world = World::built_in();
    world.external_issuers = vec![ExternalIssuer {
        issuer: issuer.name.clone(),
        trusted_roots: Some(issuer.root.clone()),
        private_address_allowed: true,
        ..ExternalIssuer::default()
    }];
    world.application_mut(APP).unwrap().federated_credentials = vec![FederatedCredential {
        issuer: issuer.name.clone(),
        subject: "somebody".to_owned(),
        audience: "api://AzureADTokenExchange".to_owned(),
        ..FederatedCredential::default()
    }];
    let mut guarded = world.clone();
    guarded.external_issuers[0].private_address_allowed = false;
    let ask = async |fixture: &Fixture, kid: &str| {
        let body = format!(
            "client_id={APP}&grant_type=client_credentials&scope=https://vault.azure.net/.default\
             &client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion={}",
            issuer.token(kid, fixture.emulator.now())
        );
        value(&fixture.send(LOGIN, tls(&fixture.emulator, None), post(LOGIN, &body)).await.unwrap())
    };
    let fixture = start_with(world).await;
    fixture.leg_1().await.unwrap();
    assert_eq!(issuer.asked(), 0, "nothing of its own was sent yet");
    for _ in 0..2 {
        assert_eq!(ask(&fixture, "k1").await["token_type"], "Bearer");
    }
    assert_eq!(issuer.asked(), 2, "metadata and keys, once each");

    // Requests at the same time share one fetch, even if it does not bring the key.
    fixture.emulator.reset();
    let unknown = async || ask(&fixture, "k2").await["error_codes"][0].clone();
    let (a, b, c, d) = tokio::join!(unknown(), unknown(), unknown(), unknown());
    assert_eq!([a, b, c, d], [700_027; 4].map(Value::from));
    assert_eq!(issuer.asked(), 4);

    // Without the world's permission this machine's own address is refused, and the refusal says so.
    let answer = ask(&start_with(guarded).await, "k1").await;
    assert_eq!(answer["error_codes"][0], 90_061, "{answer}");
    assert!(answer["error_description"].as_str().unwrap().contains("not an address of the public internet"));
    assert_eq!(issuer.asked(), 4, "and nobody asked it");
}
