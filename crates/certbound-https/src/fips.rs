//! The refusal of TLS without FIPS mode, in a build that requires FIPS.

use std::sync::Arc;

use certbound_core::fips::{NotFips, require};
use rustls::{ClientConfig, Error, OtherError, ServerConfig};

/// Refuses a client configuration without FIPS mode, if this build requires FIPS.
///
/// # Errors
/// A [`rustls::Error`] with a [`NotFips`], which [`refusal`] finds.
pub fn client(config: &ClientConfig) -> Result<(), Error> {
    require("the TLS configuration of the client", config.fips()).map_err(of_tls)
}

/// Refuses a server configuration without FIPS mode, if this build requires FIPS.
///
/// # Errors
/// A [`rustls::Error`] with a [`NotFips`], which [`refusal`] finds.
pub fn server(config: &ServerConfig) -> Result<(), Error> {
    require("the TLS configuration of the server", config.fips()).map_err(of_tls)
}

/// Returns the refusal in an error of the TLS library.
pub fn refusal(error: &Error) -> Option<&NotFips> {
    match error {
        Error::Other(OtherError(cause)) => cause.downcast_ref(),
        _ => None,
    }
}

fn of_tls(error: NotFips) -> Error {
    Error::Other(OtherError(Arc::new(error)))
}

#[cfg(test)]
mod tests {
    use certbound_core::fips::IS_REQUIRED;
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::server::ResolvesServerCertUsingSni;

    use super::*;

    #[test]
    fn a_server_without_fips_is_refused_if_the_build_requires_fips() {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        assert_eq!((config.fips(), server(&config)), (IS_REQUIRED, Ok(())));
        // FIPS requires the extended master secret in TLS 1.2.
        config.require_ems = false;
        let refused = server(&config).err();
        assert_eq!(refused.as_ref().and_then(refusal).is_some(), IS_REQUIRED, "{refused:?}");
        assert_eq!(refusal(&Error::DecryptError), None);
    }

    /// `docs/fips.md` names these groups and cipher suites.
    #[cfg(feature = "fips")]
    #[test]
    fn the_module_offers_the_groups_and_cipher_suites_of_the_page() {
        use rustls::NamedGroup::{X25519MLKEM768, secp256r1, secp384r1};

        let provider = default_provider();
        let groups: Vec<_> = provider.kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups, [X25519MLKEM768, secp256r1, secp384r1]);
        let suites: Vec<_> =
            provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
        assert_eq!(suites.len(), 6, "{suites:?}");
        assert!(suites.iter().all(|suite| suite.contains("_AES_") && suite.contains("_GCM_")), "{suites:?}");
    }
}
