//! Data by which an attestation service recognises a key of a genuine TPM.

use std::time::Duration;

use tss_esapi::Context;
use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::{KeyHandle as EsysKey, NvIndexHandle, NvIndexTpmHandle, ObjectHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::interface_types::resource_handles::{Hierarchy, NvAuth};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    CapabilityData, Data, HashScheme, Public, PublicBuilder, PublicKeyRsa, PublicRsaParametersBuilder,
    RsaExponent, RsaScheme, SignatureScheme,
};
use tss_esapi::traits::Marshall as _;

use crate::error::{TpmError, refused_session};
use crate::handle::KeyHandle;
use crate::key::TpmKey;
use crate::{object, refused};

/// The index of the certificate of an RSA-2048 endorsement key (TCG EK Credential Profile, section 2.2.1.4).
const EK_CERTIFICATE: u32 = 0x01C0_0002;

/// The time limit of an attestation for which the TPM makes an attestation key.
const WITH_NEW_KEY: Duration = Duration::from_secs(50);

/// The maximum number of bytes that one command reads. Every TPM supports this number.
const CHUNK: u16 = 512;

/// The length of the longest nonce, in bytes. Every TPM accepts a nonce of this length, the length of a SHA-256 hash.
const NONCE: usize = 32;

/// The statement of a TPM about one of its keys (TPM2_Certify). All values except the certificate have the encoding of
/// the TPM 2.0 Library, Part 2.
///
/// The [attestation hook](certbound::managed_identity::Attestation) of an application sends these values to an
/// attestation service. The service defines the form of the request; certbound does not. The service decides by the
/// certificate of the platform or of the endorsement key whether it trusts the attestation key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TpmAttestation {
    /// The public area of the attested key (`TPMT_PUBLIC`). Its attributes show whether the key can leave the TPM.
    pub public: Vec<u8>,
    /// The signed statement (`TPMS_ATTEST`) with the name of the key and the nonce.
    pub statement: Vec<u8>,
    /// The signature of the statement (`TPMT_SIGNATURE`).
    pub signature: Vec<u8>,
    /// The public area of the attestation key (`TPMT_PUBLIC`), a restricted signing key.
    pub attestation_key: Vec<u8>,
    /// The certificate of the RSA endorsement key in DER, if it can be read from the TPM.
    pub endorsement_certificate: Option<Vec<u8>>,
}

impl TpmKey {
    /// Lets the TPM attest the key. `nonce` is the challenge of the attestation service, of at most 32 bytes.
    ///
    /// The function blocks. If [`TpmOptions::attestation_key`](crate::TpmOptions::attestation_key) is not set, the TPM
    /// makes an attestation key in its endorsement hierarchy for each call. Some TPMs need seconds to make this RSA
    /// key.
    ///
    /// # Errors
    /// [`TpmError`], if the nonce is too long, if the key is gone, or if the TPM refuses the command.
    ///
    /// # Examples
    /// ```no_run
    /// use certbound_tpm::{KeyHandle, Tpm, TpmOptions};
    ///
    /// let tpm = Tpm::open(Tpm::DEFAULT_ADDRESS, TpmOptions::default())?;
    /// let attested = tpm.key(KeyHandle::MACHINE)?.attest(b"challenge of the service")?;
    /// println!("{} bytes", attested.statement.len());
    /// # Ok::<(), certbound_tpm::TpmError>(())
    /// ```
    pub fn attest(&self, nonce: &[u8]) -> Result<TpmAttestation, TpmError> {
        if nonce.len() > NONCE {
            return Err(TpmError::NonceTooLong { length: nonce.len() });
        }
        let (nonce, fixed) = (nonce.to_vec(), self.tpm().attestation_key());
        let (tpm, own) = (self.tpm().clone(), self.handle());
        // Without a fixed key the TPM makes an attestation key first.
        let limit = fixed.is_none().then_some(WITH_NEW_KEY);
        self.run(limit, move |context, key, found| {
            let certified = match fixed {
                Some(handle) => object::with(context, handle, |context, attester, attesting| {
                    if let Some(reason) = attesting.fault_of_attester() {
                        return Err(TpmError::AttesterUnusable { handle, reason: reason.to_owned() });
                    }
                    refused::once(tpm.address(), handle, &attesting.name, || {
                        certify(context, (own, key), (handle, attester.into()), attesting.public, &nonce)
                    })
                }),
                None => with_new_attester(context, |context, attester, public| {
                    certify(context, (own, key), (own, attester), public, &nonce)
                }),
            }?;
            let public = found.public.marshall();
            let public = public.map_err(|error| TpmError::of("the encoding of TPMT_PUBLIC", error))?;
            let endorsement_certificate = endorsement_certificate(context).unwrap_or_else(|error| {
                tracing::warn!(%error, "the certificate of the endorsement key cannot be read");
                None
            });
            Ok(TpmAttestation { public, endorsement_certificate, ..certified })
        })
    }
}

