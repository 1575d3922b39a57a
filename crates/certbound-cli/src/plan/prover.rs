//! The proof by which a stored token was obtained. A later command finds the token only with the same proof.

use std::env;

use certbound::{Secret, Thumbprint};

/// The proof of a client's identity, as far as the cache key does not contain it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prover {
    /// A certificate: each cache key already contains its hash.
    Certificate,
    /// The hash of any other proof. Without the hash a command with a wrong secret would get the token of the right
    /// secret.
    Other(String),
    /// A proof that no later command has. Tokens that were obtained by this proof are not stored.
    Passing,
}

/// Variables with a secret of the platform, which differs between programs.
const PLATFORM_SECRETS: [&str; 2] = ["IDENTITY_HEADER", "MSI_SECRET"];

impl Prover {
    /// Returns the proof by a secret or an assertion.
    pub(super) fn secret(secret: &Secret) -> Self {
        Self::Other(hash(&[secret.expose().as_bytes()]))
    }

    /// Returns the proof by a managed identity of this machine. A different machine with the same folder, or with a
    /// copy of the disk, has a different proof.
    pub(super) fn machine(identity: &str) -> Self {
        let secrets = PLATFORM_SECRETS.map(|name| env::var_os(name).unwrap_or_default());
        Self::machine_since(
            since_start(),
            identity,
            &secrets.each_ref().map(|secret| secret.as_encoded_bytes()),
        )
    }

    fn machine_since(start: Option<String>, identity: &str, secrets: &[&[u8]]) -> Self {
        let Some(start) = start.filter(|start| !start.is_empty()) else { return Self::Passing };
        let parts = [&[start.as_bytes(), identity.as_bytes()], secrets].concat();
        Self::Other(hash(&parts))
    }

    /// Returns this proof's part of the namespace of stored tokens, or `None` if the tokens are not stored.
    pub(super) fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Certificate => Some(b""),
            Self::Other(hash) => Some(hash.as_bytes()),
            Self::Passing => None,
        }
    }
}

/// Returns Linux's `boot_id`. It differs between machines and changes at each start.
fn since_start() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

/// Returns the SHA-256 of the parts, each with its length.
fn hash(parts: &[&[u8]]) -> String {
    let mut whole =
        zeroize::Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum()));
    for part in parts {
        whole.extend_from_slice(&(part.len() as u64).to_le_bytes());
        whole.extend_from_slice(part);
    }
    Thumbprint::of_der(&whole).hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_start_identity_or_platform_is_another_prover() {
        let machine = |start: &str, identity: &str, secret: &str| {
            Prover::machine_since(Some(start.to_owned()), identity, &[secret.as_bytes(), b""])
        };
        let one = machine("a", "system", "");
        assert_eq!(one, machine("a", "system", ""));
        for other in
            [machine("b", "system", ""), machine("a", "client-id:x", ""), machine("a", "system", "h")]
        {
            assert_ne!(one, other);
        }
        assert_ne!(machine("a", "b", "c"), machine("a", "bc", ""));
        // If machines cannot be distinguished, no token is stored.
        assert_eq!(Prover::machine_since(None, "system", &[]), Prover::Passing);
        assert_eq!(Prover::Passing.name(), None);
        assert!(Prover::Certificate.name().is_some());
    }

    #[test]
    fn a_secret_is_told_by_its_hash_alone() {
        let (right, wrong) = (Prover::secret(&Secret::new("right")), Prover::secret(&Secret::new("wrong")));
        assert_ne!(right, wrong);
        assert!(!format!("{right:?}").contains("right"));
    }
}
