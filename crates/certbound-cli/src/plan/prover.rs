//! The proof by which a stored token was obtained. A later command finds the token only with the same proof.

use certbound::{Secret, Thumbprint};

/// The proof of a client's identity, as far as the cache key does not contain it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prover {
    /// Each cache key contains the proof: the hash of a certificate, or the name of a managed identity.
    InCacheKey,
    /// The hash of any other proof. Without the hash a command with a wrong secret would get the token of the right
    /// secret.
    Other(String),
    /// A proof that no later command has. Tokens that were obtained by this proof are not stored.
    Passing,
}

impl Prover {
    /// Returns the proof by a secret or an assertion.
    pub(super) fn secret(secret: &Secret) -> Self {
        Self::Other(Thumbprint::of_der(secret.expose().as_bytes()).hex())
    }

    /// Returns the proof by a managed identity of this machine. Each cache key contains the machine's `boot_id`. A
    /// system without this id is different for each command.
    pub(super) fn machine() -> Self {
        match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
            Ok(id) if !id.trim().is_empty() => Self::InCacheKey,
            _ => Self::Passing,
        }
    }

    /// Returns this proof's part of the namespace of stored tokens, or `None` if the tokens are not stored.
    pub(super) fn name(&self) -> Option<&[u8]> {
        match self {
            Self::InCacheKey => Some(b""),
            Self::Other(hash) => Some(hash.as_bytes()),
            Self::Passing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_told_by_its_hash_alone() {
        let (right, wrong) = (Prover::secret(&Secret::new("right")), Prover::secret(&Secret::new("wrong")));
        assert_ne!(right, wrong);
        assert!(!format!("{right:?}").contains("right"));
        assert_eq!(Prover::Passing.name(), None);
        assert!(Prover::InCacheKey.name().is_some());
    }
}
