//! A gRPC service on tonic that accepts certificate-bound tokens only. It serves the standard health service.
//!
//! ```sh
//! cargo run -p certbound-verifier --features rustls-0_23 --example grpc -- TENANT_ID AUDIENCE server.pem server.key
//! ```

use std::sync::Arc;

use certbound_verifier::{
    AnswerStyle, Cloud, Issuer, PeerCertificate, TenantId, Verifier, VerifyLayer, rustls_0_23,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

/// Makes the layer. It reads the certificate from tonic's connection information, and its refusals have the form of gRPC.
pub fn layer(verifier: Verifier) -> VerifyLayer {
    VerifyLayer::new(verifier).style(AnswerStyle::Grpc).certificate_from(|connection| {
        let info = connection.get::<TlsConnectInfo<TcpConnectInfo>>();
        let certificates = info.and_then(TlsConnectInfo::peer_certs);
        let certificates = certificates.as_ref().map(|certificates| certificates.as_slice());
        PeerCertificate::of_connection(certificates).unwrap_or(PeerCertificate::none())
    })
}

/// Serves until the process ends.
pub async fn serve(
    listener: TcpListener,
    verifier: Verifier,
    chain_pem: &[u8],
    key_pem: &[u8],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let tls = TlsAcceptor::from(Arc::new(rustls_0_23::server_config(chain_pem, key_pem)?));
    let (_, health) = tonic_health::server::health_reporter();
    let server = tonic::transport::Server::builder().layer(layer(verifier)).add_service(health);
    Ok(server.serve_with_incoming(connections(listener, tls)).await?)
}

/// Accepts connections. Each handshake is its own task, so that a slow handshake does not delay the others.
fn connections(
    listener: TcpListener,
    tls: TlsAcceptor,
) -> impl tokio_stream::Stream<Item = std::io::Result<TlsStream<TcpStream>>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, sender) = (tls.clone(), sender.clone());
            tokio::spawn(async move {
                // A failed handshake affects only its own client.
                if let Ok(stream) = tls.accept(stream).await {
                    let _ = sender.send(Ok(stream)).await;
                }
            });
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tenant, audience, chain, key] = arguments.as_slice() else {
        return Err("usage: grpc TENANT_ID AUDIENCE CHAIN.pem KEY.pem".into());
    };
    let verifier = Verifier::builder()
        .issuer(Issuer::entra(Cloud::Public, [TenantId::parse(tenant)?])?)
        .audience(audience)
        .any_role(["Orders.Read.All"])
        .build()?;
    let listener = TcpListener::bind("127.0.0.1:8443").await?;
    println!("https://{}", listener.local_addr()?);
    serve(listener, verifier, &std::fs::read(chain)?, &std::fs::read(key)?).await
}
