//! Tokens of the identity of the machine on which this program runs.
//!
//! The metadata service issues a certificate to the machine, and the token is bound to it. Other platforms issue
//! only Bearer tokens; `capabilities` reports whether tokens can be bound.

use certbound::{Cloud, ManagedIdentity, ResourceScope};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let identity = ManagedIdentity::system_assigned().build()?;
    let capabilities = identity.capabilities().await?;
    println!("platform     {}", capabilities.origin);

    let vault = ResourceScope::key_vault(Cloud::Public);
    if capabilities.binds {
        let token = identity.bound_token(&vault).await?;
        println!("bound to     {}", token.binding().thumbprint());
        println!("expires at   {}", token.expires_at());
    } else {
        let token = identity.bearer_token(&vault).await?;
        println!("not bound, expires at {}", token.expires_at());
    }
    Ok(())
}
