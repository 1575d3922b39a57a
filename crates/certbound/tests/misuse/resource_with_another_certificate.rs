//! A second certificate for a resource call.
use bytes::Bytes;
use certbound::{BindingCertificate, BoundToken};

async fn swapped(token: BoundToken, request: http::Request<Bytes>, other: BindingCertificate) {
    let _ = token.resource().call(request, other).await;
}

fn main() {}
