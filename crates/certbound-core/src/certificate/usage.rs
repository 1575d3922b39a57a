//! The purposes for which a certificate may be used (RFC 5280, sections 4.2.1.3, 4.2.1.9 and 4.2.1.12).

use x509_parser::prelude::*;

/// The purposes that a certificate's extensions name. An absent extension restricts no purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertificateUsage {
    /// Whether the certificate may authenticate a TLS client. The value is `None` if the certificate has no extended
    /// key usage.
    pub client_authentication: Option<bool>,
    /// Whether the key may sign, which TLS needs. The value is `None` if the certificate has no key usage.
    pub digital_signature: Option<bool>,
    /// Whether the certificate is the certificate of a CA.
    pub is_ca: bool,
}

impl CertificateUsage {
    pub(super) fn of(leaf: &X509Certificate<'_>) -> Self {
        // An extension counts as absent if it occurs twice or cannot be parsed. The token service then decides about
        // the certificate.
        let extended = leaf.extended_key_usage().ok().flatten();
        let key = leaf.key_usage().ok().flatten();
        Self {
            client_authentication: extended.map(|usage| usage.value.client_auth || usage.value.any),
            digital_signature: key.map(|usage| usage.value.digital_signature()),
            is_ca: leaf.is_ca(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};

    use super::*;
    use crate::certificate::CertificateChain;

    #[test]
    fn an_absent_extension_restricts_nothing() {
        let usage = |extended: &[ExtendedKeyUsagePurpose], key: &[KeyUsagePurpose], is_ca| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.extended_key_usages = extended.to_vec();
            params.key_usages = key.to_vec();
            params.is_ca = is_ca;
            let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
            let CertificateUsage { client_authentication, digital_signature, is_ca } =
                CertificateChain::from_der(vec![der]).unwrap().usage();
            (client_authentication, digital_signature, is_ca)
        };
        use {ExtendedKeyUsagePurpose as Extended, KeyUsagePurpose as Key};
        assert_eq!(usage(&[], &[], IsCa::ExplicitNoCa), (None, None, false));
        let (client, server) = (Extended::ClientAuth, Extended::ServerAuth);
        assert_eq!(usage(std::slice::from_ref(&server), &[], IsCa::NoCa), (Some(false), None, false));
        assert_eq!(
            usage(&[server, client], &[Key::DigitalSignature], IsCa::NoCa),
            (Some(true), Some(true), false)
        );
        assert_eq!(
            usage(&[Extended::Any], &[Key::KeyAgreement], IsCa::NoCa),
            (Some(true), Some(false), false)
        );
        assert!(usage(&[], &[], IsCa::Ca(rcgen::BasicConstraints::Unconstrained)).2);
    }
}
