//! A call to a resource with a bound token.
//!
//! `Resource` takes the token and the TLS certificate from one value, so they always belong together. After a claims
//! challenge it repeats the call once, with a new token.

use bytes::Bytes;
use certbound::resource::CallFacts;
use certbound::{Authority, BindingCertificate, Client, Cloud, Region, ResourceScope, TenantId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenant = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?;
    let authority = Authority::public(tenant).with_region(Region::parse("westus3")?);
    let certificate = BindingCertificate::from_pem_file(certificate_path())?;
    let client = Client::builder(authority, "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e")
        .with_certificate(certificate)
        .build()?;

    let vault = client.resource(&ResourceScope::key_vault(Cloud::Public));
    let url = "https://demo.vault.azure.net/secrets/demo?api-version=7.4";
    let answer = vault.call(http::Request::get(url).body(Bytes::new())?).await?;
    println!("{}", answer.status());
    println!("{:?}", answer.extensions().get::<CallFacts>());
    println!("{}", String::from_utf8_lossy(answer.body()));
    Ok(())
}

/// Returns the first argument, or the path of the emulator's certificate.
fn certificate_path() -> String {
    let emulator = || std::env::var("CERTBOUND_EMULATOR_CERTIFICATE").ok();
    std::env::args().nth(1).or_else(emulator).unwrap_or_else(|| "app.pem".to_owned())
}
