//! Managed identities of the machine that this program runs on.

use certbound::{IdentityId, MachineCertificates, ManagedIdentity, SoftwareKeys, StateDirectory, Transport};

use super::Reach;
use crate::failure::Failure;
use crate::flags::MachineStateFlags;

/// The identity, and what its certificate's source is called.
pub(crate) fn machine<T: Transport + Clone>(
    identity: &str,
    state: &MachineStateFlags,
    reach: &Reach<T>,
) -> Result<(ManagedIdentity, String), Failure> {
    let id: IdentityId = identity.parse()?;
    let source = format!("managed-identity:{id}");
    let mut builder =
        ManagedIdentity::builder(id).with_transport(reach.transport.clone()).with_cache(reach.cache.clone());
    if let Some(path) = &state.machine_state {
        let state = StateDirectory::open(path)?;
        builder = builder
            .with_certificates(MachineCertificates::kept_in(&state))
            .with_keys(SoftwareKeys::kept_in(&state));
    }
    Ok((builder.build()?, source))
}
