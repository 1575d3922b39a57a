//! The authority that issues the certificates of a machine, and its records of these certificates.

use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

use super::ca::{self, BACKDATED};
use super::public_key::RequestedKey;
use super::seed::KeySource;
use crate::error::EmulatorError;

/// The lifetime of a certificate, as in the real service.
pub(crate) const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);
const NAME: &str = "managedidentitysnissuer.login.microsoft.com";
/// The maximum number of records.
const MAX_ISSUED: u64 = 10_000;
/// `DC` (RFC 4519, section 2.4).
const DOMAIN_COMPONENT: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 25];

/// An authority that issues certificates, and keeps at most [`MAX_ISSUED`] records of them. The authority evicts the
/// least recently used record first, and does not recognize a certificate without a record.
pub(crate) struct MachineAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    issued: Cache<Thumbprint, Issued>,
}

/// The record of an issued certificate.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    /// The client id of the identity.
    pub(crate) client_id: String,
    /// The AADSTS number of a wrong attestation of the key. The token service refuses the certificate with this number.
    pub(crate) attestation_fault: Option<u32>,
}

impl MachineAuthority {
    pub(crate) fn new(now: UnixTime, keys: &mut KeySource) -> Result<Self, EmulatorError> {
        let mut params = ca::params(NAME, now.minus(BACKDATED), now.plus(AUTHORITY_LIFETIME));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, keys.any()?)?, issued: remembered() })
    }

    /// Issues a certificate (DER) to an identity. `public_key` is the DER of a `SubjectPublicKeyInfo`.
    pub(crate) fn issue(
        &self,
        tenant: &str,
        public_key: &[u8],
        (from, until): (UnixTime, UnixTime),
        issued: Issued,
    ) -> Result<Vec<u8>, EmulatorError> {
        let key = RequestedKey::from_der(public_key)?;
        let mut params: CertificateParams = ca::params("", from, until);
        params.distinguished_name = DistinguishedName::new();
        let domain = DnValue::Ia5String(tenant.try_into()?);
        params.distinguished_name.push(DnType::CustomDnType(DOMAIN_COMPONENT.to_vec()), domain);
        params.distinguished_name.push(DnType::CommonName, issued.client_id.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let der = params.signed_by(&key, &self.issuer)?.der().to_vec();
        self.issued.insert(Thumbprint::of_der(&der), issued);
        Ok(der)
    }

    /// Returns the record of a certificate, if this authority issued the certificate and has not evicted the record.
    pub(crate) fn known(&self, thumbprint: Thumbprint) -> Option<Issued> {
        self.issued.get(&thumbprint)
    }
}

fn remembered() -> Cache<Thumbprint, Issued> {
    Cache::builder().max_capacity(MAX_ISSUED).eviction_policy(EvictionPolicy::lru()).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_ones_are_remembered() {
        let remembered = remembered();
        let of = |n: u64| Thumbprint::of_der(&n.to_be_bytes());
        for n in 0..=MAX_ISSUED {
            remembered.insert(of(n), Issued { client_id: n.to_string(), attestation_fault: None });
        }
        remembered.run_pending_tasks();
        assert_eq!(remembered.entry_count(), MAX_ISSUED);
        assert!(!remembered.contains_key(&of(0)));
        assert!(remembered.contains_key(&of(1)) && remembered.contains_key(&of(MAX_ISSUED)));
    }
}
