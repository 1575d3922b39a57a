//! Managed identities: their names, the platforms that offer them, and the messages of these platforms. The module does
//! no I/O.

mod answer;
mod compute;
mod csr;
mod expiry;
mod location;
mod pin;
mod platform;
mod source;
mod subject;

use std::fmt;
use std::str::FromStr;

pub use self::answer::{BearerAnswer, MachineError, MalformedMachineAnswer};
pub use self::compute::{COMPUTE_PATH, COMPUTE_VERSION, ComputeMetadata};
pub use self::csr::{CertificationRequest, CertificationRequestError};
pub use self::location::{LOCATION_PATH, LOCATION_VERSION, location, location_target, newest_version};
pub use self::pin::{ServerThumbprint, ServerThumbprintError};
pub use self::platform::{CuId, IssuedCredential, PlatformMetadata};
pub use self::source::{MachineSource, SourceError};
use crate::shown::shown;

/// A managed identity: the machine's own identity, or a user-assigned identity that is named by one of three ids.
///
/// The text form is the form of the command line: `system`, `client-id:GUID`, `object-id:GUID`,
/// `resource-id:/subscriptions/…`.
///
/// ```
/// use certbound_core::managed_identity::IdentityId;
///
/// let id: IdentityId = "client-id:163ffef9-a313-45b4-ab2f-c7e2f5e0e23e".parse()?;
/// assert_eq!(id.to_string(), "client-id:163ffef9-a313-45b4-ab2f-c7e2f5e0e23e");
/// assert!("163ffef9-a313-45b4-ab2f-c7e2f5e0e23e".parse::<IdentityId>().is_err());
/// # Ok::<(), certbound_core::managed_identity::IdentityIdError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdentityId {
    /// The machine's own (system-assigned) identity.
    System,
    /// A user-assigned identity, by its client (application) id.
    ClientId(String),
    /// A user-assigned identity, by the object (principal) id of its service principal.
    ObjectId(String),
    /// A user-assigned identity, by its Azure resource id.
    ResourceId(String),
}

/// The start of every resource id, in upper or lower case.
const RESOURCE_ID_PREFIX: &str = "/subscriptions/";

impl IdentityId {
    /// Names a user-assigned identity by its client id.
    ///
    /// # Errors
    /// [`IdentityIdError`] if the id is not a GUID.
    pub fn client_id(id: &str) -> Result<Self, IdentityIdError> {
        guid(id).map(Self::ClientId)
    }

    /// Names a user-assigned identity by its object id.
    ///
    /// # Errors
    /// [`IdentityIdError`] if the id is not a GUID.
    pub fn object_id(id: &str) -> Result<Self, IdentityIdError> {
        guid(id).map(Self::ObjectId)
    }

    /// Names a user-assigned identity by its resource id. The case of the id is kept.
    ///
    /// # Errors
    /// [`IdentityIdError`] if the id does not begin with `/subscriptions/`, is longer than 1024 bytes, or has a space
    /// or any other character outside visible ASCII.
    pub fn resource_id(id: &str) -> Result<Self, IdentityIdError> {
        let start = id.get(..RESOURCE_ID_PREFIX.len()).unwrap_or_default();
        let fits = start.eq_ignore_ascii_case(RESOURCE_ID_PREFIX) && id.len() <= 1024;
        if fits && id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self::ResourceId(id.to_owned()));
        }
        Err(IdentityIdError::ResourceId { shown: shown(id) })
    }

    /// Whether this is the machine's own identity.
    pub fn is_system(&self) -> bool {
        matches!(self, Self::System)
    }
}

fn guid(id: &str) -> Result<String, IdentityIdError> {
    match crate::tenant::is_guid(&id.to_ascii_lowercase()) {
        true => Ok(id.to_ascii_lowercase()),
        false => Err(IdentityIdError::NotAGuid { shown: shown(id) }),
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::ClientId(id) => write!(f, "client-id:{id}"),
            Self::ObjectId(id) => write!(f, "object-id:{id}"),
            Self::ResourceId(id) => write!(f, "resource-id:{id}"),
        }
    }
}

impl FromStr for IdentityId {
    type Err = IdentityIdError;

    fn from_str(text: &str) -> Result<Self, IdentityIdError> {
        match text.split_once(':') {
            None if text == "system" => Ok(Self::System),
            Some(("client-id", id)) => Self::client_id(id),
            Some(("object-id", id)) => Self::object_id(id),
            Some(("resource-id", id)) => Self::resource_id(id),
            _ => Err(IdentityIdError::Unknown { shown: shown(text) }),
        }
    }
}

/// The reason why a text does not name a managed identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityIdError {
    /// The client or object id is not a GUID.
    #[error("`{shown}` is not a GUID")]
    NotAGuid {
        /// The start of the id, escaped.
        shown: String,
    },
    /// The id is not a resource id.
    #[error("`{shown}` is not the resource id of an identity: a resource id begins with /subscriptions/")]
    ResourceId {
        /// The start of the id, escaped.
        shown: String,
    },
    /// The text has none of the four forms.
    #[error("`{shown}` is not the name of a managed identity")]
    Unknown {
        /// The start of the text, escaped.
        shown: String,
    },
}

impl IdentityIdError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        "invalid_managed_identity_id"
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        "write system, client-id:GUID, object-id:GUID or resource-id:/subscriptions/..."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_named_in_four_ways() {
        let resource = "resource-id:/Subscriptions/a/resourcegroups/b/providers/c/userAssignedIdentities/D";
        for text in ["system", "object-id:163ffef9-a313-45b4-ab2f-c7e2f5e0e23e", resource] {
            assert_eq!(text.parse::<IdentityId>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "System",
            "system:",
            "client-id:",
            "client-id:x",
            "client-id:{163ffef9-a313-45b4-ab2f-c7e2f5e0e23e}",
            "resource-id:",
            "resource-id:/other",
            "resource-id:/subscriptions/a b",
            "resource-id:/subscriptions/\n",
            "app-id:163ffef9-a313-45b4-ab2f-c7e2f5e0e23e",
        ] {
            assert!(bad.parse::<IdentityId>().is_err(), "{bad:?}");
        }
    }
}
