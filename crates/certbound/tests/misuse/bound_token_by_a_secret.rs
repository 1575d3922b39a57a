use certbound::credential::BySecret;
use certbound::{Client, ResourceScope};

/// A secret has no certificate to bind a token to.
async fn misuse(client: Client<BySecret>, scope: ResourceScope) {
    let _ = client.bound_token(&scope).await;
}

fn main() {}
