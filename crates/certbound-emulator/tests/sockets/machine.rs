//! The machine's own ports: plain HTTP for its metadata service, TLS for Service Fabric's token service. The numbers
//! are those of the list of security tests.

use certbound_core::managed_identity::ServerThumbprint;
use certbound_emulator::world::builtin::{SYSTEM_IDENTITY_PRINCIPAL, USER_IDENTITY, USER_IDENTITY_PRINCIPAL};
use certbound_emulator::{PLATFORM_SECRET, PlatformEndpoint, PlatformKind};

use super::*;

const TOKEN: &str = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
const METADATA: &str = "/metadata/identity/getplatformmetadata?cred-api-version=2.0";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Returns the answer of the metadata service at its port.
async fn ask(address: &str, path: &str) -> Result<Response<Bytes>, Failure> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", address)
        .header("metadata", "true")
        .body(Full::<Bytes>::default())?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

fn address(fixture: &Fixture) -> String {
    fixture.server.metadata_url().strip_prefix("http://").unwrap().to_owned()
}

fn kind(error: &Failure) -> Option<std::io::ErrorKind> {
    std::iter::successors(Some(&**error as &(dyn std::error::Error + 'static)), |error| error.source())
        .find_map(|error| error.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind)
}

#[tokio::test]
async fn s81_the_metadata_service_is_not_reached_through_the_proxy() {
    let fixture = start().await;
    let proxy = fixture.server.proxy_address();
    for target in ["169.254.169.254:80", "169.254.169.254:443", &address(&fixture)] {
        let answer = connect(proxy, target).await.unwrap_err();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
    }
    for target in [format!("http://169.254.169.254{TOKEN}"), format!("http://{}{TOKEN}", address(&fixture))] {
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: 169.254.169.254\r\nMetadata: true\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 405 ") && !answer.contains("access_token"), "{answer}");
    }
    assert!(fixture.emulator.journal().is_empty());
    assert_eq!(ask(&address(&fixture), TOKEN).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn faults_of_the_transport_happen_at_the_machines_port_too() {
    let fixture = start().await;
    let address = address(&fixture);
    let arm = |result| {
        let condition = Condition::endpoint(PlatformEndpoint::PlatformMetadata);
        fixture.emulator.add_fault(Fault::once(condition, result));
    };
    arm(FaultResult::ConnectionReset);
    let error = ask(&address, METADATA).await.unwrap_err();
    assert_eq!(kind(&error), Some(std::io::ErrorKind::ConnectionReset), "{error:?}");

    arm(FaultResult::TruncatedBody);
    assert!(ask(&address, METADATA).await.is_err(), "half a body is no answer");

    let before = tokio::time::Instant::now();
    arm(FaultResult::Delay { milliseconds: 60 });
    assert_eq!(ask(&address, METADATA).await.unwrap().status(), StatusCode::OK);
    assert!(before.elapsed() >= Duration::from_millis(60));
    assert_eq!(ask(&address, METADATA).await.unwrap().status(), StatusCode::OK, "nothing is left");
}

#[tokio::test]
async fn s85_the_sixth_call_at_once_is_refused_and_no_token_goes_astray() {
    let mut world = World::built_in();
    world.machine.throttled = true;
    let fixture = start_with(world).await;
    let address = address(&fixture);
    // A fault delays five calls, whose answers are already made.
    let late = FaultResult::Delay { milliseconds: 2_000 };
    let held = Fault { count: Some(5), ..Fault::once(Condition::platform(PlatformKind::Imds), late) };
    fixture.emulator.add_fault(held);
    let users = format!("{TOKEN}&client_id={USER_IDENTITY}");
    let open: Vec<_> = [TOKEN, &users, TOKEN, &users, TOKEN]
        .into_iter()
        .map(|path| {
            let (address, path) = (address.clone(), path.to_owned());
            tokio::spawn(async move { ask(&address, &path).await.unwrap() })
        })
        .collect();
    while fixture.emulator.journal().len() < 5 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&address, TOKEN).await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
    let (system, user) = (SYSTEM_IDENTITY_PRINCIPAL, USER_IDENTITY_PRINCIPAL);
    for (call, expected) in open.into_iter().zip([system, user, system, user, system]) {
        let answer = call.await.unwrap();
        let token = value(&answer)["access_token"].as_str().unwrap().to_owned();
        let claims = certbound_core::jws::unverified_claims(&token).unwrap();
        assert_eq!(claims.string("oid"), Some(expected));
    }
    assert_eq!(ask(&address, TOKEN).await.unwrap().status(), StatusCode::OK);
}

/// Accepts every certificate of the server. It checks only that the server has the key.
#[derive(Debug)]
struct AnyServer(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn service_fabrics_server_has_another_certificate_for_once() {
    let fixture = start().await;
    let url = fixture.server.service_fabric_url();
    let (address, path) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
    let presented = async || {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let found = ServerThumbprint::of_der(&stream.get_ref().1.peer_certificates().unwrap()[0]);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let query = "api-version=2020-05-01&resource=https://vault.azure.net";
        let request = Request::get(format!("/{path}?{query}")).header("host", address);
        let request = request.header("secret", PLATFORM_SECRET).body(Full::<Bytes>::default()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::OK);
        found
    };
    let own = fixture.emulator.service_fabric_thumbprint();
    assert_eq!(presented().await, own);
    let condition = Condition::platform(PlatformKind::ServiceFabric);
    fixture.emulator.add_fault(Fault::once(condition, FaultResult::ForeignServerCertificate));
    assert_ne!(presented().await, own);
    assert_eq!(presented().await, own);
}

#[tokio::test]
async fn a_host_that_is_unreachable_gets_no_tunnel() {
    let fixture = start().await;
    let condition = Condition { host_suffix: Some(MTLS.to_owned()), ..Condition::any() };
    fixture.emulator.add_fault(Fault::once(condition, FaultResult::Unreachable));
    let config = tls_of(&[&rustls::version::TLS13], &fixture.emulator, fixture.identity());
    let refused = connect(fixture.server.proxy_address(), &format!("{MTLS}:443")).await.unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 502 "), "{refused}");
    assert!(fixture.emulator.journal().is_empty());
    assert_eq!(fixture.send(MTLS, config, post(MTLS, LEG_1)).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_token_host_blames_the_certificate_by_an_alert() {
    let fixture = start().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let condition = Condition { host_suffix: Some(MTLS.to_owned()), ..Condition::any() };
        fixture.emulator.add_fault(Fault::once(condition, FaultResult::ClientCertificateRefused));
        let config = tls_of(&[version], &fixture.emulator, fixture.identity());
        let error = fixture.send(MTLS, Arc::clone(&config), post(MTLS, LEG_1)).await.unwrap_err();
        assert!(format!("{error:?}").contains("CertificateRevoked"), "{error:?}");
        assert_eq!(fixture.send(MTLS, config, post(MTLS, LEG_1)).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(fixture.emulator.journal().len(), 2, "the refused ones were no requests");
}
