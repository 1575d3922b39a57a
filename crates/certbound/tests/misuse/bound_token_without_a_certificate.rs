//! A bound token from a client that may have no certificate.
use certbound::credential::Credential;
use certbound::{Client, ResourceScope};

async fn any_client<C: Credential>(client: Client<C>, scope: ResourceScope) {
    let _ = client.bound_token(&scope).await;
}

fn main() {}
