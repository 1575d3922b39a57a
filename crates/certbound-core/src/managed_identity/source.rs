//! The platform that offers managed identities on this machine, chosen without a request.

use strum::VariantArray as _;

use super::IdentityId;

/// A platform's source of managed-identity tokens. The variants are in the order of detection. `Display` writes the
/// stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
#[non_exhaustive]
pub enum MachineSource {
    /// Service Fabric.
    ServiceFabric,
    /// App Service, Functions, Container Apps.
    AppService,
    /// Azure Machine Learning.
    #[strum(serialize = "ml")]
    MachineLearning,
    /// Cloud Shell.
    CloudShell,
    /// Azure Arc: a server outside Azure with the Connected Machine agent.
    #[strum(serialize = "arc")]
    AzureArc,
    /// The instance metadata service of virtual machines and scale sets.
    Imds,
}

impl MachineSource {
    /// All sources, in the order of detection.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns the source of this machine. The function makes no request: `variable` reads an environment variable, and
    /// `has_arc_agent` is true if the agent's program is installed. An empty variable counts as absent.
    pub fn detect(variable: impl Fn(&str) -> Option<String>, has_arc_agent: bool) -> Self {
        let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        if set("IDENTITY_ENDPOINT") && set("IDENTITY_HEADER") {
            return match set("IDENTITY_SERVER_THUMBPRINT") {
                true => Self::ServiceFabric,
                false => Self::AppService,
            };
        }
        if set("MSI_ENDPOINT") {
            return if set("MSI_SECRET") { Self::MachineLearning } else { Self::CloudShell };
        }
        if (set("IDENTITY_ENDPOINT") && set("IMDS_ENDPOINT")) || has_arc_agent {
            return Self::AzureArc;
        }
        Self::Imds
    }

    /// Whether tokens of this source can be bound to a certificate.
    pub const fn binds(self) -> bool {
        matches!(self, Self::Imds)
    }

    /// Checks that this source can select the identity.
    ///
    /// # Errors
    /// [`SourceError`] if the source cannot select the identity.
    pub fn check_identity(self, id: &IdentityId) -> Result<(), SourceError> {
        let fits = match (self, id) {
            (Self::AppService | Self::Imds, _) | (_, IdentityId::System) => true,
            (Self::ServiceFabric, IdentityId::ObjectId(_)) => true,
            (Self::MachineLearning, IdentityId::ClientId(_)) => true,
            // Newer agents accept all three ids. An older agent ignores the id, but its response does not name the
            // identity, so the client detects this case.
            (Self::AzureArc, _) => true,
            _ => false,
        };
        if fits { Ok(()) } else { Err(SourceError { origin: self, id: id.clone() }) }
    }
}

/// The error of a source that cannot select the identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source {origin} cannot select the identity {id}")]
pub struct SourceError {
    /// The source.
    pub origin: MachineSource,
    /// The identity.
    pub id: IdentityId,
}

impl SourceError {
    /// Returns MSAL's code for the error.
    pub fn code(&self) -> &'static str {
        match self.origin {
            MachineSource::ServiceFabric => "user_assigned_managed_identity_not_configurable_at_runtime",
            MachineSource::MachineLearning => "invalid_managed_identity_id_type",
            _ => "user_assigned_managed_identity_not_supported",
        }
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        match self.origin {
            MachineSource::ServiceFabric => {
                "use the system-assigned identity, or select the user-assigned identity by its object id"
            }
            MachineSource::MachineLearning => {
                "use the system-assigned identity, or select the user-assigned identity by its client id"
            }
            _ => "use the system-assigned identity",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_in_this_order() {
        const IDENTITY: [&str; 2] = ["IDENTITY_ENDPOINT", "IDENTITY_HEADER"];
        const MSI: [&str; 2] = ["MSI_ENDPOINT", "MSI_SECRET"];
        let all = [&IDENTITY[..], &MSI[..]].concat();
        let rows: [(Vec<&str>, bool, MachineSource); 11] = [
            (vec![], false, MachineSource::Imds),
            (vec![], true, MachineSource::AzureArc),
            (IDENTITY.to_vec(), true, MachineSource::AppService),
            // Some hosts set the variables of both protocols.
            (all.clone(), false, MachineSource::AppService),
            (
                [&all[..], &["IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT"]].concat(),
                true,
                MachineSource::ServiceFabric,
            ),
            (MSI.to_vec(), true, MachineSource::MachineLearning),
            (vec!["MSI_ENDPOINT"], true, MachineSource::CloudShell),
            (vec!["MSI_SECRET"], false, MachineSource::Imds),
            (vec!["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"], false, MachineSource::AzureArc),
            (vec!["IDENTITY_ENDPOINT"], false, MachineSource::Imds),
            (vec!["IDENTITY_SERVER_THUMBPRINT", "IDENTITY_HEADER"], false, MachineSource::Imds),
        ];
        for (set, agent, expected) in rows {
            let variable = |name: &str| set.contains(&name).then(|| "x".to_owned());
            assert_eq!(MachineSource::detect(variable, agent), expected, "{set:?}");
            let empty = |name: &str| set.contains(&name).then(String::new);
            let without = if agent { MachineSource::AzureArc } else { MachineSource::Imds };
            assert_eq!(MachineSource::detect(empty, agent), without, "{set:?}");
        }
    }

    #[test]
    fn each_source_knows_some_names_of_an_identity() {
        let ids = [
            IdentityId::System,
            IdentityId::ClientId("c".to_owned()),
            IdentityId::ObjectId("o".to_owned()),
            IdentityId::ResourceId("r".to_owned()),
        ];
        for (source, expected) in [
            (MachineSource::AppService, [true, true, true, true]),
            (MachineSource::Imds, [true, true, true, true]),
            (MachineSource::AzureArc, [true, true, true, true]),
            (MachineSource::ServiceFabric, [true, false, true, false]),
            (MachineSource::MachineLearning, [true, true, false, false]),
            (MachineSource::CloudShell, [true, false, false, false]),
        ] {
            let fits = ids.each_ref().map(|id| source.check_identity(id).is_ok());
            assert_eq!(fits, expected, "{source}");
        }
    }
}
