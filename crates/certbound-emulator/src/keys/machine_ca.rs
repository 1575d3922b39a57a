//! The authority that issues the certificates of a machine, and its records of them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData,
    SignatureAlgorithm,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::ca::{self, BACKDATED};
use super::seed::KeySource;
use crate::error::EmulatorError;

/// The lifetime of a certificate, as in the real service.
pub(crate) const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);
const NAME: &str = "managedidentitysnissuer.login.microsoft.com";
/// The maximum number of certificates that are remembered.
const MAX_ISSUED: usize = 10_000;
/// `DC` (RFC 4519, section 2.4).
const DOMAIN_COMPONENT: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 25];

/// Issues certificates and remembers them.
pub(crate) struct MachineAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    issued: Mutex<Remembered>,
}

/// The last [`MAX_ISSUED`] certificates. A certificate that was forgotten counts as unknown.
#[derive(Default)]
struct Remembered {
    by_thumbprint: HashMap<Thumbprint, Issued>,
    oldest_first: VecDeque<Thumbprint>,
}

impl Remembered {
    fn add(&mut self, thumbprint: Thumbprint, issued: Issued) {
        if self.by_thumbprint.insert(thumbprint, issued).is_none() {
            self.oldest_first.push_back(thumbprint);
        }
        if self.oldest_first.len() > MAX_ISSUED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_thumbprint.remove(&oldest);
        }
    }
}

/// The record of an issued certificate.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    /// The client id of the identity.
    pub(crate) client_id: String,
    /// The AADSTS number by which the token service refuses the certificate because of its attestation, if the
    /// attestation is wrong.
    pub(crate) attestation_fault: Option<u32>,
}

impl MachineAuthority {
    pub(crate) fn new(now: UnixTime, keys: &mut KeySource) -> Result<Self, EmulatorError> {
        let mut params = ca::params(NAME, now.minus(BACKDATED), now.plus(AUTHORITY_LIFETIME));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, keys.any()?)?, issued: Mutex::default() })
    }

    /// Issues a certificate (DER) for an identity's RSA key, which is given as the DER of a `SubjectPublicKeyInfo`.
    pub(crate) fn issue(
        &self,
        tenant: &str,
        public_key: &[u8],
        (from, until): (UnixTime, UnixTime),
        issued: Issued,
    ) -> Result<Vec<u8>, EmulatorError> {
        let (_, key) = SubjectPublicKeyInfo::from_der(public_key).map_err(EmulatorError::key_material)?;
        let key = RsaPublicKey(&key.subject_public_key.data);
        let mut params: CertificateParams = ca::params("", from, until);
        params.distinguished_name = DistinguishedName::new();
        let domain = DnValue::Ia5String(tenant.try_into()?);
        params.distinguished_name.push(DnType::CustomDnType(DOMAIN_COMPONENT.to_vec()), domain);
        params.distinguished_name.push(DnType::CommonName, issued.client_id.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let der = params.signed_by(&key, &self.issuer)?.der().to_vec();
        self.remembered().add(Thumbprint::of_der(&der), issued);
        Ok(der)
    }

    /// Returns the record of a certificate, if this authority issued it.
    pub(crate) fn known(&self, thumbprint: Thumbprint) -> Option<Issued> {
        self.remembered().by_thumbprint.get(&thumbprint).cloned()
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The `RSAPublicKey` of a request (RFC 8017, appendix A.1.1). rcgen's own parser of keys would add a second version of
/// a dependency.
struct RsaPublicKey<'a>(&'a [u8]);

impl PublicKeyData for RsaPublicKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_ones_are_remembered() {
        let mut remembered = Remembered::default();
        let of = |n: usize| Thumbprint::of_der(&n.to_be_bytes());
        for n in 0..=MAX_ISSUED {
            remembered.add(of(n), Issued { client_id: n.to_string(), attestation_fault: None });
        }
        assert_eq!((remembered.by_thumbprint.len(), remembered.oldest_first.len()), (MAX_ISSUED, MAX_ISSUED));
        assert!(!remembered.by_thumbprint.contains_key(&of(0)));
        assert!(remembered.by_thumbprint.contains_key(&of(1)));
    }
}
