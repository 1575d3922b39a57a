//! Managed identities: tokens from the platform on which a program runs, without a credential in the program.

mod arc;
mod attestation;
mod bearer;
mod builder;
mod cache_identity;
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
mod leg1;
mod mint;
mod mint_reason;
mod platform;
mod reopened_key;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
pub use certbound_core::managed_identity::{IdentityId, IdentityIdError, MachineSource};
use certbound_core::scope::ResourceScope;
use tokio::sync::Semaphore;

use self::attestation::AnyAttestation;
pub use self::attestation::{Attestation, AttestationRequest};
pub use self::builder::{ManagedIdentityBuildError, ManagedIdentityBuilder};
pub use self::capabilities::{Capabilities, ImdsVersion};
use self::certificate_cell::CertificateCell;
pub use self::certificates::MachineCertificates;
use self::endpoint::Endpoint;
pub use self::environment::EnvironmentError;
use self::keys::{AnyKeys, ProviderId};
pub use self::keys::{KeyProvider, MachineKey, SoftwareKeys};
pub use self::leg1::AcquireMachineLeg1;
pub(crate) use self::platform::Platform;
use crate::acquire::{Acquire, Context};
use crate::background::Background;
use crate::cache::single_flight::SingleFlight;
use crate::error::PlatformError;
pub use crate::error::machine_key::KeyStrength;
use crate::retry::Throttle;
use crate::token::{BearerToken, BoundToken};

/// A managed identity of the machine or platform on which this program runs. A clone is cheap.
///
/// Every platform issues Bearer tokens. Bound tokens, and [Bearer tokens over mutual
/// TLS](ManagedIdentityBuilder::bearer_over_mtls), need version 2 of IMDS, which issues certificates. A managed
/// identity can be a Leg 1: pass it to [`ClientBuilder::with_assertions`](crate::ClientBuilder::with_assertions). A
/// managed identity cannot be a Leg 2. An acquisition sends no probes: the environment or the builder names the
/// platform.
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
    /// The owner of the background tasks. The tasks are aborted when the last clone and the last resource of this
    /// identity are dropped.
    pub(crate) background: Arc<Background>,
}

/// The data that all clones of a managed identity share.
pub(crate) struct Machine {
    pub(crate) context: Context,
    pub(crate) id: IdentityId,
    pub(crate) endpoint: Endpoint,
    /// The name of the identity in the cache keys of clients that use its assertions.
    cache_identity: String,
    pub(crate) capabilities: Vec<String>,
    pub(crate) certificates: MachineCertificates,
    /// The cell of this identity's certificate in `certificates`, once it is known. Each cache hit with a certificate
    /// reads the cell without a lock.
    cell: ArcSwapOption<CertificateCell>,
    pub(crate) keys: Arc<dyn AnyKeys>,
    provider: ProviderId,
    /// The key strength that the provider returned to [`ManagedIdentityBuilder::build`].
    strength: KeyStrength,
    pub(crate) attestation: Option<Arc<dyn AnyAttestation>>,
    pub(crate) min_strength: Option<KeyStrength>,
    /// Whether Bearer tokens are requested from the token service with the certificate.
    bearer_over_mtls: bool,
    /// Whether the source is IMDS and `MSAL_MI_DISABLE_IMDS_V2` disabled its version 2 when the identity was built.
    imds_v2_disabled: bool,
    /// The limit of parallel requests to IMDS.
    pub(crate) imds_calls: Arc<Semaphore>,
    /// The responses of the platform with `Retry-After`, by URL and body.
    throttle: Throttle<(http::Uri, bytes::Bytes), http::Response<bytes::Bytes>>,
    discoveries: SingleFlight<(), Result<(ImdsVersion, Option<KeyStrength>), PlatformError>>,
}

impl ManagedIdentity {
    /// Returns a builder for the system-assigned identity of the machine.
    pub fn system_assigned() -> ManagedIdentityBuilder {
        Self::builder(IdentityId::System)
    }

    /// Returns a builder for the identity with this id.
    pub fn builder(id: IdentityId) -> ManagedIdentityBuilder {
        ManagedIdentityBuilder::new(id)
    }

    /// Requests a token for `scope` that is bound to a certificate of this machine. Set options on the returned
    /// [`Acquire`], then await it.
    ///
    /// # Errors
    /// [`PlatformError::SourceCannotBind`] or [`PlatformError::ImdsV2Disabled`], before any request, if the platform
    /// issues no certificates or the environment disables them.
    pub fn bound_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BoundToken> {
        Acquire::new(&self.platform, scope)
    }

    /// Requests a Bearer token for `scope`. Set options on the returned [`Acquire`], then await it. The platform issues
    /// the token, unless the identity was built with [`ManagedIdentityBuilder::bearer_over_mtls`].
    pub fn bearer_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BearerToken> {
        Acquire::new(&self.platform, scope)
    }

    /// Returns the id of the identity.
    pub fn id(&self) -> &IdentityId {
        &self.machine().id
    }

    /// Returns whether a bound token of this identity can be used after this process ends. Without a persistent key the
    /// token is then useless, because the key of its certificate no longer exists. [`SoftwareKeys::kept_in`] stores the
    /// key, and [`MachineCertificates::kept_in`] stores the certificate.
    pub fn has_persistent_key(&self) -> bool {
        self.machine().keys.is_persistent()
    }

    /// Returns the source of the tokens, which the environment or the builder names. To learn whether the machine can
    /// bind tokens, call [`ManagedIdentity::capabilities`].
    pub fn origin(&self) -> MachineSource {
        self.machine().endpoint.origin()
    }

    /// Returns whether the source and the environment allow bound tokens. The result is false if the source issues no
    /// certificates, or if the environment disables them (`MSAL_MI_DISABLE_IMDS_V2`). The function does not check the
    /// key strength that `min_strength` requires. The function sends no request, so the result does not show whether
    /// the metadata service of this machine issues certificates: see [`ManagedIdentity::capabilities`].
    pub fn may_bind(&self) -> bool {
        self.origin().binds() && !self.machine().imds_v2_disabled
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
