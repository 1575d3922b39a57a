//! Where each platform's endpoint is.

/// The host of the instance metadata service on real machines.
pub const IMDS_HOST: &str = "169.254.169.254";
/// The path of the list of versions; a request for it names no version.
pub(crate) const VERSIONS_PATH: &str = "/metadata/versions";
/// The path of the compute unit. Each path below it is a part of the unit.
pub(crate) const COMPUTE_PATH: &str = "/metadata/instance/compute";

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
/// Host and path of the real Cloud Shell's endpoint; some clients ask no other.
pub(crate) const REAL_CLOUD_SHELL_HOST: &str = "localhost:50342";
pub(crate) const REAL_CLOUD_SHELL: &str = "/oauth2/token";

/// The path as the platforms compare it: MSAL for Node puts a slash behind the path of an address from the environment.
pub(crate) fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}
