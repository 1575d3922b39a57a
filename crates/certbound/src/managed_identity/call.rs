//! One request to the token service by a machine's certificate.

use certbound_core::request::{Grant, TokenRequest};

use super::Machine;
use super::issued_certificate::IssuedCertificate;
use crate::acquire::Options;
use crate::acquire::accept::{Accepted, Expected, accept};
use crate::acquire::headers::{self, RefreshReason};
use crate::acquire::station::{Sent, wire_proof};
use crate::cache::Kind;
use crate::correlation::CorrelationId;
use crate::credential::Proof;
use crate::error::{Error, Leg, Misuse, PlatformError};
use crate::observe::LegReport;

pub(super) fn blame(leg: Option<Leg>) -> impl Fn(PlatformError) -> Error + Copy {
    move |what| Error::Platform { leg, what }
}

/// One request to the token service by a machine's certificate.
pub(super) struct TokenCall<'a> {
    pub(super) machine: &'a Machine,
    pub(super) minted: &'a IssuedCertificate,
    pub(super) leg: Option<Leg>,
    pub(super) options: &'a Options,
    pub(super) correlation_id: CorrelationId,
}

impl TokenCall<'_> {
    /// # Errors
    /// A certificate that the service refuses is taken out of use at once.
    pub(super) async fn send(
        &self,
        scope: &str,
        reason: RefreshReason,
    ) -> Result<(Accepted, LegReport), Error> {
        let sent = self.exchange(scope, reason).await;
        if let Err(error) = &sent {
            self.machine.blamed(self.minted, error).await;
        }
        sent
    }

    async fn exchange(&self, scope: &str, reason: RefreshReason) -> Result<(Accepted, LegReport), Error> {
        let misuse = |misuse: Misuse| Error::misuse(self.leg, misuse);
        let (machine, minted, binding) = (self.machine, self.minted, &self.minted.binding);
        binding.valid_at(machine.clock.now()).map_err(misuse)?;
        let claims = self.options.merged_claims(&machine.capabilities).map_err(misuse)?;
        let request = TokenRequest {
            client_id: &minted.client_id,
            grant: Grant::ManagedIdentity,
            proof: wire_proof(&Proof::CertificateOnly),
            scope,
            bound: true,
            claims: claims.as_deref(),
            fmi_path: None,
            extra: &[],
        };
        let asked_anew =
            self.options.force_refresh || self.options.claims.is_some() || self.options.rejected.is_some();
        let sent = Sent {
            transport: &*machine.transport,
            clock: &*machine.clock,
            leg: self.leg,
            endpoint: &minted.endpoint,
            kind: Kind::Bound,
            api: headers::api_of_identity(machine.id.is_system()),
            presents: Some(binding),
            correlation_id: self.correlation_id,
            reason: if asked_anew { RefreshReason::ForcedOrClaims } else { reason },
            options: self.options,
        };
        let sent_at = machine.clock.now();
        let (response, took) = sent.exchange(&request).await?;
        let expected = Expected {
            binding: Some(binding),
            leg: self.leg,
            demands_observed: machine.cache_key.demands_observed(),
            ignores_case: true,
            sent_at,
        };
        let token = accept(response, &request, expected, machine.clock.now())?;
        let report = sent.report(&request, &token.token_type, took);
        Ok((token, report))
    }
}
