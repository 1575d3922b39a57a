//! The certificate of the connection: the check of its dates, and the authentication of the client by this certificate.

use certbound_core::certificate::CertificateChain;

use super::TokenService;
use crate::answers::{Refusal, date, refusal};
use crate::issue::Proof;
use crate::keys::machine_ca::Issued;
use crate::world::Application;

impl TokenService<'_> {
    /// Returns the certificate of this connection and checks its dates. A mutual-TLS host refuses a request without a
    /// certificate. Other hosts ignore every certificate: the result is `None`, or an error if a certificate is
    /// `needed`.
    pub(super) fn certificate(&self, needed: bool) -> Result<Option<CertificateChain>, Refusal> {
        if !self.mutual_tls && !needed {
            return Ok(None);
        }
        let Some(chain) = self.tls.client_chain.as_ref().filter(|_| self.mutual_tls) else {
            let text = "The client certificate is missing from the request. Send it in the TLS handshake with a \
                        mutual-TLS host.";
            return Err(refusal(392_200, text));
        };
        let chain = CertificateChain::from_der(chain.clone())
            .map_err(|error| refusal(700_027, format!("The client certificate cannot be read: {error}.")))?;
        if self.now < chain.not_before() || self.now > chain.not_after() {
            let text = format!(
                "The client certificate is outside its validity: the time is {}, and the certificate is valid from {} to {}.",
                date(self.now),
                date(chain.not_before()),
                date(chain.not_after())
            );
            return Err(refusal(392_204, text));
        }
        Ok(Some(chain))
    }

    /// Authenticates the client by its TLS certificate: a machine's certificate, or a certificate that SN/I trusts.
    pub(super) fn by_certificate(
        &self,
        application: &Application,
        chain: &CertificateChain,
    ) -> Result<Proof, Refusal> {
        if let Some(issued) = self.issued_to_machine(chain) {
            return by_machine(application, &issued);
        }
        if application.trusted_subjects.is_empty() {
            return Err(only_subject_name_or_federation());
        }
        if !application.trusted_subjects.iter().any(|subject| subject == chain.subject()) {
            return Err(other_subject(application));
        }
        if !self.trust.vouch_for(chain.ders(), self.now) {
            return Err(refusal(
                700_027,
                "The certificate's subject name is registered, but no trusted authority issued the certificate to a client.",
            ));
        }
        Ok(Proof::Certificate)
    }

    /// Returns whether the machine's metadata service issued this certificate, for this cloud.
    pub(super) fn is_of_machine(&self, chain: &CertificateChain) -> bool {
        self.issued_to_machine(chain).is_some()
    }

    /// Returns the record of a certificate that the machine's metadata service issued. The result is `None` in every
    /// cloud except the cloud of the machine, so the other clouds refuse the certificate.
    fn issued_to_machine(&self, chain: &CertificateChain) -> Option<Issued> {
        self.machines.known(chain.thumbprint()).filter(|_| self.cloud == self.world.machine.cloud)
    }
}

/// Authenticates the client by a certificate that the machine's metadata service issued.
fn by_machine(application: &Application, issued: &Issued) -> Result<Proof, Refusal> {
    match issued.attestation_fault {
        _ if issued.client_id != application.id => Err(other_subject(application)),
        None => Ok(Proof::Machine),
        Some(code) => Err(refusal(code, "The attestation of the certificate's key is not accepted.")),
    }
}

fn other_subject(application: &Application) -> Refusal {
    let id = &application.id;
    let text = format!(
        "Invalid certificate. The certificate's subject name is not authorized for application '{id}'."
    );
    refusal(700_030, text)
}

pub(super) fn only_subject_name_or_federation() -> Refusal {
    refusal(
        392_189,
        "The mutual-TLS endpoint supports only certificates trusted by subject name and issuer, or federated \
         identity credentials.",
    )
}
