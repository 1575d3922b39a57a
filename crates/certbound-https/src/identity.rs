//! The TLS identity of a client, and the proof that a server requested its certificate.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::{ResolvesClientCert, Resumption, WantsClientCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ConfigBuilder, HandshakeKind, SignatureScheme};

use crate::fips;

tokio::task_local! {
    /// The resolver sets this value when the server requests the client's certificate in the handshake of this task. All
    /// connections of an identity share the resolver, so the resolver cannot determine the connection. The task
    /// identifies the connection.
    static ASKED: Arc<OnceLock<Asked>>;
}

/// One TLS client. The servers that it trusts and the certificate that it presents never change.
#[derive(Clone)]
pub struct Identity {
    config: ClientConfig,
    presents: bool,
    signs_slowly: bool,
}

impl Identity {
    /// Returns an identity without a certificate.
    ///
    /// # Errors
    /// [`fips::refusal`] finds the reason: this build requires FIPS, and the configuration is not in FIPS mode.
    pub fn anonymous(builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> Result<Self, rustls::Error> {
        Self::new(builder.with_no_client_auth(), false)
    }

    /// Returns an identity that presents the certificate of `key` to every server. A connection to a server that does
    /// not request the certificate fails.
    ///
    /// # Errors
    /// The errors of [`Identity::anonymous`].
    pub fn presenting(
        builder: ConfigBuilder<ClientConfig, WantsClientCert>,
        key: Arc<CertifiedKey>,
    ) -> Result<Self, rustls::Error> {
        Self::new(builder.with_client_cert_resolver(Arc::new(Presents(key))), true)
    }

    fn new(mut config: ClientConfig, presents: bool) -> Result<Self, rustls::Error> {
        fips::client(&config)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config, presents, signs_slowly: false })
    }

    /// Performs handshakes on threads for blocking work, because a signature of the key blocks: the key is in a vault
    /// or a device. By default the tasks of the runtime perform them.
    pub fn signing_slowly(mut self) -> Self {
        self.signs_slowly = true;
        self
    }

    /// Disables session resumption. On each connection the server then presents its certificate and requests the
    /// client's certificate.
    pub fn without_sessions(mut self) -> Self {
        self.config.resumption = Resumption::disabled();
        self
    }

    /// Offers HTTP/2 in addition to HTTP/1.1. The server chooses.
    pub fn with_http2(mut self) -> Self {
        self.config.alpn_protocols.insert(0, b"h2".to_vec());
        self
    }

    pub(crate) fn into_handshakes(self) -> Handshakes {
        Handshakes {
            config: Arc::new(self.config),
            presents: self.presents,
            signs_slowly: self.signs_slowly,
            known_hosts: Mutex::default(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("presents", &self.presents).finish_non_exhaustive()
    }
}

/// The handshakes of one identity.
pub(crate) struct Handshakes {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) presents: bool,
    pub(crate) signs_slowly: bool,
    /// Hosts to which the certificate was presented in their last full handshake. The most recent host is last. In a
    /// resumed session the certificate counts as presented only if the host is in this list.
    known_hosts: Mutex<VecDeque<Box<str>>>,
}

/// The maximum number of hosts in the list. rustls keeps sessions of only 32 hosts, so older entries are not needed.
const MAX_HOSTS: usize = 256;

impl Handshakes {
    /// Returns whether the server knows the client's certificate. `presented` is the result of this handshake. In a
    /// resumed handshake the server does not request the certificate again, so the result of the earlier full handshake
    /// is returned.
    pub(crate) fn knows(&self, host: &str, presented: bool, kind: Option<HandshakeKind>) -> bool {
        let mut hosts = self.known_hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if kind == Some(HandshakeKind::Resumed) {
            return hosts.iter().any(|known| **known == *host);
        }
        hosts.retain(|known| **known != *host);
        if presented {
            hosts.push_back(host.into());
            if hosts.len() > MAX_HOSTS {
                hosts.pop_front();
            }
        }
        presented
    }
}

/// The reaction to a server's request for the client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The server accepts no signature scheme of the key. No certificate was presented.
    WithoutScheme,
    /// The certificate was presented.
    Presented,
}

/// Runs a handshake. Returns its result, and the reaction to the server's request for a certificate, if the server sent
/// this request.
pub(crate) async fn watching<T>(handshake: impl Future<Output = T>) -> (T, Option<Asked>) {
    let asked = Arc::new(OnceLock::new());
    let result = ASKED.scope(Arc::clone(&asked), handshake).await;
    (result, asked.get().copied())
}

/// Presents the same certificate to every server. The issuers in a server's request are ignored, because a bound token
/// needs this certificate.
struct Presents(Arc<CertifiedKey>);

impl ResolvesClientCert for Presents {
    fn resolve(&self, _issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // If the key supports no signature scheme of the server, rustls sends no certificate.
        let has_scheme = self.0.key.choose_scheme(schemes).is_some();
        let reaction = if has_scheme { Asked::Presented } else { Asked::WithoutScheme };
        // A handshake has one request for a certificate.
        let _ = ASKED.try_with(|asked| asked.set(reaction));
        has_scheme.then(|| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Presents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presents(client certificate)")
    }
}

#[cfg(test)]
mod tests {
    use certbound_core::fips::IS_REQUIRED;

    use super::*;

    fn builder() -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        builder.unwrap().with_root_certificates(rustls::RootCertStore::empty())
    }

    /// FIPS requires the extended master secret in TLS 1.2. A configuration without this requirement is not in FIPS
    /// mode, even if its cryptography is in FIPS mode.
    #[test]
    fn a_configuration_without_fips_is_refused_if_the_build_requires_fips() {
        assert!(Identity::anonymous(builder()).is_ok());
        let mut config = builder().with_no_client_auth();
        assert_eq!(config.fips(), IS_REQUIRED);
        config.require_ems = false;
        let refused = Identity::new(config, false).err();
        assert_eq!(refused.as_ref().and_then(fips::refusal).is_some(), IS_REQUIRED, "{refused:?}");
    }

    #[test]
    fn hosts_that_asked_last_are_remembered() {
        let handshakes = Identity::anonymous(builder()).unwrap().into_handshakes();
        let host = |number: usize| format!("{number}.example");
        let full = Some(HandshakeKind::Full);
        let resumed = |host: &str| handshakes.knows(host, false, Some(HandshakeKind::Resumed));
        for number in 0..MAX_HOSTS + 10 {
            assert!(handshakes.knows(&host(number), true, full));
            assert!(resumed(&host(number)) && !resumed("other.example"));
            assert!(handshakes.knows(&host(0), true, full), "the one that comes again and again");
        }
        assert!(resumed(&host(0)) && !resumed(&host(1)));
        assert!(!handshakes.knows(&host(0), false, full), "and that asks no more");
        assert!(!resumed(&host(0)));
    }
}
