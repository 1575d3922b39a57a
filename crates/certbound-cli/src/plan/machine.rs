//! Managed identities of the machine that this program runs on.

use certbound::{IdentityId, ManagedIdentity, Transport};

use crate::failure::Failure;

/// The identity, and what its certificate's source is called.
pub(crate) fn machine<T: Transport + Clone>(
    identity: &str,
    transport: &T,
) -> Result<(ManagedIdentity, String), Failure> {
    let id: IdentityId = identity.parse()?;
    let source = format!("managed-identity:{id}");
    Ok((ManagedIdentity::builder(id).with_transport(transport.clone()).build()?, source))
}
