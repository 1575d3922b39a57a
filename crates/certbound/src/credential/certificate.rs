//! The credential by certificate. For a bound token, the TLS handshake is the proof. For a Bearer token, a signed
//! assertion is the proof.

use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use super::sealed::{Boxed, Proof, Proves};
use crate::cache::Kind;
use crate::certificate::{BindingCertificate, Blame, ClientCertificate};
use crate::credential::AssertionRequest;
use crate::credential::signed_assertion::{self, Signing};
use crate::error::{Error, Misuse};

/// A client that authenticates by its certificate: in TLS for a bound token, by a signed assertion for a Bearer token.
#[derive(Clone, Debug)]
pub struct ByCertificate {
    pub(crate) certificate: ClientCertificate,
    /// The thumbprint of the certificate that was in use when this credential was created.
    first: Thumbprint,
    pub(crate) bearer_over_mtls: bool,
    pub(crate) omits_x5c: bool,
}

impl ByCertificate {
    pub(crate) fn new(certificate: ClientCertificate) -> Self {
        Self { first: certificate.thumbprint(), certificate, bearer_over_mtls: false, omits_x5c: false }
    }
}

impl Proves for ByCertificate {
    fn thumbprint_now(&self) -> Option<Option<Thumbprint>> {
        Some(Some(self.certificate.thumbprint()))
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.certificate.reopened(known)
    }

    /// A Bearer token depends on the certificate only if TLS presented the certificate.
    fn lasting_thumbprint(&self, kind: Kind) -> Option<Thumbprint> {
        (!self.presents(kind)).then_some(self.first)
    }

    fn certificate(&self) -> Boxed<'_, Option<BindingCertificate>> {
        Box::pin(async { Ok(Some(self.certificate.current())) })
    }

    fn presents(&self, kind: Kind) -> bool {
        kind == Kind::Bound || self.bearer_over_mtls
    }

    fn proof<'a>(
        &'a self,
        certificate: Option<&'a BindingCertificate>,
        kind: Kind,
        request: &'a AssertionRequest,
        now: UnixTime,
    ) -> Boxed<'a, Proof> {
        Box::pin(async move {
            if kind == Kind::Bound {
                return Ok(Proof::CertificateOnly);
            }
            let blame = |error: Misuse| Error::misuse(None, error);
            // `certificate` above always returns a certificate.
            let binding = certificate.ok_or_else(|| blame(Misuse::CertificateNotProvided))?;
            // Over mutual TLS the assertion contains the certificate too, as in Microsoft's own clients.
            let x5c = self.bearer_over_mtls || !self.omits_x5c;
            let signing = Signing::of(binding, request, now, x5c).map_err(blame)?;
            signed_assertion::sign(signing).await.map(Proof::Jwt)
        })
    }

    fn earlier(&self) -> Vec<Thumbprint> {
        self.certificate.earlier()
    }

    fn replace<'a>(&'a self, blamed: &'a BindingCertificate, blame: Blame) -> Boxed<'a, bool> {
        Box::pin(self.certificate.replace(blamed, blame, None))
    }

    fn name(&self) -> &'static str {
        "certificate"
    }
}
