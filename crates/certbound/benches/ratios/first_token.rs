//! The first bound token of a machine, compared with its parts without the client. The parts are two plain HTTP
//! exchanges with the metadata service, a signature over the certificate request, and one exchange over a new mutual
//! TLS connection.
//!
//! Both sides create the key beforehand. The creation takes between 30 and 300 ms at random, which would hide all other
//! costs; the benchmark reports it in a line of its own. The CPU time is that of the process, because the client signs
//! the request on another thread than the one that drives the rest. The emulator is another process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound::ResourceScope;
use certbound::managed_identity::{KeyProvider as _, SoftwareKeys};
use certbound_core::managed_identity::{CertificationRequest, IssuedCredential, PlatformMetadata};
use criterion::{BatchSize, Criterion, SamplingMode};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use crate::support::bare::Bare;
use crate::support::emulated::Emulated;
use crate::support::keys::Prepared;
use crate::support::{Cpu, Gate, ROUNDS, VAULT, in_round, is_wanted, print_ratios};

pub(crate) const GROUP: &str = "machine's first bound token";
const FLOOR: &str = "its parts, bare";
const OURS: &str = "bound_token";
const SIGNATURE: &str = "one RSA-PSS signature of them";
/// The number of keys that are created to measure the creation.
const KEYS: usize = 20;

pub(crate) fn measure(criterion: &mut Criterion<Cpu>) {
    if !is_wanted(GROUP) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let emulated = Emulated::start();
    let (key, scope) = (Prepared::new(), ResourceScope::parse(VAULT).unwrap());
    let parts = Parts::new(&emulated, key.clone());
    let mut group = criterion.benchmark_group(GROUP);
    group.sampling_mode(SamplingMode::Flat).sample_size(40).measurement_time(Duration::from_secs(2));
    for round in 0..ROUNDS {
        group.bench_function(in_round(FLOOR, round), |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || (),
                |()| async { parts.first_token().await },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(in_round(OURS, round), |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || emulated.identity().with_keys(key.clone()).build().unwrap(),
                |identity| async {
                    let token = identity.bound_token(&scope).await.unwrap();
                    (token, identity)
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(in_round(SIGNATURE, round), |bencher| bencher.iter(|| key.sign(&[7; 400])));
        key.take_signed();
    }
    group.finish();
}

pub(crate) fn print() {
    print_ratios(GROUP, FLOOR, &[(OURS, Gate::AtMost(1.25)), (SIGNATURE, Gate::None)]);
    if !is_wanted(GROUP) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut took: Vec<Duration> = (0..KEYS)
        .map(|_| {
            let before = Cpu::PROCESS.used();
            runtime.block_on(SoftwareKeys::new().key()).unwrap();
            Cpu::PROCESS.used() - before
        })
        .collect();
    took.sort();
    println!("its key, besides: {:.1?} ({:.1?} to {:.1?})", took[KEYS / 2], took[0], took[KEYS - 1]);
}

/// The work that the token needs, without the client.
struct Parts<'a> {
    emulated: &'a Emulated,
    key: Prepared,
    roots: Arc<RootCertStore>,
}

impl<'a> Parts<'a> {
    fn new(emulated: &'a Emulated, key: Prepared) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(emulated.root_pem.as_bytes()).unwrap()).unwrap();
        Self { emulated, key, roots: Arc::new(roots) }
    }

    async fn first_token(&self) -> Bytes {
        let mut service = self.metadata_service().await;
        let url = "/metadata/identity/getplatformmetadata?cred-api-version=2.0";
        let (server, body) = self.ask(&mut service, Request::get(url), Bytes::new()).await;
        let metadata = PlatformMetadata::parse(Some(&server), &body).unwrap();
        let request = CertificationRequest::new(&metadata, &self.key.public()).unwrap();
        let signature = self.key.sign(request.to_be_signed());
        let request = base64(&request.with_signature(&signature).unwrap());
        let url = "/metadata/identity/issuecredential?cred-api-version=2.0";
        let body = Bytes::from(format!(r#"{{"csr":"{request}"}}"#));
        let builder = Request::post(url).header("content-type", "application/json; charset=utf-8");
        let issued = IssuedCredential::parse(&self.ask(&mut service, builder, body).await.1).unwrap();
        let form = format!(
            "grant_type=client_credentials&client_id={}&scope=https%3A%2F%2Fvault.azure.net%2F.default&token_type=mtls_pop",
            issued.client_id
        );
        let token = Bare::over(self.emulated.proxy, self.tls(issued.certificate)).post(form.into()).await;
        assert!(token.starts_with(br#"{"token_type":"mtls_pop""#), "{token:?}");
        token
    }

    async fn metadata_service(&self) -> SendRequest<Full<Bytes>> {
        let tcp = TcpStream::connect(self.emulated.metadata).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Returns the value of the header `Server` and the body of the answer.
    async fn ask(
        &self,
        service: &mut SendRequest<Full<Bytes>>,
        builder: http::request::Builder,
        body: Bytes,
    ) -> (String, Bytes) {
        let request = builder
            .header("metadata", "true")
            .header("accept", "application/json")
            .header("x-ms-client-request-id", "00000000-0000-4000-8000-000000000000")
            .header("host", self.emulated.metadata.to_string())
            .body(Full::new(body))
            .unwrap();
        service.ready().await.unwrap();
        let response = service.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let server = response.headers()["server"].to_str().unwrap().to_owned();
        (server, response.into_body().collect().await.unwrap().to_bytes())
    }

    fn tls(&self, certificate: Vec<u8>) -> ClientConfig {
        let certified = CertifiedKey::new(vec![CertificateDer::from(certificate)], Arc::clone(&self.key.key));
        let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(certified));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}
