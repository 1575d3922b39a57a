//! Platforms, and what they are asked for, by the names that conditions have for them.

use serde::{Deserialize, Serialize};

use super::condition::Asked;
use crate::platform::arc::AZURE_ARC;
use crate::platform::hosted::{APP_SERVICE, CLOUD_SHELL, MACHINE_LEARNING};
use crate::platform::service_fabric::SERVICE_FABRIC;

/// A platform with managed identities, as `emulator run --platform` calls it; with `_` or `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlatformKind {
    /// A virtual machine: the instance metadata service, in both versions.
    Imds,
    /// App Service, Functions, Container Apps.
    #[serde(alias = "app-service")]
    AppService,
    /// The agent of Azure Arc.
    Arc,
    /// Azure Machine Learning.
    #[serde(rename = "ml")]
    MachineLearning,
    /// A node of Service Fabric.
    #[serde(alias = "service-fabric")]
    ServiceFabric,
    /// Cloud Shell.
    #[serde(alias = "cloud-shell")]
    CloudShell,
}

/// What a platform is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlatformEndpoint {
    /// A plain token; of the metadata service, by its version 1.
    Token,
    /// What the machine is and what its identity is called: the first request of version 2.
    #[serde(alias = "platform-metadata")]
    PlatformMetadata,
    /// A certificate: the second request of version 2.
    #[serde(alias = "issue-credential")]
    IssueCredential,
    /// What the machine is, with its region.
    #[serde(alias = "instance-metadata")]
    InstanceMetadata,
}

impl<'r> Asked<'r> {
    /// A request to the machine itself, where each platform has paths of its own.
    pub(crate) fn of_platform(host: &'r str, path: &'r str) -> Self {
        use PlatformEndpoint::{InstanceMetadata, IssueCredential, PlatformMetadata, Token};
        use PlatformKind::{AppService, Arc, CloudShell, Imds, MachineLearning, ServiceFabric};

        let (platform, endpoint) = match path.strip_suffix('/').unwrap_or(path) {
            APP_SERVICE => (Some(AppService), Some(Token)),
            MACHINE_LEARNING => (Some(MachineLearning), Some(Token)),
            CLOUD_SHELL => (Some(CloudShell), Some(Token)),
            SERVICE_FABRIC => (Some(ServiceFabric), Some(Token)),
            AZURE_ARC => (Some(Arc), Some(Token)),
            "/metadata/identity/oauth2/token" => (Some(Imds), Some(Token)),
            "/metadata/identity/getplatformmetadata" => (Some(Imds), Some(PlatformMetadata)),
            "/metadata/identity/issuecredential" => (Some(Imds), Some(IssueCredential)),
            "/metadata/instance/compute" => (Some(Imds), Some(InstanceMetadata)),
            other if other.starts_with("/metadata/") => (Some(Imds), None),
            _ => (None, None),
        };
        Self { host, path, leg: None, platform, endpoint }
    }
}
