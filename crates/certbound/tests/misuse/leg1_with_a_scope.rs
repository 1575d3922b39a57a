//! A scope for Leg 1, whose scope is fixed.
use certbound::credential::ByCertificate;
use certbound::{Client, ResourceScope};

async fn wrong_scope(leg1: Client<ByCertificate>, scope: ResourceScope) {
    let _ = leg1.assertion(&scope).await;
}

fn main() {}
