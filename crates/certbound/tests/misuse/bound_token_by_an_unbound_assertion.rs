use certbound::credential::ByUnboundAssertion;
use certbound::{Client, ResourceScope};

/// An unbound assertion cannot give a bound token.
async fn misuse(client: Client<ByUnboundAssertion>, scope: ResourceScope) {
    let _ = client.bound_token(&scope).await;
}

fn main() {}
