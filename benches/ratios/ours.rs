//! certbound's clients of the emulated service, and the names that this service uses.

use certbound::credential::{ByAssertion, ByCertificate, BySecret};
use certbound::{Authority, BindingCertificate, Client, Network, ResourceScope, Secret, TenantId};

pub(crate) const TENANT: &str = "bea21ebe-8b64-4d06-9f6d-6a889b120a7c";
/// The application with certificates. It accepts its own assertions from Leg 1.
pub(crate) const APP: &str = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";
pub(crate) const SECRET_APP: &str = "aa57c903-4e1d-4b62-8d08-73f9e5b1c264";
pub(crate) const SECRET: &str = "certbound-emulator-secret";
pub(crate) const GRAPH: &str = "https://graph.microsoft.com/.default";
pub(crate) const ORDERS: &str = "api://orders/.default";

pub(crate) fn scope(text: &str) -> ResourceScope {
    ResourceScope::parse(text).unwrap()
}

pub(crate) fn authority() -> Authority {
    Authority::public(TenantId::parse(TENANT).unwrap())
}

/// Returns the PEM text of the emulator's certificate authority.
pub(crate) fn root_pem() -> Vec<u8> {
    std::fs::read(std::env::var_os("SSL_CERT_FILE").unwrap()).unwrap()
}

/// Returns a network with its own connections.
pub(crate) fn network() -> Network {
    Network::builder().only_roots_pem(root_pem()).build().unwrap()
}

/// Returns the PEM text of a certificate of the test data and of its key.
pub(crate) fn bundle(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/certificates");
    std::fs::read(format!("{folder}/{name}.bundle.pem")).unwrap()
}

/// Returns a certificate of the test data. Each returned certificate has its own connections.
pub(crate) fn certificate(name: &str) -> BindingCertificate {
    BindingCertificate::from_pem(&bundle(name)).unwrap()
}

/// Returns a client of the two-leg flow, with its Leg 1.
pub(crate) fn legs(network: &Network, certificate: BindingCertificate) -> Client<ByAssertion> {
    let leg1 = direct(network, certificate);
    Client::builder(authority(), APP).with_network(network).with_assertions(leg1).build().unwrap()
}

/// Returns a client of the direct flow.
pub(crate) fn direct(network: &Network, certificate: BindingCertificate) -> Client<ByCertificate> {
    Client::builder(authority(), APP).with_network(network).with_certificate(certificate).build().unwrap()
}

pub(crate) fn by_secret(network: &Network) -> Client<BySecret> {
    let secret = Secret::new(SECRET);
    Client::builder(authority(), SECRET_APP).with_network(network).with_secret(secret).build().unwrap()
}
