//! A client with a transport of your own.
//!
//! This example builds without the features of the crate, so it does not contain the crate's HTTP client. Its transport
//! answers from memory. A real transport sends the request, and presents the certificate of `via` in the TLS handshake.

use bytes::Bytes;
use certbound::error::TransportError;
use certbound::transport::{Answer, TlsFacts, Via};
use certbound::{Authority, BindingCertificate, Client, Cloud, ResourceScope, TenantId, Transport};

/// Answers every request with the same token.
struct InMemory;

impl Transport for InMemory {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let presented = via.binding().map(|certificate| certificate.thumbprint());
        println!("{} {}", request.method(), request.uri());
        let token = r#"{"token_type":"mtls_pop","access_token":"from-memory","expires_in":3600}"#;
        Ok(Answer {
            response: http::Response::new(Bytes::from_static(token.as_bytes())),
            // If the server requests no certificate, a real transport sends nothing and fails with
            // `CertificateNotRequested`.
            tls: TlsFacts { certificate_requested: presented.is_some(), presented, resumed: false },
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenant = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?;
    let certificate = BindingCertificate::from_pem_file(certificate_path())?;
    let client = Client::builder(Authority::public(tenant), "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e")
        .with_certificate(certificate)
        .with_transport(InMemory)
        .build()?;

    let token = client.bound_token(&ResourceScope::key_vault(Cloud::Public)).await?;
    println!("{} is bound to {}", token.secret().expose(), token.binding().thumbprint());
    Ok(())
}

/// Returns the first argument, or the path of the emulator's certificate.
fn certificate_path() -> String {
    let emulator = || std::env::var("CERTBOUND_EMULATOR_CERTIFICATE").ok();
    std::env::args().nth(1).or_else(emulator).unwrap_or_else(|| "app.pem".to_owned())
}
