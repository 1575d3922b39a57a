//! The certificate request of a managed identity (PKCS #10, RFC 2986). The caller signs it.

use x509_cert::attr::{Attribute, AttributeTypeAndValue, AttributeValue};
use x509_cert::der::asn1::{Any, BitString, Ia5StringRef, PrintableStringRef, SetOfVec, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::PlatformMetadata;

const DOMAIN_COMPONENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// Microsoft's attribute for the compute unit.
const COMPUTE_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.90.2.10");

/// RSASSA-PSS with SHA-256, MGF1 of SHA-256 and a salt of 32 bytes (RFC 4055, section 3.1). The parameters of the hash
/// are absent.
const PSS: &[u8] = &[
    0x30, 0x3d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x30, 0xa0, 0x0d,
    0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0xa1, 0x1a, 0x30, 0x18,
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86,
    0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0xa2, 0x03, 0x02, 0x01, 0x20,
];

/// A certificate request without its signature.
pub struct CertificationRequest {
    info: CertReqInfo,
    der: Vec<u8>,
}

impl CertificationRequest {
    /// Makes a request for the identity's certificate. `spki` is the public key as DER of a SubjectPublicKeyInfo.
    ///
    /// The subject is the tenant as DC, then the client id as CN. The only attribute is the compute unit.
    ///
    /// # Errors
    /// [`CertificationRequestError`] if `spki` is not a public key, or if the metadata cannot be encoded in DER.
    pub fn new(metadata: &PlatformMetadata, spki: &[u8]) -> Result<Self, CertificationRequestError> {
        let info = info(metadata, spki).map_err(|_| CertificationRequestError)?;
        let der = info.to_der().map_err(|_| CertificationRequestError)?;
        Ok(Self { info, der })
    }

    /// The bytes to sign with RSA-PSS, SHA-256 and a salt of 32 bytes.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.der
    }

    /// Returns the whole request in DER.
    ///
    /// # Errors
    /// [`CertificationRequestError`] if the signature cannot be encoded in DER.
    pub fn with_signature(self, signature: &[u8]) -> Result<Vec<u8>, CertificationRequestError> {
        let whole = || -> x509_cert::der::Result<Vec<u8>> {
            CertReq {
                info: self.info,
                algorithm: AlgorithmIdentifierOwned::from_der(PSS)?,
                signature: BitString::from_bytes(signature)?,
            }
            .to_der()
        };
        whole().map_err(|_| CertificationRequestError)
    }
}

fn info(metadata: &PlatformMetadata, spki: &[u8]) -> x509_cert::der::Result<CertReqInfo> {
    let domain = Any::encode_from(&Ia5StringRef::new(&metadata.tenant_id)?)?;
    let name = Any::encode_from(&PrintableStringRef::new(&metadata.client_id)?)?;
    let rdn = |oid, value| -> x509_cert::der::Result<RelativeDistinguishedName> {
        RelativeDistinguishedName::try_from(vec![AttributeTypeAndValue { oid, value }])
    };
    let names = RdnSequence::from(vec![rdn(DOMAIN_COMPONENT, domain)?, rdn(COMMON_NAME, name)?]);
    let cu_id = metadata.cu_id.to_json();
    let value: AttributeValue = Any::encode_from(&Utf8StringRef::new(&cu_id)?)?;
    let attribute = Attribute { oid: COMPUTE_UNIT, values: SetOfVec::try_from(vec![value])? };
    Ok(CertReqInfo {
        version: Version::V1,
        subject: Name::from_der(&names.to_der()?)?,
        public_key: SubjectPublicKeyInfoOwned::from_der(spki)?,
        attributes: SetOfVec::try_from(vec![attribute])?,
    })
}

/// The error for a certificate request that cannot be encoded. The usual cause is a wrong public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate request cannot be encoded; the usual cause is a wrong public key")]
pub struct CertificationRequestError;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed_identity::CuId;

    const ALGORITHM: &[u8] = include_bytes!("../../../../testdata/csr/algorithm.der");
    const VM: &[u8] = include_bytes!("../../../../testdata/csr/vm.info.der");
    const VM_OF_SCALE_SET: &[u8] = include_bytes!("../../../../testdata/csr/vm-vmss.info.der");

    fn request(vmss_id: Option<&str>) -> CertificationRequest {
        let metadata = PlatformMetadata {
            client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
            tenant_id: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee".to_owned(),
            cu_id: CuId {
                vm_id: Some("01234567-89ab-cdef-0123-456789abcdef".to_owned()),
                vmss_id: vmss_id.map(str::to_owned),
            },
            attestation_endpoint: "https://x".to_owned(),
        };
        let pem = include_bytes!("../../../../testdata/certificates/rsa.pem");
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem).unwrap();
        let spki = pem.parse_x509().unwrap().public_key().raw.to_vec();
        assert!(CertificationRequest::new(&metadata, b"no key").is_err());
        CertificationRequest::new(&metadata, &spki).unwrap()
    }

    #[test]
    fn a_request_is_the_golden_one_byte_for_byte() {
        for (vmss_id, golden) in [(None, VM), (Some("fedcba98-7654-3210-fedc-ba9876543210"), VM_OF_SCALE_SET)]
        {
            let request = request(vmss_id);
            assert_eq!(request.to_be_signed(), golden);
            let whole = request.with_signature(&[7; 256]).unwrap();
            // SEQUENCE { info, algorithm, BIT STRING { no unused bits, signature } }
            let signature = [&[0x03, 0x82, 0x01, 0x01, 0x00][..], &[7; 256]].concat();
            assert_eq!(whole[4..], [golden, ALGORITHM, &signature].concat());
        }
    }
}
