use certbound::{ByUnboundAssertion, Client, ResourceScope};

/// An assertion that is bound to nothing leads to no bound token.
async fn misuse(client: Client<ByUnboundAssertion>, scope: ResourceScope) {
    let _ = client.bound_token(&scope).await;
}

fn main() {}
