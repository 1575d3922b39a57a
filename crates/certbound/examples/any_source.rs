//! A source of tokens that is chosen at run time.
//!
//! If you pass a certificate, the program authenticates as an application. Otherwise it uses the identity of the
//! machine.

use certbound::{
    AnyClient, Authority, BindingCertificate, Client, Cloud, Error, ManagedIdentity, ResourceScope, TenantId,
    TokenSource,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source: AnyClient = match std::env::args().nth(1) {
        Some(certificate) => {
            let tenant = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?;
            Client::builder(Authority::public(tenant), "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e")
                .with_certificate(BindingCertificate::from_pem_file(certificate)?)
                .build()?
                .into()
        }
        None => ManagedIdentity::system_assigned().build()?.into(),
    };
    show(&source).await?;
    Ok(())
}

/// Requests a bound token from any source, and prints the thumbprint of its certificate.
async fn show(source: &dyn TokenSource) -> Result<(), Error> {
    let token = source.bound_token(&ResourceScope::key_vault(Cloud::Public)).await?;
    println!("{source:?}: bound to {}", token.binding().thumbprint());
    Ok(())
}
