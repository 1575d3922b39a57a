//! The errors of an issuer's configuration.

use strum::EnumProperty as _;

/// The reason why the configuration of an issuer is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum IssuerError {
    /// A tenant is given by name.
    #[error("the tenant `{found}` is a name, but tokens contain the tenant's id")]
    #[strum(props(code = "tenant_id_required"))]
    #[strum(props(
        fix = "give the tenant's id, a GUID; `az account show` and the portal's overview page show it"
    ))]
    TenantName {
        /// The name of the tenant.
        found: String,
    },
    /// No tenant is set.
    #[error("no tenant is set")]
    #[strum(props(code = "tenant_id_required"))]
    #[strum(props(
        fix = "give the tenant's id, a GUID; `az account show` and the portal's overview page show it"
    ))]
    NoTenant,
    /// The text is not the URL of an issuer.
    #[error("`{found}` is not an issuer: an issuer is an https URL without query, fragment and user name")]
    #[strum(props(
        code = "invalid_issuer",
        fix = "give the issuer exactly as in the claim `iss` of its tokens"
    ))]
    Malformed {
        /// The start of the text, escaped.
        found: String,
    },
    /// No algorithm is set.
    #[error("no signature algorithm is set for the issuer")]
    #[strum(props(code = "algorithm_required"))]
    #[strum(props(fix = "name the algorithms that the issuer signs with, such as ES256"))]
    NoAlgorithm,
    /// The claim does not contain the client's id.
    #[error("the claim `{found}` does not contain the client's id")]
    #[strum(props(code = "invalid_client_claim"))]
    #[strum(props(
        fix = "name a claim that contains the client's id in every token; in tokens of users `sub` contains the user's id"
    ))]
    ClientClaim {
        /// The name of the claim.
        found: String,
    },
    /// The text is not a host from which keys could be fetched.
    #[error("`{found}` is neither a host nor a host with a port")]
    #[strum(props(code = "invalid_keys_host"))]
    #[strum(props(
        fix = "give a host such as keys.example, or keys.example:8443, without https:// and without a path"
    ))]
    KeysHost {
        /// The start of the text, escaped.
        found: String,
    },
}

impl IssuerError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}
