//! A scope for Leg 1, which has only one.
use certbound::{ByCertificate, Client, ResourceScope};

async fn wrong_scope(leg1: Client<ByCertificate>, scope: ResourceScope) {
    let _ = leg1.assertion(&scope).await;
}

fn main() {}
