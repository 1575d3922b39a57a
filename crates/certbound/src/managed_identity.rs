//! Managed identities: tokens without a credential in anybody's hands, from the platform that a program runs on.

mod arc;
mod attestation;
mod bearer;
mod blame;
mod builder;
mod call;
mod capabilities;
mod certificate_cell;
mod certificate_file;
mod certificates;
mod endpoint;
mod environment;
mod imds;
mod in_use;
mod issued_certificate;
mod keys;
mod known_cell;
mod leg1;
mod mint;
mod platform;
mod retry;

use std::fmt;
use std::sync::Arc;

use certbound_core::managed_identity::{IdentityId, MachineSource};
use certbound_core::scope::ResourceScope;
use tokio::sync::Semaphore;

use self::attestation::AnyAttestation;
pub use self::attestation::{Attestation, AttestationRequest};
pub use self::builder::{ManagedIdentityBuildError, ManagedIdentityBuilder};
use self::capabilities::Discovered;
pub use self::capabilities::{Capabilities, ImdsVersion};
pub use self::certificates::MachineCertificates;
use self::endpoint::Endpoint;
pub use self::environment::EnvironmentError;
use self::keys::{AnyKeys, ProviderId};
pub use self::keys::{KeyProvider, MachineKey, MachineSigner, SoftwareKeys};
use self::known_cell::KnownCell;
pub use self::leg1::AcquireMachineLeg1;
pub(crate) use self::platform::Platform;
use crate::acquire::{Acquire, Context};
use crate::background::Background;
use crate::cache::single_flight::SingleFlight;
use crate::error::{KeyStrength, PlatformError};
use crate::token::{BearerToken, BoundToken};

/// A managed identity of the machine or platform that this program runs on. Cheap to clone.
///
/// Bearer tokens come from every platform; tokens bound to a certificate from the instance metadata service, which issues
/// one (version 2). It is a Leg 1: give it to [`ClientBuilder::with_assertions`](crate::ClientBuilder::with_assertions).
/// It is never Leg 2. A request for a token probes nothing: the environment says where tokens are had.
///
/// ```no_run
/// use certbound::{Cloud, ManagedIdentity, ResourceScope};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = ManagedIdentity::system_assigned().build()?;
/// let vault = ResourceScope::key_vault(Cloud::Public);
/// let token = identity.bound_token(&vault).await?;
/// println!("{}", token.binding().thumbprint());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ManagedIdentity {
    pub(crate) platform: Platform,
    /// Ends with the last of those who can ask for tokens.
    pub(crate) background: Arc<Background>,
}

/// What an identity has.
pub(crate) struct Machine {
    pub(crate) context: Context,
    pub(crate) id: IdentityId,
    pub(crate) endpoint: Endpoint,
    pub(crate) capabilities: Vec<String>,
    pub(crate) certificates: MachineCertificates,
    /// This identity's place among them, once it is known. Each hit reads it, without a lock.
    cell: KnownCell,
    pub(crate) keys: Arc<dyn AnyKeys>,
    provider: ProviderId,
    /// As the provider told when the identity was built.
    strength: KeyStrength,
    pub(crate) attestation: Option<Arc<dyn AnyAttestation>>,
    pub(crate) min_strength: Option<KeyStrength>,
    /// How many calls the metadata service may have to answer at once.
    pub(crate) imds_calls: Arc<Semaphore>,
    discoveries: SingleFlight<(), Result<Discovered, PlatformError>>,
}

impl ManagedIdentity {
    /// The machine's own identity.
    pub fn system_assigned() -> ManagedIdentityBuilder {
        Self::builder(IdentityId::System)
    }

    /// An identity by any of its names.
    pub fn builder(id: IdentityId) -> ManagedIdentityBuilder {
        ManagedIdentityBuilder::new(id)
    }

    /// A token for `scope` that is bound to a certificate issued to this machine. Await it, after any options.
    ///
    /// # Errors
    /// [`PlatformError::SourceCannotBind`] before any byte is sent, where the platform issues no certificates.
    pub fn bound_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BoundToken> {
        Acquire::new(&self.platform, scope)
    }

    /// A Bearer token for `scope`. Await it, after any options.
    pub fn bearer_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BearerToken> {
        Acquire::new(&self.platform, scope)
    }

    /// Which identity it is.
    pub fn id(&self) -> &IdentityId {
        &self.machine().id
    }

    /// Where its tokens come from: told by the environment, or named. Whether they can be bound there,
    /// [`ManagedIdentity::capabilities`] finds out.
    pub fn origin(&self) -> MachineSource {
        self.machine().endpoint.origin()
    }
}

impl ManagedIdentity {
    fn machine(&self) -> &Arc<Machine> {
        &self.platform.0
    }
}

impl fmt::Debug for ManagedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedIdentity")
            .field("id", &self.machine().id)
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}
