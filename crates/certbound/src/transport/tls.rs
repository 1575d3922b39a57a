//! TLS identities: one client configuration for each binding and use, and the proof that the certificate was asked for.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use certbound_core::certificate::Thumbprint;
use certbound_core::managed_identity::ServerThumbprint;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SignatureScheme};

use super::pinned::OnlyPinned;
use crate::certificate::Binding;
use crate::crypto::provider;
use crate::error::NetworkError;

tokio::task_local! {
    /// Set by the resolver when the handshake that this task drives asks for the client's certificate. A resolver
    /// shared by all connections of a binding cannot tell on which of them it was asked; the task can.
    static ASKED: Arc<AtomicBool>;
}

/// How the certificate of a server is judged.
#[derive(Clone)]
pub(super) enum ServerTrust {
    Roots(Arc<RootCertStore>),
    Platform(Arc<rustls_platform_verifier::Verifier>),
    /// One certificate, and no authority beside it.
    Pinned(ServerThumbprint),
}

impl ServerTrust {
    pub(super) fn new(roots: Option<RootCertStore>) -> Result<Self, NetworkError> {
        match roots {
            Some(roots) => Ok(Self::Roots(Arc::new(roots))),
            None => rustls_platform_verifier::Verifier::new(Arc::clone(provider()))
                .map(|verifier| Self::Platform(Arc::new(verifier)))
                .map_err(|error| NetworkError::TrustStore { reason: error.to_string() }),
        }
    }

    /// The one place where the TLS client is configured.
    fn config(&self, identity: Option<&Binding>, keep_sessions: bool) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()?;
        let builder = match self {
            Self::Roots(roots) => builder.with_root_certificates(Arc::clone(roots)),
            Self::Platform(verifier) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::clone(verifier) as _)
            }
            Self::Pinned(pin) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(OnlyPinned::new(*pin)))
            }
        };
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(binding) => builder.with_client_cert_resolver(Arc::new(Presents(Arc::clone(
                binding.certificate().certified_key(),
            )))),
        };
        if !keep_sessions {
            config.resumption = Resumption::disabled();
        }
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl fmt::Debug for ServerTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Roots(_) => "ServerTrust(own roots)",
            Self::Platform(_) => "ServerTrust(system)",
            Self::Pinned(_) => "ServerTrust(pin)",
        })
    }
}

/// A TLS client with one identity for good.
#[derive(Clone)]
pub(super) struct TlsIdentity {
    pub(super) config: Arc<ClientConfig>,
    /// By name only: the connections of a binding must not keep it.
    pub(super) presents: Option<Thumbprint>,
    /// Hosts whose last full handshake asked for the certificate, the latest at the end: a resumed session counts only for
    /// these.
    asking_hosts: Arc<Mutex<VecDeque<Box<str>>>>,
}

impl TlsIdentity {
    pub(super) fn new(
        trust: &ServerTrust,
        binding: Option<&Binding>,
        keep_sessions: bool,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            config: Arc::new(trust.config(binding, keep_sessions)?),
            presents: binding.map(Binding::thumbprint),
            asking_hosts: Arc::default(),
        })
    }

    /// Whether the handshake showed that the server asked for our certificate.
    pub(super) fn was_asked(&self, host: &str, asked: bool, kind: Option<HandshakeKind>) -> bool {
        let mut hosts = self.asking_hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if kind == Some(HandshakeKind::Resumed) {
            return hosts.iter().any(|known| **known == *host);
        }
        hosts.retain(|known| **known != *host);
        if asked {
            hosts.push_back(host.into());
            if hosts.len() > MAX_HOSTS {
                hosts.pop_front();
            }
        }
        asked
    }
}

/// Sessions are kept of the latest 32 hosts, so nothing is lost by forgetting those before these.
const MAX_HOSTS: usize = 256;

/// Runs a handshake and tells whether the server asked for a certificate.
pub(super) async fn watching<T>(handshake: impl Future<Output = T>) -> (T, bool) {
    let asked = Arc::new(AtomicBool::new(false));
    let result = ASKED.scope(Arc::clone(&asked), handshake).await;
    (result, asked.load(Ordering::Acquire))
}

/// Presents the same certificate whoever asks: which issuers a server names does not matter for a binding.
struct Presents(Arc<CertifiedKey>);

impl ResolvesClientCert for Presents {
    fn resolve(&self, _issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // A certificate that cannot sign for this server would not be sent, so it must not count as asked for.
        self.0.key.choose_scheme(schemes)?;
        let _ = ASKED.try_with(|asked| asked.store(true, Ordering::Release));
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Presents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presents(binding certificate)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_asked_last_are_remembered() {
        let identity = TlsIdentity::new(&ServerTrust::new(None).unwrap(), None, true).unwrap();
        let host = |number: usize| format!("{number}.example");
        let full = Some(HandshakeKind::Full);
        let resumed = |host: &str| identity.was_asked(host, false, Some(HandshakeKind::Resumed));
        for number in 0..MAX_HOSTS + 10 {
            assert!(identity.was_asked(&host(number), true, full));
            assert!(resumed(&host(number)) && !resumed("other.example"));
            assert!(identity.was_asked(&host(0), true, full), "the one that comes again and again");
        }
        assert!(resumed(&host(0)) && !resumed(&host(1)));
        assert!(!identity.was_asked(&host(0), false, full), "and that asks no more");
        assert!(!resumed(&host(0)));
    }
}
