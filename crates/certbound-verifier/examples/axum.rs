//! A resource on axum that accepts certificate-bound tokens only.
//!
//! ```sh
//! cargo run -p certbound-verifier --features rustls-0_23 --example axum -- TENANT_ID AUDIENCE server.pem server.key
//! ```

use std::net::TcpListener;
use std::sync::Arc;

use axum::routing::get;
use axum::{Extension, Router};
use axum_server::tls::TlsInfo;
use axum_server::tls_rustls::{RustlsConfig, from_tcp_rustls};
use certbound_verifier::{
    Cloud, Issuer, PeerCertificate, TenantId, Verified, Verifier, VerifyLayer, rustls_0_23,
};

/// Returns the router. Its layer passes only verified requests to the route.
pub fn orders(verifier: Verifier) -> Router {
    let layer = VerifyLayer::new(verifier).certificate_from(|connection| {
        let info = connection.get::<Arc<TlsInfo>>();
        let certificates = info.map(|info| info.peer_certificates.as_slice());
        PeerCertificate::of_connection(certificates).unwrap_or(PeerCertificate::none())
    });
    Router::new().route("/orders", get(list)).layer(layer)
}

async fn list(Extension(caller): Extension<Verified>) -> String {
    format!("orders for {}\n", caller.client_id().unwrap_or("nobody"))
}

/// Serves until the process ends.
pub async fn serve(
    listener: TcpListener,
    verifier: Verifier,
    chain_pem: &[u8],
    key_pem: &[u8],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let tls = rustls_0_23::server_config(chain_pem, key_pem)?;
    let server = from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(tls)))?;
    Ok(server.serve(orders(verifier).into_make_service()).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tenant, audience, chain, key] = arguments.as_slice() else {
        return Err("usage: axum TENANT_ID AUDIENCE CHAIN.pem KEY.pem".into());
    };
    let verifier = Verifier::builder()
        .issuer(Issuer::entra(Cloud::Public, [TenantId::parse(tenant)?])?)
        .audience(audience)
        .any_role(["Orders.Read.All"])
        .build()?;
    let listener = TcpListener::bind("127.0.0.1:8443")?;
    println!("https://{}/orders", listener.local_addr()?);
    serve(listener, verifier, &std::fs::read(chain)?, &std::fs::read(key)?).await
}
