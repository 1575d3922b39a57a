//! The emulator's certificate authority. The authority exists only in memory. It is valid for seven days, and only for
//! the domains of the emulated hosts.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use certbound_core::time::UnixTime;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_RSA_SHA256, SanType,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::ServerCertificate;
use super::public_key::RequestedKey;
use super::seed::KeySource;
use crate::error::EmulatorError;

/// The lifetime of the authority, and the default lifetime of the certificates that it issues.
pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The time by which the start of a certificate's validity precedes its issue. A peer's clock may be slow.
pub(crate) const BACKDATED: Duration = Duration::from_secs(60 * 60);
/// The last second of the year 9999, the latest time that X.509 can express.
const LAST_SECOND: u64 = 253_402_300_799;

/// The properties of a new client certificate.
#[derive(Clone, Debug)]
pub struct IssueOptions {
    /// The common name. The whole subject is `CN=` and this name.
    pub subject_cn: String,
    /// The key.
    pub key: KeyKind,
    /// The start of the validity; `None` means one hour before the authority was made.
    pub not_before: Option<UnixTime>,
    /// The end of the validity; `None` means seven days after the authority was made.
    pub not_after: Option<UnixTime>,
    /// The serial number; `None` means a random number.
    pub serial: Option<u64>,
}

impl IssueOptions {
    /// Returns options for a P-256 certificate with this common name and the default dates.
    pub fn new(subject_cn: impl Into<String>) -> Self {
        let subject_cn = subject_cn.into();
        Self { subject_cn, key: KeyKind::P256, not_before: None, not_after: None, serial: None }
    }

    /// Sets the key.
    #[must_use]
    pub fn with_key(self, key: KeyKind) -> Self {
        Self { key, ..self }
    }

    /// Sets the dates.
    #[must_use]
    pub fn valid(self, not_before: UnixTime, not_after: UnixTime) -> Self {
        Self { not_before: Some(not_before), not_after: Some(not_after), ..self }
    }

    /// Sets the serial number. With an authority from a seed, an existing key and set dates, the result is always the
    /// same certificate.
    #[must_use]
    pub fn with_serial(self, serial: u64) -> Self {
        Self { serial: Some(serial), ..self }
    }
}

/// The key of a client certificate.
#[derive(Clone)]
pub enum KeyKind {
    /// A new 2048-bit RSA key. Its generation takes about 0.1 seconds.
    Rsa2048,
    /// A new elliptic-curve key on P-256.
    P256,
    /// An existing key, PKCS#8 PEM. A token is bound to a certificate, not to a key, so a renewed certificate with the
    /// same key needs new tokens.
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
    /// The chain, PEM, leaf first. It includes the authority's certificate, unless the leaf is self-signed.
    pub certificate_pem: String,
    /// The key, PKCS#8 PEM.
    pub key_pem: String,
    /// The same chain, DER.
    pub chain_der: Vec<Vec<u8>>,
}

impl ClientIdentity {
    fn of(leaf: &Certificate, key: &KeyPair) -> Self {
        let chain_der = vec![leaf.der().to_vec()];
        Self { certificate_pem: leaf.pem(), key_pem: key.serialize_pem(), chain_der }
    }

    /// Returns the leaf certificate, DER.
    pub fn leaf_der(&self) -> &[u8] {
        self.chain_der.first().map_or(&[], Vec::as_slice)
    }

    /// Returns chain and key in one PEM text.
    pub fn bundle_pem(&self) -> String {
        format!("{}{}", self.certificate_pem, self.key_pem)
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("certificates", &self.chain_der.len()).finish_non_exhaustive()
    }
}

/// An authority that issues certificates to the emulated hosts and to clients.
pub(crate) struct CertificateAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pem: String,
    host_key: KeyPair,
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

impl CertificateAuthority {
    /// Generates an authority whose name constraints allow only `domains` and their subdomains.
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

    /// Issues a certificate for `host` and returns it with its key. The caller has checked that the host is emulated,
    /// and can cache the result.
    pub(crate) fn host_certificate(&self, host: &str) -> Result<ServerCertificate, EmulatorError> {
        let mut params = params("certbound emulator host", self.not_before, self.not_after);
        params.subject_alt_names = vec![SanType::DnsName(host.to_owned().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(for_tls(&params.signed_by(&self.host_key, &self.issuer)?, &self.host_key))
    }

    /// Issues a client certificate that this authority signs.
    pub(crate) fn issue(&self, options: &IssueOptions) -> Result<ClientIdentity, EmulatorError> {
        let key = key(&options.key)?;
        let mut params = self.client_params(options);
        params.use_authority_key_identifier_extension = true;
        let mut identity = ClientIdentity::of(&params.signed_by(&key, &self.issuer)?, &key);
        identity.certificate_pem.push_str(&self.pem);
        identity.chain_der.push(self.der().to_vec());
        Ok(identity)
    }

    /// Issues a client certificate for a public key whose private key is elsewhere. `key` is DER of a
    /// `SubjectPublicKeyInfo`. Returns the chain, DER, leaf first. The key in `options` is ignored.
    pub(crate) fn issue_for(
        &self,
        options: &IssueOptions,
        key: &[u8],
    ) -> Result<Vec<Vec<u8>>, EmulatorError> {
        let key = RequestedKey::from_der(key)?;
        let mut params = self.client_params(options);
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok(vec![leaf.der().to_vec(), self.der().to_vec()])
    }

    /// Makes a self-signed client certificate, which no authority issued.
    pub(crate) fn self_signed(&self, options: &IssueOptions) -> Result<ClientIdentity, EmulatorError> {
        let key = key(&options.key)?;
        Ok(ClientIdentity::of(&self.client_params(options).self_signed(&key)?, &key))
    }

    fn client_params(&self, options: &IssueOptions) -> CertificateParams {
        let not_before = options.not_before.unwrap_or(self.not_before);
        let not_after = options.not_after.unwrap_or(self.not_after);
        let mut params = params(&options.subject_cn, not_before, not_after);
        if let Some(serial) = options.serial {
            params.serial_number = Some(serial.into());
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params
    }
}

/// Returns a certificate and its key in the form that rustls needs, without the rest of the chain.
pub(crate) fn for_tls(leaf: &Certificate, key: &KeyPair) -> ServerCertificate {
    let key = PrivatePkcs8KeyDer::from(key.serialized_der().to_vec());
    (vec![leaf.der().clone()], key.into())
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

/// Returns a random serial number, so that two certificates with the same subject and key differ.
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

/// Returns a self-signed certificate for a token signing key, for the `x5c` of the published key.
pub(crate) fn for_token_key(key: &KeyPair, now: UnixTime) -> Result<Vec<u8>, EmulatorError> {
    let params = params("certbound emulator token signing", now.minus(BACKDATED), now.plus(LIFETIME));
    Ok(params.self_signed(key)?.der().to_vec())
}
