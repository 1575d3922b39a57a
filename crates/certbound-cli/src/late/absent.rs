//! A build without OpenSSL.

use std::sync::Arc;

use certbound::Network;
use certbound::error::NetworkError;
use certbound::transport::HyperTransport;
use certbound_emulator::serve::LateTls;

/// The transport of calls of resources.
pub(crate) type CallTransport = Arc<HyperTransport>;

/// Returns the transport of `network`.
pub(crate) fn transport(network: &Network) -> Result<CallTransport, NetworkError> {
    Ok(network.transport())
}

/// Returns nothing: there is no choice of a TLS library to report.
pub(crate) fn tell(_: &CallTransport, _: &str) -> Option<String> {
    None
}

/// Returns nothing: no command of this build can call a vault that requests the certificate late.
pub(crate) fn instead_of_doctor() -> Option<&'static str> {
    None
}

/// Returns nothing: this build cannot emulate a vault that requests the certificate late.
pub(crate) fn emulated() -> Option<Arc<dyn LateTls>> {
    None
}
