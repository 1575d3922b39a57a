//! The emulator's certificate authority: made anew each time, in memory, good for its own host names for seven days.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use certbound_core::time::UnixTime;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_RSA_SHA256, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::seed::KeySource;
use crate::error::EmulatorError;

/// How long the authority and, unless told otherwise, what it issues are valid.
pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How far back validity begins, for peers whose clock is behind.
pub(crate) const BACKDATED: Duration = Duration::from_secs(60 * 60);
/// The end of the year 9999, the last that X.509 can write.
const LAST_SECOND: u64 = 253_402_300_799;

/// What a client certificate shall be.
#[derive(Clone, Debug)]
pub struct IssueOptions {
    /// The common name; the whole subject is `CN=` and this.
    pub subject_cn: String,
    /// The key.
    pub key: KeyKind,
    /// Valid from; `None` for an hour before the authority was made.
    pub not_before: Option<UnixTime>,
    /// Valid until; `None` for seven days after the authority was made.
    pub not_after: Option<UnixTime>,
}

impl IssueOptions {
    /// A P-256 certificate with this common name and the default dates.
    pub fn new(subject_cn: impl Into<String>) -> Self {
        Self { subject_cn: subject_cn.into(), key: KeyKind::P256, not_before: None, not_after: None }
    }

    /// With another key.
    #[must_use]
    pub fn with_key(self, key: KeyKind) -> Self {
        Self { key, ..self }
    }

    /// With these dates.
    #[must_use]
    pub fn valid(self, not_before: UnixTime, not_after: UnixTime) -> Self {
        Self { not_before: Some(not_before), not_after: Some(not_after), ..self }
    }
}

/// The key of a client certificate.
#[derive(Clone)]
pub enum KeyKind {
    /// A new 2048-bit RSA key; takes a tenth of a second to make.
    Rsa2048,
    /// A new elliptic-curve key on P-256.
    P256,
    /// This key, PKCS#8 PEM: a renewed certificate is another certificate, and so another binding.
    Existing(String),
}

impl fmt::Debug for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa2048 => "Rsa2048",
            Self::P256 => "P256",
            Self::Existing(_) => "Existing(..)",
        })
    }
}

/// A client certificate with its key.
#[derive(Clone)]
pub struct ClientIdentity {
    /// The chain, PEM, leaf first, the authority's certificate included unless self-signed.
    pub certificate_pem: String,
    /// The key, PKCS#8 PEM.
    pub key_pem: String,
    /// The same chain, DER.
    pub chain_der: Vec<Vec<u8>>,
}

impl ClientIdentity {
    /// The leaf certificate, DER.
    pub fn leaf_der(&self) -> &[u8] {
        self.chain_der.first().map_or(&[], Vec::as_slice)
    }

    /// Chain and key in one PEM text.
    pub fn bundle_pem(&self) -> String {
        format!("{}{}", self.certificate_pem, self.key_pem)
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("certificates", &self.chain_der.len()).finish_non_exhaustive()
    }
}

/// Signs host certificates for the emulated hosts, and client certificates.
pub(crate) struct CertificateAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pem: String,
    host_key: KeyPair,
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

impl CertificateAuthority {
    /// An authority that can vouch for `domains` and what is below them, and for nothing else.
    pub(crate) fn new(
        domains: &[String],
        now: UnixTime,
        keys: &mut KeySource,
    ) -> Result<Self, EmulatorError> {
        let (not_before, not_after) = (now.minus(BACKDATED), now.plus(LIFETIME));
        let mut params = params("certbound emulator, for tests only", not_before, not_after);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: domains.iter().cloned().map(GeneralSubtree::DnsName).collect(),
            excluded_subtrees: vec![
                GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(Ipv4Addr::UNSPECIFIED.octets(), 0)),
                GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(Ipv6Addr::UNSPECIFIED.octets(), 0)),
            ],
        });
        let issuer = CertifiedIssuer::self_signed(params, keys.any()?)?;
        let pem = issuer.pem();
        Ok(Self { issuer, pem, host_key: keys.any()?, not_before, not_after })
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        self.issuer.der()
    }

    /// A certificate for `host`, with its key. The caller has checked that the host is emulated, and caches.
    pub(crate) fn host_certificate(
        &self,
        host: &str,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), EmulatorError> {
        let mut params = params("certbound emulator host", self.not_before, self.not_after);
        params.subject_alt_names = vec![SanType::DnsName(host.to_owned().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&self.host_key, &self.issuer)?;
        let key = PrivatePkcs8KeyDer::from(self.host_key.serialized_der().to_vec());
        Ok((vec![leaf.der().clone()], key.into()))
    }

    /// A client certificate, signed by this authority.
    pub(crate) fn issue(&self, options: &IssueOptions) -> Result<ClientIdentity, EmulatorError> {
        let key = key(&options.key)?;
        let mut params = self.client_params(options);
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok(ClientIdentity {
            certificate_pem: format!("{}{}", leaf.pem(), self.pem),
            key_pem: key.serialize_pem(),
            chain_der: vec![leaf.der().to_vec(), self.der().to_vec()],
        })
    }

    /// A client certificate signed by its own key: nobody vouches for it.
    pub(crate) fn self_signed(&self, options: &IssueOptions) -> Result<ClientIdentity, EmulatorError> {
        let key = key(&options.key)?;
        let leaf = self.client_params(options).self_signed(&key)?;
        Ok(ClientIdentity {
            certificate_pem: leaf.pem(),
            key_pem: key.serialize_pem(),
            chain_der: vec![leaf.der().to_vec()],
        })
    }

    fn client_params(&self, options: &IssueOptions) -> CertificateParams {
        let not_before = options.not_before.unwrap_or(self.not_before);
        let not_after = options.not_after.unwrap_or(self.not_after);
        let mut params = params(&options.subject_cn, not_before, not_after);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params
    }
}

pub(crate) fn params(common_name: &str, not_before: UnixTime, not_after: UnixTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(not_before.as_secs().min(LAST_SECOND));
    params.not_after = epoch + Duration::from_secs(not_after.as_secs().min(LAST_SECOND));
    params.serial_number = Some(serial().into());
    params
}

/// Random: two certificates of one subject and one key must not be the same certificate.
fn serial() -> Vec<u8> {
    let mut bytes = uuid::Uuid::new_v4().into_bytes();
    bytes[0] &= 0x7f;
    bytes[0] |= 0x40;
    bytes.to_vec()
}

fn key(kind: &KeyKind) -> Result<KeyPair, EmulatorError> {
    Ok(match kind {
        KeyKind::Rsa2048 => KeyPair::generate_for(&PKCS_RSA_SHA256)?,
        KeyKind::P256 => KeyPair::generate()?,
        KeyKind::Existing(pem) => KeyPair::from_pem(pem)?,
    })
}

/// A self-signed certificate for a token signing key, to stand in the `x5c` of the published key.
pub(crate) fn for_token_key(key: &KeyPair, now: UnixTime) -> Result<Vec<u8>, EmulatorError> {
    let params = params("certbound emulator token signing", now.minus(BACKDATED), now.plus(LIFETIME));
    Ok(params.self_signed(key)?.der().to_vec())
}
