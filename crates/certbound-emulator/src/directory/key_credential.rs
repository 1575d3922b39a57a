//! A registered certificate of an application: the `keyCredential` of Graph.

use certbound_core::certificate::CertificateChain;
use certbound_core::time::UnixTime;

use super::derived;

/// A registered certificate. The token service accepts assertions that its key signed, from `start` to `end`.
#[derive(Clone, Debug)]
pub(crate) struct KeyCredential {
    pub(crate) id: String,
    /// The `customKeyIdentifier` of Graph. Its default is the SHA-1 thumbprint of the certificate.
    pub(crate) custom_identifier: Vec<u8>,
    pub(crate) display_name: Option<String>,
    pub(crate) start: UnixTime,
    pub(crate) end: UnixTime,
    chain: CertificateChain,
}

impl KeyCredential {
    /// Reads a certificate. The credential is valid as long as the certificate. Returns `None` if the DER cannot be
    /// read.
    pub(crate) fn new(id: String, der: Vec<u8>) -> Option<Self> {
        let chain = CertificateChain::from_der(vec![der]).ok()?;
        Some(Self {
            id,
            custom_identifier: chain.sha1().to_vec(),
            display_name: Some(chain.subject().to_owned()),
            start: chain.not_before(),
            end: chain.not_after(),
            chain,
        })
    }

    /// Reads a certificate that the world registers. Its id depends only on the certificate and the application.
    pub(super) fn of_world(application: &str, der: Vec<u8>) -> Option<Self> {
        let mut credential = Self::new(String::new(), der)?;
        credential.id = derived("keyCredential", &[application, &credential.chain.thumbprint().x5t_s256()]);
        Some(credential)
    }

    pub(crate) fn certificate(&self) -> &CertificateChain {
        &self.chain
    }
}
