//! The platforms and their operations, with the names that conditions use.

use serde::{Deserialize, Serialize};

use super::condition::RequestFacts;
use crate::paths::{
    APP_SERVICE, AZURE_ARC, CLOUD_SHELL, COMPUTE_PATH, MACHINE_LEARNING, REAL_CLOUD_SHELL, SERVICE_FABRIC,
    VERSIONS_PATH, without_slash,
};

/// A platform with managed identities. The names are those of `emulator run --platform`, written with `_` or `-`.
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

/// An operation of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlatformEndpoint {
    /// A Bearer token. At the metadata service this is the operation of version 1.
    Token,
    /// The platform metadata: the first request of version 2.
    #[serde(alias = "platform-metadata")]
    PlatformMetadata,
    /// A certificate of the machine: the second request of version 2.
    #[serde(alias = "issue-credential")]
    IssueCredential,
    /// The description of the machine, including its region, or the list of versions.
    #[serde(alias = "instance-metadata")]
    InstanceMetadata,
}

impl PlatformEndpoint {
    /// Returns the operation of the metadata service at this path. The path has no slash at its end.
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

impl PlatformKind {
    /// Returns the platform whose endpoint is at this path. The path has no slash at its end.
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path {
            APP_SERVICE => Some(Self::AppService),
            MACHINE_LEARNING => Some(Self::MachineLearning),
            CLOUD_SHELL | REAL_CLOUD_SHELL => Some(Self::CloudShell),
            SERVICE_FABRIC => Some(Self::ServiceFabric),
            AZURE_ARC => Some(Self::Arc),
            other => other.starts_with("/metadata/").then_some(Self::Imds),
        }
    }
}

impl<'r> RequestFacts<'r> {
    /// Returns the facts of a request to a platform. The path determines the platform and the operation.
    pub(crate) fn of_platform(host: &'r str, path: &'r str) -> Self {
        use PlatformKind::{AppService, Arc, CloudShell, Imds, MachineLearning, ServiceFabric};

        let own = without_slash(path);
        let platform = PlatformKind::at(own);
        let endpoint = match platform {
            None => None,
            Some(Imds) => PlatformEndpoint::at(own),
            Some(AppService | Arc | CloudShell | MachineLearning | ServiceFabric) => {
                Some(PlatformEndpoint::Token)
            }
        };
        Self { host, path, platform, endpoint, ..Self::default() }
    }
}
