//! Platforms, and what they are asked for, by the names that conditions have for them.

use serde::{Deserialize, Serialize};

use super::condition::RequestFacts;
use crate::paths::{
    APP_SERVICE, AZURE_ARC, CLOUD_SHELL, COMPUTE_PATH, MACHINE_LEARNING, REAL_CLOUD_SHELL, SERVICE_FABRIC,
    VERSIONS_PATH, without_slash,
};

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

impl PlatformEndpoint {
    /// The operation of the metadata service at this path, without a slash at the end.
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path {
            "/metadata/identity/oauth2/token" => Some(Self::Token),
            "/metadata/identity/getplatformmetadata" => Some(Self::PlatformMetadata),
            "/metadata/identity/issuecredential" => Some(Self::IssueCredential),
            VERSIONS_PATH => Some(Self::InstanceMetadata),
            other => {
                let below = other.strip_prefix(COMPUTE_PATH)?;
                (below.is_empty() || below.starts_with('/')).then_some(Self::InstanceMetadata)
            }
        }
    }
}

impl<'r> RequestFacts<'r> {
    /// A request to the machine itself, where each platform has paths of its own.
    pub(crate) fn of_platform(host: &'r str, path: &'r str) -> Self {
        use PlatformKind::{AppService, Arc, CloudShell, Imds, MachineLearning, ServiceFabric};

        let own = without_slash(path);
        let platform = match own {
            APP_SERVICE => Some(AppService),
            MACHINE_LEARNING => Some(MachineLearning),
            CLOUD_SHELL | REAL_CLOUD_SHELL => Some(CloudShell),
            SERVICE_FABRIC => Some(ServiceFabric),
            AZURE_ARC => Some(Arc),
            other => other.starts_with("/metadata/").then_some(Imds),
        };
        let endpoint = match platform {
            Some(Imds) => PlatformEndpoint::at(own),
            other => other.map(|_| PlatformEndpoint::Token),
        };
        Self { host, path, leg: None, platform, endpoint }
    }
}
