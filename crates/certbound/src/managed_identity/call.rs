//! One request to the token service with a certificate of the machine.

use certbound_core::request::{Grant, TokenRequest};

use super::Machine;
use super::issued_certificate::IssuedCertificate;
use crate::acquire::Options;
use crate::acquire::accept::Accepted;
use crate::acquire::headers::{Api, RefreshReason};
use crate::acquire::token_request::{Exchange, wire_proof};
use crate::cache::Kind;
use crate::correlation::CorrelationId;
use crate::credential::Proof;
use crate::error::{Error, Leg, Misuse, PlatformError};
use crate::observe::LegReport;

pub(super) fn blame(leg: Option<Leg>) -> impl Fn(PlatformError) -> Error + Copy {
    move |what| Error::Platform { leg, what }
}

/// One request to the token service with a certificate of the machine.
pub(super) struct TokenCall<'a> {
    pub(super) machine: &'a Machine,
    pub(super) kind: Kind,
    pub(super) certificate: &'a IssuedCertificate,
    pub(super) leg: Option<Leg>,
    pub(super) options: &'a Options,
    pub(super) correlation_id: CorrelationId,
}

impl TokenCall<'_> {
    /// Sends the request. If the service refuses the certificate, the certificate is removed from use at once.
    pub(super) async fn send(
        &self,
        scope: &str,
        reason: RefreshReason,
    ) -> Result<(Accepted, LegReport), Error> {
        let sent = self.exchange(scope, reason).await;
        match &sent {
            Ok(_) => self.certificate.token_issued(),
            Err(error) => self.machine.blamed(self.certificate, error).await,
        }
        sent
    }

    async fn exchange(&self, scope: &str, reason: RefreshReason) -> Result<(Accepted, LegReport), Error> {
        let misuse = |misuse: Misuse| Error::misuse(self.leg, misuse);
        let (machine, certificate, binding) = (self.machine, self.certificate, &self.certificate.binding);
        let context = &machine.context;
        binding.valid_at(context.clock.now()).map_err(|error| misuse(error.into()))?;
        let claims = self.options.merged_claims(&machine.capabilities).map_err(misuse)?;
        let request = TokenRequest {
            client_id: &certificate.client_id,
            grant: Grant::ManagedIdentity,
            proof: wire_proof(&Proof::CertificateOnly),
            scope,
            bound: self.kind == Kind::Bound,
            claims: claims.as_deref(),
            fmi_path: None,
            extra: &[],
        };
        let exchange = Exchange {
            context,
            leg: self.leg,
            endpoint: &certificate.endpoint,
            kind: self.kind,
            api: Api::of_identity(machine.id.is_system()),
            certificate: Some(binding),
            over_mtls: true,
            assertion_expires_at: None,
            ignores_case: true,
            correlation_id: self.correlation_id,
            reason,
            options: self.options,
        };
        exchange.run(&request).await
    }
}
