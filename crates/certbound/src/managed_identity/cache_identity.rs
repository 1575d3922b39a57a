//! The name of a managed identity in cache keys.

use std::sync::OnceLock;

use certbound_core::managed_identity::IdentityId;

use super::endpoint::Endpoint;
use crate::correlation::CorrelationId;
use crate::rejected::TokenHash;

/// The last start of this machine. Several machines can share a store, and their platforms have the same local address.
pub(super) struct Boot {
    id: String,
    /// The id of this process, if the system has no id of its last start. A store then does not get the tokens that the
    /// identity requests for itself, because no later process can know that it runs on the same machine.
    pub(super) of_process: Option<CorrelationId>,
}

impl Boot {
    /// Reads the id of the last start (`boot_id` of Linux), once for the process.
    pub(super) fn of_machine() -> &'static Self {
        static BOOT: OnceLock<Boot> = OnceLock::new();
        BOOT.get_or_init(|| {
            Self::from_text(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default())
        })
    }

    fn from_text(text: &str) -> Self {
        match text.trim() {
            "" => {
                let id = CorrelationId::random();
                Self { id: id.to_string(), of_process: Some(id) }
            }
            id => Self { id: id.to_owned(), of_process: None },
        }
    }
}

/// Returns the name of an identity: the start of the machine, the source with its address and pinned certificate, the
/// identity with the default identity, and the hash of the platform's secret. A different program on this machine can
/// have a different secret, and so a different identity. The platform makes the secret at random, so nobody can guess it
/// from the hash.
///
/// The name does not distinguish programs of one machine to which a source without a secret gives different identities,
/// for example the pods of a node. They must not share a store.
pub(super) fn cache_identity(id: &IdentityId, endpoint: &Endpoint, boot: &Boot) -> String {
    let part = |part: Option<String>| part.unwrap_or_default();
    let (origin, base) = (endpoint.origin(), endpoint.base());
    let pin = part(endpoint.pin().map(ToString::to_string));
    let secret = part(endpoint.header().map(|secret| TokenHash::of(secret).hex()));
    let default = endpoint.default_identity().unwrap_or_default();
    // No part before `id` contains a line feed, and only the system-assigned identity has a default.
    [origin.to_string().as_str(), base, &pin, &secret, &boot.id, &id.to_string(), default].join("\n")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use certbound_core::managed_identity::MachineSource;

    use super::*;

    const ML: [(&str, &str); 3] = [
        ("MSI_ENDPOINT", "http://127.0.0.1:8080"),
        ("MSI_SECRET", "one"),
        ("DEFAULT_IDENTITY_CLIENT_ID", "aaaa"),
    ];

    fn name(origin: MachineSource, id: &IdentityId, variables: &[(&str, &str)], boot: &str) -> String {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        let endpoint = Endpoint::find(id, Some(origin), &variable, false).unwrap();
        cache_identity(id, &endpoint, &Boot::from_text(boot))
    }

    #[test]
    fn a_name_differs_by_machine_source_identity_and_secret() {
        let with = |name: &str, changed: &'static str| {
            ML.map(|(key, value)| (key, if key == name { changed } else { value }))
        };
        let (ml, system) = (MachineSource::MachineLearning, IdentityId::System);
        let client = IdentityId::ClientId("bbbb".into());
        let fabric = |pin| {
            let variables = [
                ("IDENTITY_ENDPOINT", "https://127.0.0.1:8080"),
                ("IDENTITY_HEADER", "one"),
                ("IDENTITY_SERVER_THUMBPRINT", pin),
            ];
            name(MachineSource::ServiceFabric, &system, &variables, "boot 1")
        };
        let guid = || "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e".to_owned();
        let at_imds = |id| name(MachineSource::Imds, &id, &[], "boot 1");
        let arc = [("IDENTITY_ENDPOINT", "http://169.254.169.254")];
        let names = [
            at_imds(IdentityId::System),
            at_imds(IdentityId::ClientId(guid())),
            at_imds(IdentityId::ObjectId(guid())),
            at_imds(IdentityId::ClientId("another".to_owned())),
            name(MachineSource::AzureArc, &system, &arc, "boot 1"),
            name(ml, &system, &ML, "boot 1"),
            name(ml, &system, &ML, "boot 2"),
            name(ml, &client, &ML, "boot 1"),
            name(ml, &system, &with("MSI_ENDPOINT", "http://127.0.0.1:8081"), "boot 1"),
            name(ml, &system, &with("MSI_SECRET", "two"), "boot 1"),
            name(ml, &system, &with("DEFAULT_IDENTITY_CLIENT_ID", "cccc"), "boot 1"),
            name(MachineSource::CloudShell, &system, &ML, "boot 1"),
            fabric("84983E441C3BD26EBAAE4AA1F95129E5E54670F1"),
            fabric("84983E441C3BD26EBAAE4AA1F95129E5E54670F2"),
        ];
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:#?}");
        assert_eq!(at_imds(IdentityId::System), names[0]);
        assert!(!names.iter().any(|name| name.contains("one")), "a secret is shown");
    }

    #[test]
    fn a_machine_without_an_id_is_known_only_in_its_process() {
        let (one, two) = (Boot::from_text(" \n"), Boot::from_text(""));
        assert_ne!(one.id, two.id);
        assert!(one.of_process.is_some());
        assert_eq!(Boot::from_text("b\n").id, "b");
        assert_eq!(Boot::from_text("b").of_process, None);
    }
}
