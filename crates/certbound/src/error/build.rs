//! The reason why a client cannot be built.

use certbound_core::authority::instance::InstanceError;
use certbound_core::endpoint::EndpointError;
use strum::EnumProperty as _;

use crate::error::NetworkError;

/// The reason why a client cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum BuildError {
    /// The application's id does not have the form that the authority requires.
    #[error("the client id `{found}` is not a GUID")]
    #[strum(props(code = "invalid_client_id"))]
    #[strum(props(fix = "give the application (client) id from the app registration"))]
    ClientId {
        /// The given id, shortened.
        found: String,
    },
    /// The secret is empty.
    #[error("the client secret is empty")]
    #[strum(props(code = "client_secret_empty"))]
    #[strum(props(
        fix = "give the value of the client secret; check that the variable or file for it is not empty"
    ))]
    EmptySecret,
    /// The instance metadata does not contain the authority's host.
    #[error(transparent)]
    InstanceMetadata(#[from] InstanceError),
    /// Instance metadata was given together with a region. The metadata alone determines the target of requests.
    #[error("a region and custom instance metadata cannot be used together")]
    #[strum(props(code = "region_discovery_with_custom_instance_metadata"))]
    #[strum(props(fix = "remove the region, or name the regional host in the metadata"))]
    RegionWithInstanceMetadata,
    /// The authority has no endpoint for a client with a certificate.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The default network configuration cannot be used.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl BuildError {
    /// Returns MSAL's name for this error, or certbound's own name if MSAL has no name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InstanceMetadata(error) => error.code(),
            Self::Endpoint(error) => error.code(),
            Self::Network(error) => error.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::InstanceMetadata(error) => error.fix(),
            Self::Endpoint(error) => error.fix(),
            Self::Network(error) => error.fix(),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }
}
