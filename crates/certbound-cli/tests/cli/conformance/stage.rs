//! An emulator on real connections, and clients for it.

use std::process::{Command, Output};
use std::sync::Arc;

use bytes::Bytes;
use certbound::credential::{ByCertificate, NoCredential};
use certbound::transport::NetworkBuilder;
use certbound::{
    Authority, BindingCertificate, BoundToken, Client, ClientBuilder, Cloud, Network, Region, ResourceScope,
    TenantId,
};
use certbound_core::jws;
use certbound_emulator::clock::SystemClock;
use certbound_emulator::serve::Server;
use certbound_emulator::world::builtin::{self, ORDERS_HOST};
use certbound_emulator::{Emulator, JournalEntry, World};

use super::pki;
use crate::support::{self, APP, TENANT};

/// The host of mutual TLS of the public cloud.
pub(super) const MTLS_HOST: &str = "mtlsauth.microsoft.com";

/// An emulator, and a network that reaches only this emulator.
pub(super) struct Stage {
    pub(super) emulator: Arc<Emulator>,
    pub(super) server: Server,
    pub(super) network: Network,
    folder: tempfile::TempDir,
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts an emulator with a changed world. The names of the hosts must stay the same.
    pub(super) async fn with(change: impl FnOnce(&mut World)) -> Self {
        let mut world = World::built_in();
        change(&mut world);
        let emulator = Emulator::with_keys(world, pki::KEYS.clone(), Arc::new(SystemClock)).unwrap();
        let emulator = Arc::new(emulator);
        let server = Server::start(Arc::clone(&emulator), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let network = network(&server.proxy_url(), emulator.ca_pem());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), emulator.ca_pem()).unwrap();
        for named in pki::all() {
            let file = folder.path().join(format!("{}.pem", named.name));
            std::fs::write(file, named.identity.bundle_pem()).unwrap();
        }
        Self { emulator, server, network, folder }
    }

    /// Returns the path of a named certificate, with chain and key, or of `ca`.
    pub(super) fn file(&self, name: &str) -> String {
        self.folder.path().join(format!("{name}.pem")).into_os_string().into_string().unwrap()
    }

    /// Returns a folder that exists as long as the stage.
    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Returns a builder for an application of the built-in world, at the global endpoint.
    pub(super) fn builder(&self) -> ClientBuilder<NoCredential> {
        self.at(global())
    }

    pub(super) fn at(&self, authority: Authority) -> ClientBuilder<NoCredential> {
        Client::builder(authority, APP).with_network(&self.network)
    }

    /// Returns a client for the direct flow.
    pub(super) fn client(&self, certificate: BindingCertificate) -> Client<ByCertificate> {
        self.builder().with_certificate(certificate).build().unwrap()
    }

    /// Returns the requests since the last call.
    pub(super) fn journal(&self) -> Vec<JournalEntry> {
        self.emulator.take_journal()
    }

    /// Returns a command for the command line in a process of its own, against this emulator.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = support::certbound();
        command.env("HTTPS_PROXY", self.server.proxy_url()).env("SSL_CERT_FILE", self.file("ca"));
        command.args(args).args(["--tenant", TENANT, "--client-id", APP]);
        command
    }
}

/// Runs a command while the servers of the test answer.
pub(super) async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Returns a network that has no open connections.
pub(super) fn network(proxy: &str, root_pem: &str) -> Network {
    network_builder(proxy, root_pem).build().unwrap()
}

pub(super) fn network_builder(proxy: &str, root_pem: &str) -> NetworkBuilder {
    Network::builder().proxy(proxy).only_roots_pem(root_pem)
}

pub(super) fn tenant() -> TenantId {
    TenantId::parse(builtin::TENANT).unwrap()
}

/// The authority of the built-in tenant without a region.
pub(super) fn global() -> Authority {
    Authority::public(tenant())
}

pub(super) fn in_region(region: &str) -> Authority {
    global().with_region(Region::parse(region).unwrap())
}

pub(super) fn graph() -> ResourceScope {
    ResourceScope::graph(Cloud::Public)
}

/// The scope of the custom API, which refuses Bearer tokens.
pub(super) fn orders() -> ResourceScope {
    ResourceScope::parse("api://orders/.default").unwrap()
}

/// Returns a request to the custom API.
pub(super) fn order() -> http::Request<Bytes> {
    http::Request::get(format!("https://{ORDERS_HOST}/orders")).body(Bytes::new()).unwrap()
}

/// Returns the only entry of a journal.
pub(super) fn only(journal: &[JournalEntry]) -> &JournalEntry {
    assert_eq!(journal.len(), 1, "{journal:#?}");
    &journal[0]
}

/// Returns the certificate that the `cnf` of a bound token names, with its letter.
pub(super) fn confirmation(token: &BoundToken) -> String {
    let claims = jws::unverified_claims(token.secret().expose()).unwrap();
    let confirmation = claims.confirmation().unwrap().unwrap().to_owned();
    assert_eq!(confirmation, token.binding().thumbprint().x5t_s256());
    pki::named(&confirmation)
}

/// Checks the whole request for a bound token by certificate: host, TLS, body and answer.
pub(super) fn is_bound_by_certificate(entry: &JournalEntry, host: &str, certificate: &pki::Named) {
    is_bound_by(entry, host, &certificate.thumbprint().x5t_s256());
}

/// Does the same for a certificate that has no name.
pub(super) fn is_bound_by(entry: &JournalEntry, host: &str, x5t_s256: &str) {
    assert_eq!((entry.method.as_str(), entry.host.as_str()), ("POST", host), "{entry:#?}");
    assert_eq!((entry.server_name.as_str(), entry.status), (host, 200), "{entry:#?}");
    assert_eq!(entry.client_certificate.as_deref(), Some(x5t_s256), "{entry:#?}");
    assert_eq!(entry.parameter("token_type"), Some("mtls_pop"), "{entry:#?}");
    assert_eq!(entry.token_type.as_deref(), Some("mtls_pop"), "{entry:#?}");
}
