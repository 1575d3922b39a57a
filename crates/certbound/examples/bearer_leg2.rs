//! An unbound token by Leg 2, for an API that does not accept bound tokens yet.
//!
//! Leg 1 is the same as for a bound token: its assertion is bound to the certificate. Only the last token is not bound.

use certbound::{Authority, BindingCertificate, Client, Region, ResourceScope, TenantId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenant = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?;
    let authority = Authority::public(tenant).with_region(Region::parse("westus3")?);
    let app = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";
    let certificate = BindingCertificate::from_pem_file(certificate_path())?;
    let leg1 = Client::builder(authority.clone(), app).with_certificate(certificate).build()?;
    let leg2 = Client::builder(authority, app).with_assertions(leg1).build()?;

    let orders = ResourceScope::parse("api://orders/.default")?;
    let token = leg2.bearer_token(&orders).await?;
    println!("scheme       Bearer");
    println!("expires at   {}", token.expires_at());
    println!("assertion    {:?}", token.details().legs.last().and_then(|leg| leg.client_assertion_type));
    Ok(())
}

/// Returns the first argument, or the path of the emulator's certificate.
fn certificate_path() -> String {
    let emulator = || std::env::var("CERTBOUND_EMULATOR_CERTIFICATE").ok();
    std::env::args().nth(1).or_else(emulator).unwrap_or_else(|| "app.pem".to_owned())
}
