//! The request for a Bearer token, on any platform.

use std::path::Path;

use certbound_core::managed_identity::{BearerAnswer, MachineSource};
use certbound_core::own_secrets::OwnSecrets;
use http::HeaderMap;

use super::Machine;
use super::arc;
use super::endpoint::Asked;
use crate::correlation::CorrelationId;
use crate::error::PlatformError;
use crate::rejected::TokenHash;

/// Requests a token for `resource`, a name without `/.default`. `replaces` is the hash of a token that a resource
/// rejected or challenged.
pub(super) async fn token(
    machine: &Machine,
    resource: &str,
    replaces: Option<TokenHash>,
    correlation_id: CorrelationId,
) -> Result<BearerAnswer, PlatformError> {
    let asked =
        Asked { id: &machine.id, resource, capabilities: &machine.capabilities, replaces, correlation_id };
    let origin = machine.endpoint.origin();
    let request = machine.endpoint.bearer_request(asked, None)?;
    let mut secrets = secrets_of(request.headers());
    let mut answer = machine.ask(request).await?;
    if origin == MachineSource::AzureArc && answer.status() == 401 {
        let header = arc::answer(&answer, Path::new(arc::TOKENS)).await?;
        let request = machine.endpoint.bearer_request(asked, Some(header))?;
        secrets = secrets_of(request.headers());
        answer = machine.ask(request).await?;
    }
    if answer.status() != 200 {
        return Err(machine.refused(&answer).without(&secrets));
    }
    let answer = BearerAnswer::parse(answer.body(), machine.context.clock.now())
        .map_err(|answer| machine.malformed(answer).without(&secrets))?;
    if origin == MachineSource::AzureArc {
        arc::confirm(&machine.id, &answer)?;
    }
    Ok(answer)
}

/// Returns the platform's secret and the key that answers a challenge. Some platforms repeat these secrets in their
/// responses.
pub(super) fn secrets_of(headers: &HeaderMap) -> OwnSecrets {
    let sensitive = headers.values().filter(|value| value.is_sensitive());
    let texts = sensitive.filter_map(|value| str::from_utf8(value.as_bytes()).ok());
    texts.fold(OwnSecrets::new(), |secrets, text| secrets.and(text.strip_prefix("Basic ").unwrap_or(text)))
}
