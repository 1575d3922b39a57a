//! The emulator in a separate process, so that the CPU time of this process is the client's alone.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use certbound::managed_identity::ManagedIdentityBuilder;
use certbound::{ManagedIdentity, Network};
use certbound_testkit::emulator::serve::Server;
use certbound_testkit::emulator::{Emulator, World};

/// The variable that turns a process into the emulator.
const VARIABLE: &str = "CERTBOUND_BENCH_EMULATOR";

/// The process of the emulator: a machine with a metadata service that issues certificates, and the token service that
/// accepts them. The process ends when this value is dropped.
pub(crate) struct Emulated {
    process: Child,
    pub(crate) proxy: SocketAddr,
    pub(crate) metadata: SocketAddr,
    pub(crate) root_pem: String,
}

impl Emulated {
    pub(crate) fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env(VARIABLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        let address = |name: &str| text(name).parse().unwrap();
        Self { process, proxy: address("proxy"), metadata: address("metadata"), root_pem: text("root") }
    }

    /// Returns the machine's system-assigned identity with its own connections and certificates, so that its next bound
    /// token is the first.
    pub(crate) fn identity(&self) -> ManagedIdentityBuilder {
        let network = Network::builder()
            .proxy(format!("http://{}", self.proxy))
            .only_roots_pem(self.root_pem.clone())
            .build()
            .unwrap();
        let metadata = format!("http://{}", self.metadata);
        let variable =
            move |name: &str| (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| metadata.clone());
        ManagedIdentity::system_assigned().with_environment(variable).with_network(&network)
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns whether this process must be the emulator.
pub(crate) fn is_asked_for() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Serves until the other process ends.
pub(crate) fn serve() -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
    let server = runtime.block_on(Server::start(Arc::clone(&emulator), "127.0.0.1:0".parse().unwrap()));
    let server = server.unwrap();
    let metadata = server.metadata_url();
    let ready = serde_json::json!({
        "proxy": server.proxy_address().to_string(),
        "metadata": metadata.trim_start_matches("http://"),
        "root": emulator.ca_pem(),
    });
    println!("{ready}");
    // The pipe closes when the other process ends, for whatever reason.
    let _ = std::io::stdin().read(&mut [0]);
    std::process::exit(0);
}
