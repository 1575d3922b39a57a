//! The certificate of Service Fabric's endpoint. It is self-signed, and clients recognize it by its thumbprint.

use std::net::Ipv4Addr;

use certbound_core::time::UnixTime;
use rcgen::{CertifiedKey, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};

use super::ca::{self, BACKDATED};
use crate::error::EmulatorError;

/// Makes a certificate with a new key. The certificate and the key exist only in memory.
pub(crate) fn certificate(now: UnixTime) -> Result<CertifiedKey<KeyPair>, EmulatorError> {
    let signing_key = KeyPair::generate()?;
    let until = now.plus(ca::LIFETIME);
    let mut params = ca::params("certbound emulator node", now.minus(BACKDATED), until);
    params.subject_alt_names = vec![
        SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        SanType::DnsName("localhost".to_owned().try_into()?),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(CertifiedKey { cert: params.self_signed(&signing_key)?, signing_key })
}
