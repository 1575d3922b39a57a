//! Both legs with one certificate.
//!
//! Leg 1 gets an assertion that is bound to the certificate. Leg 2 exchanges the assertion for a token for Key Vault.
//! This token is bound to the same certificate. The client runs Leg 1 itself when Leg 2 needs it.

use certbound::{Authority, BindingCertificate, Client, Cloud, Region, ResourceScope, TenantId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenant = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?;
    let authority = Authority::public(tenant).with_region(Region::parse("westus3")?);
    let app = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";

    let certificate = BindingCertificate::from_pem_file(certificate_path())?;
    let leg1 = Client::builder(authority.clone(), app).with_certificate(certificate).build()?;
    let leg2 = Client::builder(authority, app).with_assertions(leg1).build()?;

    let vault = ResourceScope::key_vault(Cloud::Public);
    let token = leg2.bound_token(&vault).await?;
    println!("scheme       {}", token.scheme());
    println!("bound to     {}", token.binding().thumbprint());
    println!("expires at   {}", token.expires_at());
    for leg in token.details().legs {
        println!("{:<12} {} ({} ms)", leg.token_type, leg.endpoint, leg.took.as_millis());
    }

    // The second call finds the token in the cache and sends no request.
    let again = leg2.bound_token(&vault).await?;
    println!("again from   {:?}", again.details().source);
    Ok(())
}

/// Returns the first argument, or the path of the emulator's certificate.
fn certificate_path() -> String {
    let emulator = || std::env::var("CERTBOUND_EMULATOR_CERTIFICATE").ok();
    std::env::args().nth(1).or_else(emulator).unwrap_or_else(|| "app.pem".to_owned())
}
