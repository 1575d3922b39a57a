#![expect(missing_docs, clippy::unwrap_used, reason = "temporary")]
use certbound_emulator::{Emulator, World, serve::Server};
use std::sync::Arc;
#[tokio::main]
async fn main() {
    let e = Arc::new(Emulator::new(World::built_in()).unwrap());
    let s = Server::start(e.clone(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    std::fs::write("/tmp/emu-ca.pem", e.ca_pem()).unwrap();
    std::fs::write("/tmp/emu-client.pem", e.client_identity().bundle_pem()).unwrap();
    println!("{}\n{}", s.proxy_url(), s.admin_url());
    tokio::time::sleep(std::time::Duration::from_secs(300)).await;
}
