//! A build without OpenSSL.

use std::sync::Arc;

use certbound::error::NetworkError;
use certbound::transport::HyperTransport;
use certbound::{BindingCertificate, Network};
use certbound_emulator::serve::LateTls;

/// The transport of calls of resources.
pub(crate) type CallTransport = Arc<HyperTransport>;

/// Returns the transport of `network`.
pub(crate) fn transport(network: &Network) -> Result<CallTransport, NetworkError> {
    Ok(network.transport())
}

/// Returns nothing: this build uses its usual TLS library for each host.
pub(crate) fn library(_: &CallTransport, _: &str) -> Option<&'static str> {
    None
}

/// Returns nothing, as [`library`] does.
pub(crate) fn library_with(_: &CallTransport, _: &str, _: &BindingCertificate) -> Option<&'static str> {
    None
}

/// Returns nothing: there is no choice of a TLS library to report.
pub(crate) fn tell(_: &CallTransport, _: &str, _: &BindingCertificate) -> Option<String> {
    None
}

/// Returns nothing: this build cannot emulate a vault that requests the certificate late.
pub(crate) fn emulated() -> Option<Arc<dyn LateTls>> {
    None
}
