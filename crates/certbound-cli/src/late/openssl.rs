//! A build with OpenSSL: calls of vaults, and emulated vaults that request the certificate late.

use std::sync::Arc;

use certbound::error::NetworkError;
use certbound::{BindingCertificate, Network};
use certbound_emulator::serve::{BoxedIo, LateAccepting, LateClient, LateConnection, LateTls, Requesting};
use certbound_openssl::OpensslTransport;
use certbound_openssl::server;

/// The transport of calls of resources.
pub(crate) type CallTransport = OpensslTransport;

/// Returns the transport of `network` that uses OpenSSL for vaults.
pub(crate) fn transport(network: &Network) -> Result<CallTransport, NetworkError> {
    OpensslTransport::new(network)
}

/// Returns the name of the TLS library for requests with a bound token to `host`, if it is not the usual library.
pub(crate) fn library(transport: &CallTransport, host: &str) -> Option<&'static str> {
    transport.uses_openssl_for(host).then(OpensslTransport::library)
}

/// Does the same as [`library`] for requests with this certificate. Requests with a key that cannot be exported use the
/// usual library.
pub(crate) fn library_with(
    transport: &CallTransport,
    host: &str,
    certificate: &BindingCertificate,
) -> Option<&'static str> {
    library(transport, host).filter(|_| certificate.dangerous_private_key().is_some())
}

/// Returns a sentence that names the TLS library for requests to `host` with this certificate, and the reason. Returns
/// `None` for the usual library.
pub(crate) fn tell(
    transport: &CallTransport,
    host: &str,
    certificate: &BindingCertificate,
) -> Option<String> {
    let library = library_with(transport, host, certificate)?;
    Some(format!(
        "the connection to {host} uses {library} and not rustls, because a vault requests the certificate by a TLS 1.2 \
         renegotiation"
    ))
}

/// Returns the TLS of emulated vaults that request the certificate late.
pub(crate) fn emulated() -> Option<Arc<dyn LateTls>> {
    Some(Arc::new(Late))
}

#[derive(Debug)]
struct Late;

impl LateTls for Late {
    fn accept<'a>(&'a self, stream: BoxedIo, chain: &'a [Vec<u8>], key: &'a [u8]) -> LateAccepting<'a> {
        Box::pin(async move {
            let (stream, client) = server::LateAcceptor::new(chain, key)?.accept(stream).await?;
            Ok(LateConnection { stream: Box::new(stream), client: Arc::new(Client(client)) })
        })
    }
}

struct Client(server::LateClient<BoxedIo>);

impl LateClient for Client {
    fn server_name(&self) -> Option<String> {
        self.0.server_name()
    }

    fn request_certificate(&self) -> Requesting<'_> {
        Box::pin(self.0.request_certificate())
    }

    fn refuse_certificate(&self) -> Requesting<'_> {
        Box::pin(self.0.refuse_certificate())
    }
}

#[cfg(test)]
mod tests {
    use certbound::certificate::{SignatureScheme, Signer};
    use certbound::error::KeyError;
    use rcgen::{KeyPair, SigningKey as _};

    use super::*;

    const BUNDLE: &[u8] = include_bytes!("../../../../testdata/certificates/p256.bundle.pem");
    const CERTIFICATE: &[u8] = include_bytes!("../../../../testdata/certificates/p256.pem");
    const KEY: &str = include_str!("../../../../testdata/certificates/p256.pkcs8.pem");

    /// A key without exportable bytes.
    struct Device(KeyPair);

    impl Signer for Device {
        fn schemes(&self) -> &[SignatureScheme] {
            &[SignatureScheme::EcdsaP256Sha256]
        }

        fn sign(&self, _: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
            self.0.sign(message).map_err(KeyError::new)
        }
    }

    #[test]
    fn openssl_is_used_for_vaults_and_keys_that_can_be_exported() {
        let transport = transport(&Network::from_env().unwrap()).unwrap();
        let exportable = BindingCertificate::from_pem(BUNDLE).unwrap();
        let device = Device(KeyPair::from_pem(KEY).unwrap());
        let in_device = BindingCertificate::from_signer(CERTIFICATE, device).unwrap();
        let used = |host, certificate| library_with(&transport, host, certificate).is_some();
        assert!(used("demo.vault.azure.net", &exportable));
        assert!(!used("demo.vault.azure.net", &in_device));
        assert!(!used("graph.microsoft.com", &exportable));
        let told = |certificate| tell(&transport, "demo.vault.azure.net", certificate);
        assert!(told(&exportable).unwrap().contains("OpenSSL"));
        assert_eq!(told(&in_device), None);
    }
}
