//! Workload identity of Kubernetes: a client from the environment variables that the cluster's webhook sets.

use certbound_core::authority::{Authority, AuthorityUrlError};
use certbound_core::environment::Cloud;
use certbound_core::tenant::{TenantError, TenantId};
use strum::EnumProperty as _;

use crate::client::{Client, ClientBuilder};
use crate::credential::{AssertionFile, ByUnboundAssertion};

const FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const CLIENT: &str = "AZURE_CLIENT_ID";
const TENANT: &str = "AZURE_TENANT_ID";
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";

/// A workload's identity in Kubernetes: an application or a user-assigned identity that trusts the cluster's tokens.
///
/// The cluster's token is not bound to a certificate, so the client gets only Bearer tokens. The token's file is read
/// for each request, because the cluster rotates it.
///
/// ```no_run
/// use certbound::{Cloud, ResourceScope, WorkloadIdentity};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = WorkloadIdentity::from_env()?.client().build()?;
/// let token = client.bearer_token(&ResourceScope::key_vault(Cloud::Public)).await?;
/// # drop(token);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WorkloadIdentity {
    authority: Authority,
    client_id: String,
    file: AssertionFile,
}

impl WorkloadIdentity {
    /// Reads the settings from the process's environment, now: `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_CLIENT_ID`,
    /// `AZURE_TENANT_ID` and `AZURE_AUTHORITY_HOST` (default: the public cloud). An empty variable is treated as not
    /// set.
    ///
    /// # Errors
    /// [`WorkloadIdentityError`] names the variable that is missing or unusable. The file need not exist yet.
    pub fn from_env() -> Result<Self, WorkloadIdentityError> {
        Self::from_environment(|name| std::env::var(name).ok())
    }

    /// Reads the settings from the environment variables that `variable` returns.
    ///
    /// # Errors
    /// The errors of [`WorkloadIdentity::from_env`].
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, WorkloadIdentityError> {
        let set = |name: &'static str| variable(name).filter(|value| !value.is_empty());
        let needed = |variable: &'static str| set(variable).ok_or(WorkloadIdentityError::NotSet { variable });
        let file = AssertionFile::new(needed(FILE)?);
        let client_id = needed(CLIENT)?;
        if client_id.len() != 36 || uuid::Uuid::try_parse(&client_id).is_err() {
            return Err(WorkloadIdentityError::ClientId { variable: CLIENT });
        }
        let tenant = TenantId::parse(&needed(TENANT)?)
            .map_err(|cause| WorkloadIdentityError::Tenant { variable: TENANT, cause })?;
        let authority = match set(AUTHORITY_HOST) {
            None => Authority::in_cloud(Cloud::Public, tenant),
            Some(host) => Authority::parse(&url_of(&host, &tenant))
                .map_err(|cause| WorkloadIdentityError::Authority { variable: AUTHORITY_HOST, cause })?,
        };
        Ok(Self { authority, client_id, file })
    }

    /// Returns the authority at which tokens are requested.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the client id of the application or identity.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Returns a builder of a client that authenticates by the cluster's token.
    pub fn client(self) -> ClientBuilder<ByUnboundAssertion> {
        Client::builder(self.authority, self.client_id).with_unbound_assertions(self.file)
    }
}

/// Returns the authority's URL. The host may be given without `https://`.
fn url_of(host: &str, tenant: &TenantId) -> String {
    let scheme = if host.contains("://") { "" } else { "https://" };
    format!("{scheme}{}/{}", host.trim_end_matches('/'), tenant.as_str())
}

/// The reason why the environment describes no workload identity.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum WorkloadIdentityError {
    /// A required variable is not set.
    #[error("the environment variable {variable} is not set")]
    #[strum(props(code = "workload_identity_not_configured"))]
    #[strum(props(
        fix = "label the pod azure.workload.identity/use: \"true\", and annotate its service account with the client id, so that the cluster's webhook sets the variable; or set the variable yourself"
    ))]
    NotSet {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The value is not the id of an application or identity.
    #[error("the environment variable {variable} is not a GUID")]
    #[strum(props(code = "invalid_client_id"))]
    #[strum(props(fix = "annotate the service account with the client id of the application or identity"))]
    ClientId {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The value is not a tenant.
    #[error("the environment variable {variable} is not valid: {cause}")]
    Tenant {
        /// The name of the variable.
        variable: &'static str,
        /// The reason why the value is not a tenant.
        cause: TenantError,
    },
    /// The value is not the URL of an authority.
    #[error("the environment variable {variable} is not valid: {cause}")]
    Authority {
        /// The name of the variable.
        variable: &'static str,
        /// The reason why the value is not the URL of an authority.
        cause: AuthorityUrlError,
    },
}

impl WorkloadIdentityError {
    /// Returns MSAL's name of the error, or certbound's own name if MSAL has no name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Tenant { cause, .. } => cause.code(),
            Self::Authority { cause, .. } => cause.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Tenant { cause, .. } => cause.fix(),
            Self::Authority { cause, .. } => cause.fix(),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }
}
