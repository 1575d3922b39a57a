//! Why a client cannot be built.

use certbound_core::endpoint::EndpointError;
use certbound_core::instance::InstanceError;

use crate::error::NetworkError;

/// Why a client cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The application's id is not what the authority's applications have.
    #[error("the client id `{found}` is not a GUID")]
    ClientId {
        /// What was given, shortened.
        found: String,
    },
    /// The secret is empty.
    #[error("the client secret is empty")]
    EmptySecret,
    /// The instance metadata does not know the authority.
    #[error(transparent)]
    InstanceMetadata(#[from] InstanceError),
    /// Instance metadata together with a region: it says itself where requests go.
    #[error("a region and instance metadata of one's own were given together")]
    RegionWithInstanceMetadata,
    /// The authority cannot serve a certificate client.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The default network configuration cannot be used.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl BuildError {
    /// MSAL's name where it has one, else ours.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ClientId { .. } => "invalid_client_id",
            Self::EmptySecret => "client_secret_empty",
            Self::InstanceMetadata(error) => error.code(),
            Self::RegionWithInstanceMetadata => "region_discovery_with_custom_instance_metadata",
            Self::Endpoint(error) => error.code(),
            Self::Network(error) => error.code(),
        }
    }

    /// What to do.
    pub fn fix(&self) -> String {
        match self {
            Self::ClientId { .. } => "give the application (client) id from the app registration".to_owned(),
            Self::EmptySecret => "give the secret's value, not its id".to_owned(),
            Self::InstanceMetadata(error) => error.fix().to_owned(),
            Self::RegionWithInstanceMetadata => {
                "leave the region out, or name the regional host in the metadata".to_owned()
            }
            Self::Endpoint(error) => error.fix().to_owned(),
            Self::Network(error) => error.fix().to_owned(),
        }
    }
}
