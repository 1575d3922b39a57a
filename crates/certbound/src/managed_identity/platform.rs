//! The platform of a managed identity as a source of tokens.

use std::sync::Arc;
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::managed_identity::MachineSource;

use super::call::{TokenCall, blame};
use super::issued_certificate::IssuedCertificate;
use super::{Machine, bearer};
use crate::acquire::accept::Accepted;
use crate::acquire::headers::Api;
use crate::acquire::issuer::{FetchRequest, Fetched, Issuer, Wish};
use crate::acquire::{Context, Options};
use crate::cache::Kind;
use crate::certificate::{BindingCertificate, Blame};
use crate::correlation::CorrelationId;
use crate::error::{Error, Leg, Misuse};

/// The platform that a managed identity belongs to.
#[derive(Clone)]
pub(crate) struct Platform(pub(super) Arc<Machine>);

impl Issuer for Platform {
    type Certificate = Arc<IssuedCertificate>;

    fn context(&self) -> &Context {
        &self.0.context
    }

    fn leg(&self) -> Option<Leg> {
        None
    }

    fn api(&self, _: &Options) -> Api {
        Api::of_identity(self.0.id.is_system())
    }

    fn binding(certificate: &Self::Certificate) -> &BindingCertificate {
        &certificate.binding
    }

    fn has_certificate(&self, kind: Kind) -> bool {
        !self.0.presents(kind) || matches!(self.0.ready(), Ok(Some(_)))
    }

    async fn certificate(&self, kind: Kind, id: CorrelationId) -> Result<Option<Self::Certificate>, Error> {
        if !self.0.presents(kind) {
            return Ok(None);
        }
        match self.0.ready().map_err(blame(None))? {
            Some(certificate) => Ok(Some(certificate)),
            None => {
                // This case is rare, so its future is boxed. The box keeps the future of a usual acquisition small.
                let issued = Box::pin(self.0.certificate(None, id)).await;
                issued.map(Some).map_err(blame(None))
            }
        }
    }

    fn thumbprint_now(&self, kind: Kind) -> Option<Option<Thumbprint>> {
        match self.0.presents(kind) {
            false => Some(None),
            true => self.0.current_thumbprint(self.0.context.clock.now()).map(Some),
        }
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.0.reopened(known)
    }

    async fn thumbprint(&self, kind: Kind) -> Result<Option<Thumbprint>, Error> {
        Ok(self.thumbprint_now(kind).flatten())
    }

    /// Refuses options for tenant, authority and parameters, because the platform decides them.
    fn check(&self, options: &Options) -> Result<(), Misuse> {
        match options.extras() {
            None => Ok(()),
            Some(_) => Err(Misuse::NotForManagedIdentity),
        }
    }

    fn earlier(&self) -> Vec<Thumbprint> {
        self.0.earlier()
    }

    fn blames(error: &Error) -> bool {
        Blame::of_machine(error).is_some()
    }

    async fn replace(
        &self,
        failed: Option<&Self::Certificate>,
        error: Error,
        id: CorrelationId,
    ) -> Result<Option<Self::Certificate>, Error> {
        let Some(failed) = failed else { return Err(error) };
        self.0.replacement_after(failed, error, None, id).await.map(Some)
    }

    async fn replace_handle(&self, certificate: &BindingCertificate, _: bool) -> Result<bool, Error> {
        Ok(self.0.with_new_handle(certificate, CorrelationId::random()).await.is_some())
    }

    fn certificates_issued(&self) -> u64 {
        IssuedCertificate::count()
    }

    async fn renewed(
        &self,
        wish: Wish,
        certificate: Option<Self::Certificate>,
        id: CorrelationId,
    ) -> Result<Option<Self::Certificate>, Error> {
        let Some(current) = certificate else { return Ok(None) };
        self.0.renewed_for(wish, current, id).await.map(Some).map_err(blame(None))
    }

    /// Service Fabric returns its own cached token, unless the request names the token to replace by its hash.
    fn names_replaced_token(&self) -> bool {
        self.0.endpoint.origin() == MachineSource::ServiceFabric
    }

    async fn fetch(
        &self,
        certificate: Option<&Self::Certificate>,
        asked: &FetchRequest<'_>,
    ) -> Result<Fetched, Error> {
        match certificate {
            Some(certificate) => self.fetch_over_mtls(certificate, asked).await,
            None => self.fetch_from_platform(asked).await,
        }
    }
}

impl Platform {
    /// Requests a token from the token service with the certificate of the machine.
    async fn fetch_over_mtls(
        &self,
        certificate: &IssuedCertificate,
        asked: &FetchRequest<'_>,
    ) -> Result<Fetched, Error> {
        let call = TokenCall {
            machine: &self.0,
            kind: asked.kind,
            certificate,
            leg: None,
            options: asked.options,
            correlation_id: asked.correlation_id,
        };
        let (token, report) = call.send(asked.scope.as_str(), asked.reason).await?;
        let endpoint = &certificate.endpoint;
        Ok(Fetched {
            token,
            endpoint: endpoint.url().into(),
            tenant: endpoint.tenant().map_or_else(Box::default, |tenant| tenant.as_str().into()),
            region: endpoint.region().cloned(),
            region_outcome: Some(endpoint.region_outcome().clone()),
            by_resource: false,
            in_http: report.took,
            legs: vec![report],
            in_leg1: Duration::ZERO,
        })
    }

    /// Requests a Bearer token from the platform itself.
    async fn fetch_from_platform(&self, asked: &FetchRequest<'_>) -> Result<Fetched, Error> {
        let (machine, clock) = (&self.0, &self.0.context.clock);
        let before = clock.monotonic();
        let answer =
            bearer::token(machine, asked.scope.resource(), asked.replaces, asked.correlation_id).await;
        let answer = answer.map_err(blame(None))?;
        Ok(Fetched {
            in_http: clock.monotonic().saturating_sub(before),
            token: Accepted::from_platform(answer, clock.now()),
            endpoint: machine.endpoint.base().into(),
            tenant: Box::default(),
            region: None,
            region_outcome: None,
            by_resource: true,
            legs: Vec::new(),
            in_leg1: Duration::ZERO,
        })
    }
}