/// Makes the attestation key, and removes it from the TPM's memory after `work`.
fn with_new_attester<T>(
    context: &mut Context,
    work: impl FnOnce(&mut Context, EsysKey, Public) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let template = attester();
    let template =
        template.map_err(|error| TpmError::of("the creation of the attestation key's template", error))?;
    let made = context.execute_with_session(Some(AuthSession::Password), |context| {
        context.create_primary(Hierarchy::Endorsement, template, None, None, None, None)
    });
    let made = made.map_err(|error| TpmError::of_endorsement("TPM2_CreatePrimary", error))?;
    let result = work(context, made.key_handle, made.out_public);
    let flushed = context.flush_context(made.key_handle.into());
    flushed.map_err(|error| TpmError::of("TPM2_FlushContext", error))?;
    result
}

/// Certifies a key. The errors name a key by its persistent handle. A new attestation key has neither a persistent
/// handle nor an authorization.
fn certify(
    context: &mut Context,
    (key_handle, key): (KeyHandle, ObjectHandle),
    (attester_handle, attester): (KeyHandle, EsysKey),
    attesting: Public,
    nonce: &[u8],
) -> Result<TpmAttestation, TpmError> {
    let failed = |error| TpmError::of("TPM2_Certify", error);
    let data = Data::try_from(nonce).map_err(failed)?;
    let sessions = (Some(AuthSession::Password), Some(AuthSession::Password), None);
    let certified = context.execute_with_sessions(sessions, |context| {
        // `Null` stands for the signature scheme of the attestation key.
        context.certify(key, attester, data, SignatureScheme::Null)
    });
    let (statement, signature) = certified.map_err(|error| {
        // The second session is the session of the attestation key.
        // Without the number of the session, the cause can be either key, and a wrong guess would block a good key.
        match refused_session(error) {
            Some(0) => TpmError::of_key("TPM2_Certify", key_handle, error),
            Some(1) => TpmError::of_key("TPM2_Certify", attester_handle, error),
            _ => failed(error),
        }
    })?;
    Ok(TpmAttestation {
        public: Vec::new(),
        statement: statement.marshall().map_err(failed)?,
        signature: signature.marshall().map_err(failed)?,
        attestation_key: attesting.marshall().map_err(failed)?,
        endorsement_certificate: None,
    })
}

/// Returns the template of the attestation key. The template has no random part, so a TPM makes the same key each time.
fn attester() -> tss_esapi::Result<Public> {
    let attributes = object::attributes().with_restricted(true).build()?;
    let parameters = PublicRsaParametersBuilder::new()
        .with_scheme(RsaScheme::RsaSsa(HashScheme::new(HashingAlgorithm::Sha256)))
        .with_key_bits(RsaKeyBits::Rsa2048)
        .with_exponent(RsaExponent::default())
        .with_is_signing_key(true)
        .with_restricted(true)
        .build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Rsa)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_rsa_parameters(parameters)
        .with_rsa_unique_identifier(PublicKeyRsa::default())
        .build()
}

/// Reads the certificate of the endorsement key. If the TPM has no certificate, a read makes the TPM Software Stack
/// write an error into its log. Therefore the function looks up the index first.
fn endorsement_certificate(context: &mut Context) -> Result<Option<Vec<u8>>, TpmError> {
    let list = context.get_capability(CapabilityType::Handles, EK_CERTIFICATE, 1);
    let exists = match list.map_err(|error| TpmError::of("TPM2_GetCapability", error))?.0 {
        CapabilityData::Handles(list) => {
            list.into_inner().first().copied().map(u32::from) == Some(EK_CERTIFICATE)
        }
        _ => false,
    };
    if !exists {
        return Ok(None);
    }
    let failed = |error| TpmError::of("TPM2_NV_Read", error);
    let handle = NvIndexTpmHandle::new(EK_CERTIFICATE).map_err(failed)?;
    let mut index = context.tr_from_tpm_public(TpmHandle::NvIndex(handle)).map_err(failed)?;
    let read = read_index(context, index.into());
    context.tr_close(&mut index).map_err(failed)?;
    read.map(Some).map_err(failed)
}

fn read_index(context: &mut Context, index: NvIndexHandle) -> tss_esapi::Result<Vec<u8>> {
    let (public, _) = context.nv_read_public(index)?;
    let (size, mut bytes) = (public.data_size(), Vec::new());
    while bytes.len() < size {
        let length = CHUNK.min(u16::try_from(size - bytes.len()).unwrap_or(CHUNK));
        let offset = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let chunk = context.execute_with_session(Some(AuthSession::Password), |context| {
            context.nv_read(NvAuth::NvIndex(index), index, length, offset)
        })?;
        if chunk.value().is_empty() {
            break;
        }
        bytes.extend(chunk.value());
    }
    Ok(bytes)
}
