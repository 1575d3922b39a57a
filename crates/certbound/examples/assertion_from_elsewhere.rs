//! A Leg 1 of your own, and an observer, which sees each request in advance.
//!
//! Here a second client provides the assertions. In a service an agent or a vault can provide them. The assertion must
//! be bound to the certificate that it is requested for.

use std::sync::Arc;

use certbound::credential::{AssertionRequest, ByCertificate, Leg1};
use certbound::observe::{JwtPopReport, ObservedRequest};
use certbound::{
    Authority, BindingCertificate, BoundAssertion, Client, Cloud, Error, Region, ResourceScope, TenantId,
};

/// The provider of the assertions. It also has the certificate.
struct Agent(Client<ByCertificate>);

impl Leg1 for Agent {
    async fn binding(&self) -> Result<BindingCertificate, Error> {
        Ok(self.0.binding())
    }

    async fn assertion_for(
        &self,
        binding: &BindingCertificate,
        request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        println!("asked for an assertion for {}", request.token_endpoint);
        self.0.assertion_for(binding, request).await
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenant = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?;
    let authority = Authority::public(tenant).with_region(Region::parse("westus3")?);
    let app = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";
    let certificate = BindingCertificate::from_pem_file(certificate_path())?;
    let agent = Agent(Client::builder(authority.clone(), app).with_certificate(certificate).build()?);
    let leg2 = Client::builder(authority, app).with_assertions(agent).build()?;

    // A function implements `Observer`. It sees only the length of each secret.
    let print = |request: &ObservedRequest| {
        println!("POST {}", request.url);
        for (name, value) in &request.body {
            println!("     {name}={value}");
        }
    };
    let vault = ResourceScope::key_vault(Cloud::Public);
    leg2.bound_token(&vault).observe(Arc::new(print)).await?;

    // This observer compares the request of Leg 2 with the protocol of jwt-pop.
    let report = Arc::new(JwtPopReport::default());
    leg2.bound_token(&vault).force_refresh().observe(Arc::clone(&report) as _).await?;
    println!("{:#?}", report.facts());
    Ok(())
}

/// Returns the first argument, or the path of the emulator's certificate.
fn certificate_path() -> String {
    let emulator = || std::env::var("CERTBOUND_EMULATOR_CERTIFICATE").ok();
    std::env::args().nth(1).or_else(emulator).unwrap_or_else(|| "app.pem".to_owned())
}
