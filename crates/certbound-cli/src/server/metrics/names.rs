//! The metrics that only the servers have. `docs/servers.md` lists them with those of the verifier.

use certbound_otel::names::Metric;

/// The version of the program.
pub(super) const VERSION: &str = "version";
/// The use of a certificate.
pub(super) const CERTIFICATE: &str = "certbound.certificate.name";
/// The kind of an emulated endpoint.
pub(super) const ENDPOINT: &str = "certbound.emulator.endpoint";
/// The name of a fault.
pub(super) const FAULT: &str = "certbound.emulator.fault";
/// The status of an answer.
pub(super) const STATUS: &str = "http.response.status_code";

pub(super) const BUILD_INFO: Metric =
    metric("certbound.build.info", "", "The version of the program. The value is always 1.");
pub(super) const START_TIME: Metric =
    metric("process.start.time", "s", "The start of the process, in seconds since 1970.");
pub(super) const CONNECTIONS: Metric =
    metric("certbound.server.connections", "{connection}", "Connections that are open.");
pub(super) const REQUESTS: Metric =
    metric("certbound.server.requests.active", "{request}", "Requests whose response is not complete.");
pub(super) const RELOADS: Metric =
    metric("certbound.server.reloads", "{reload}", "Reloads of the configuration by SIGHUP.");
pub(super) const CERTIFICATE_EXPIRY: Metric =
    metric("certbound.certificate.expiry", "s", "The time until a certificate in use expires.");
pub(super) const EMULATOR_REQUESTS: Metric =
    metric("certbound.emulator.requests", "{request}", "Requests that the emulator has answered.");
pub(super) const EMULATOR_FAULTS: Metric =
    metric("certbound.emulator.faults", "{fault}", "Faults that the emulator has applied to requests.");

const fn metric(name: &'static str, unit: &'static str, description: &'static str) -> Metric {
    Metric { name, unit, description }
}
