//! The certificate of Service Fabric's endpoint. It is self-signed, and clients know it by its thumbprint.

use std::net::Ipv4Addr;

use certbound_core::managed_identity::ServerThumbprint;
use certbound_core::time::UnixTime;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::ca::{self, BACKDATED};
use crate::error::EmulatorError;

/// The certificate of the endpoint with its key. It exists only in memory.
pub(crate) struct FabricCertificate {
    der: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl FabricCertificate {
    pub(crate) fn new(now: UnixTime) -> Result<Self, EmulatorError> {
        let key = KeyPair::generate()?;
        let until = now.plus(ca::LIFETIME);
        let mut params = ca::params("certbound emulator node", now.minus(BACKDATED), until);
        params.subject_alt_names = vec![
            SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
            SanType::DnsName("localhost".to_owned().try_into()?),
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(&key)?;
        Ok(Self { der: certificate.der().clone(), pem: certificate.pem(), key })
    }

    pub(crate) fn thumbprint(&self) -> ServerThumbprint {
        ServerThumbprint::of_der(&self.der)
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn for_tls(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivatePkcs8KeyDer::from(self.key.serialized_der().to_vec());
        (vec![self.der.clone()], key.into())
    }
}
