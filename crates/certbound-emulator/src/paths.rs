//! The paths and hosts of the platforms' endpoints.

/// The host of the instance metadata service on real machines.
pub const IMDS_HOST: &str = "169.254.169.254";
/// The path of the list of versions. A request for this list needs no version.
pub(crate) const VERSIONS_PATH: &str = "/metadata/versions";
/// The path of the machine's description. Each path below this path names a part of the description.
pub(crate) const COMPUTE_PATH: &str = "/metadata/instance/compute";

/// The attestation service that the machine trusts.
pub(crate) const ATTESTATION_SERVICE: &str = "https://certbound.attest.azure.net";

/// The path of App Service's endpoint.
pub const APP_SERVICE: &str = "/app-service/token";
/// The path of the Azure Arc agent's endpoint.
pub const AZURE_ARC: &str = "/arc/token";
/// The path of Machine Learning's endpoint.
pub const MACHINE_LEARNING: &str = "/ml/token";
/// The path of Service Fabric's endpoint.
pub const SERVICE_FABRIC: &str = "/service-fabric/token";

/// The path of Cloud Shell's endpoint.
pub const CLOUD_SHELL: &str = "/cloud-shell/token";
/// The host of the real Cloud Shell's endpoint. Some clients send requests only to the real endpoint.
pub(crate) const REAL_CLOUD_SHELL_HOST: &str = "localhost:50342";
pub(crate) const REAL_CLOUD_SHELL: &str = "/oauth2/token";

/// Returns the path without a slash at its end. MSAL for Node appends a slash to an address from the environment.
pub(crate) fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}
