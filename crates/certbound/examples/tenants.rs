//! One application in several tenants at the same time, with one cache.
//!
//! A multi-tenant application requests a separate token from each tenant. The requests share connections and a cache. A
//! token of one tenant is never returned for a different tenant.

use certbound::{Authority, BindingCertificate, Client, Cloud, Network, ResourceScope, TenantId, TokenCache};
use futures_util::future::join_all;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let home = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?;
    let tenants = [home.clone(), TenantId::parse("5f1c2a7e-3d94-4b58-9c06-8e2b7a14d3f0")?];
    let app = "7d30b8f1-2c46-4a9e-95e7-b14f8c06d2a8";

    let (network, cache) = (Network::from_env()?, TokenCache::new());
    let client = Client::builder(Authority::public(home), app)
        .with_network(&network)
        .with_cache(cache.clone())
        .with_certificate(BindingCertificate::from_pem_file(certificate_path())?)
        .build()?;

    let graph = ResourceScope::graph(Cloud::Public);
    let tokens = join_all(
        tenants.iter().map(|tenant| client.bound_token(&graph).tenant(tenant.clone()).into_future()),
    )
    .await;
    for (tenant, token) in tenants.iter().zip(tokens) {
        match token {
            Ok(token) => println!("{tenant}   expires at {}", token.expires_at()),
            // If one tenant refuses, the other tenants still return tokens.
            Err(error) => println!("{tenant}   {}: {error}\n   {}", error.code(), error.fix()),
        }
    }
    println!("{} tokens in the cache", cache.len());
    Ok(())
}

/// Returns the first argument, or the path of the emulator's certificate.
fn certificate_path() -> String {
    let emulator = || std::env::var("CERTBOUND_EMULATOR_CERTIFICATE").ok();
    std::env::args().nth(1).or_else(emulator).unwrap_or_else(|| "app.pem".to_owned())
}
