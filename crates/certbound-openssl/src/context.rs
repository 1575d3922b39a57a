//! The TLS settings: the settings that all connections of a transport share, and the settings of one connection.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use certbound::BindingCertificate;
use certbound::certificate::PrivateKey;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::pkey::PKey;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslContextRef, SslMethod, SslMode, SslOptions, SslSessionCacheMode,
    SslVersion,
};
use openssl::x509::X509;
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags};

use crate::verified::Verified;

/// The cipher suites. They are the suites of rustls for TLS 1.2, with forward secrecy and authenticated encryption.
const SUITES: &str = "ECDHE+AESGCM:ECDHE+CHACHA20";

/// The lowest allowed security level of OpenSSL: RSA keys have at least 2048 bits, and signatures do not use SHA-1.
const LEAST_LEVEL: u32 = 2;

/// The index of the counter in the application data of a connection.
static COUNTER: LazyLock<Result<Index<Ssl, Handshakes>, ErrorStack>> = LazyLock::new(Ssl::new_ex_index);

/// The number of handshakes that this side has finished on one connection. A renegotiation is a handshake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshakes(Arc<AtomicUsize>);

impl Handshakes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Gives `ssl` a new counter, and returns the counter. The context of `ssl` must be from [`tls12`].
    fn of(ssl: &mut Ssl) -> Result<Self, ErrorStack> {
        let counter = Self::default();
        ssl.set_ex_data(COUNTER.clone()?, counter.clone());
        Ok(counter)
    }

    /// Counts the handshakes of each connection of `context`. OpenSSL calls this hook once in each handshake, when this
    /// side sends its Finished message. The safe interface has no other hook for this. The hook ignores the line with
    /// the session's secret.
    fn count_all(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        let place = COUNTER.clone()?;
        context.set_keylog_callback(move |ssl, _| {
            if let Some(counter) = ssl.ex_data(place) {
                counter.0.fetch_add(1, Ordering::AcqRel);
            }
        });
        Ok(())
    }
}

/// Returns a context for TLS 1.2 alone, without sessions: in a resumed session the server would not request the
/// certificate. Its connections count their handshakes.
pub(crate) fn tls12(method: SslMethod) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContext::builder(method)?;
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_max_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_options(SslOptions::NO_TICKET | SslOptions::NO_COMPRESSION);
    without_legacy_renegotiation(&mut context);
    // tokio can repeat an unfinished write with a different buffer, or with more bytes.
    context
        .set_mode(SslMode::AUTO_RETRY | SslMode::ACCEPT_MOVING_WRITE_BUFFER | SslMode::ENABLE_PARTIAL_WRITE);
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_cipher_list(SUITES)?;
    Handshakes::count_all(&mut context)?;
    Ok(context)
}

/// Removes the options by which the system's configuration of OpenSSL can allow a renegotiation without a binding to
/// the first handshake (RFC 5746). Without that binding, a third party can put its own request before the client's
/// request.
fn without_legacy_renegotiation(context: &mut SslContextBuilder) {
    let legacy_server = SslOptions::from_bits_retain(openssl_sys::SSL_OP_LEGACY_SERVER_CONNECT);
    context.clear_options(SslOptions::ALLOW_UNSAFE_LEGACY_RENEGOTIATION | legacy_server);
}

/// Returns the TLS of one connection and its counter. The security level is at least [`LEAST_LEVEL`]. The system's
/// configuration of OpenSSL can only raise the level.
pub(crate) fn connection(context: &SslContextRef) -> Result<(Ssl, Handshakes), ErrorStack> {
    let mut ssl = Ssl::new(context)?;
    let level = ssl.security_level().max(LEAST_LEVEL);
    ssl.set_security_level(level);
    let handshakes = Handshakes::of(&mut ssl)?;
    Ok((ssl, handshakes))
}

/// The client of one connection.
pub(crate) struct Client {
    pub(crate) ssl: Ssl,
    pub(crate) handshakes: Handshakes,
    pub(crate) verified: Verified,
}

/// The settings and the trusted roots that all connections of a transport share. The context has neither a certificate
/// nor a key.
#[derive(Clone)]
pub(crate) struct ClientContext(SslContext);

impl ClientContext {
    /// Reads the trusted roots.
    ///
    /// `roots` are the only trusted roots, in PEM. If `roots` is `None`, OpenSSL uses its default store. The
    /// environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` can replace this store.
    pub(crate) fn new(roots: Option<&[u8]>) -> Result<Self, ErrorStack> {
        let mut context = tls12(SslMethod::tls_client())?;
        context.set_alpn_protos(b"\x08http/1.1")?;
        match roots {
            Some(pem) => {
                for root in X509::stack_from_pem(pem)? {
                    context.cert_store_mut().add_cert(root)?;
                }
            }
            None => context.set_default_verify_paths()?,
        }
        Ok(Self(context.build()))
    }

    /// Returns the client for one connection to `host`. The client presents `binding`.
    ///
    /// Each connection gets its own copy of the key. OpenSSL erases the copy when the connection ends, so no copy
    /// outlives its connection.
    pub(crate) fn client(
        &self,
        host: &str,
        (binding, key): (&BindingCertificate, &PrivateKey),
    ) -> Result<Client, ErrorStack> {
        let (mut ssl, handshakes) = connection(&self.0)?;
        let verified = Verified::of(&mut ssl, host);
        let mut chain = binding.chain().ders().iter();
        if let Some(leaf) = chain.next() {
            ssl.set_certificate(&*X509::from_der(leaf)?)?;
        }
        for issuer in chain {
            ssl.add_chain_cert(X509::from_der(issuer)?)?;
        }
        // OpenSSL refuses a key that is not the key of the certificate.
        ssl.set_private_key(&*PKey::private_key_from_der(key.dangerous_der())?)?;
        let names = ssl.param_mut();
        // rustls does not read a host name from the subject either.
        names.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS | X509CheckFlags::NEVER_CHECK_SUBJECT);
        // A trusted certificate ends the chain, also if it is not self-signed, as in rustls.
        names.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        match host.parse::<IpAddr>() {
            Ok(address) => names.set_ip(address)?,
            Err(_) => {
                names.set_host(host)?;
                ssl.set_hostname(host)?;
            }
        }
        Ok(Client { ssl, handshakes, verified })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of these options are `UnsafeLegacyRenegotiation` and `UnsafeLegacyServerConnect` in `openssl.cnf`.
    #[test]
    fn the_configuration_of_the_system_cannot_allow_legacy_renegotiation() {
        let legacy = SslOptions::from_bits_retain(
            openssl_sys::SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION | openssl_sys::SSL_OP_LEGACY_SERVER_CONNECT,
        );
        let mut context = tls12(SslMethod::tls_client()).unwrap();
        assert!(!context.options().intersects(legacy));
        context.set_options(legacy);
        without_legacy_renegotiation(&mut context);
        assert!(!context.options().intersects(legacy) && context.options().contains(SslOptions::NO_TICKET));
    }

    #[test]
    fn the_configuration_of_the_system_can_only_raise_the_security_level() {
        for (configured, expected) in [(0, 2), (1, 2), (2, 2), (3, 3)] {
            let mut context = tls12(SslMethod::tls_client()).unwrap();
            context.set_security_level(configured);
            assert_eq!(connection(&context.build()).unwrap().0.security_level(), expected, "{configured}");
        }
    }
}
