//! A bound token from a client that need not have a certificate.
use certbound::{Client, Credential, ResourceScope};

async fn any_client<C: Credential>(client: Client<C>, scope: ResourceScope) {
    let _ = client.bound_token(&scope).await;
}

fn main() {}
