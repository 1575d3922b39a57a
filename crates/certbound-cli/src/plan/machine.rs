//! Managed identities of the machine on which this program runs.

use certbound::managed_identity::{IdentityId, MachineCertificates, ManagedIdentityBuilder, SoftwareKeys};
use certbound::state::StateDirectory;
use certbound::{ManagedIdentity, TokenCache, Transport};

use super::hardware::{self, MachineKeys};
use super::{Kind, Prover, Reach};
use crate::failure::Failure;
use crate::flags::{ClientFlags, CredentialFlags, MachineFlags, MachineKeysFlag, first_given};
use crate::usage::Usage;

/// Returns the identity that requests its own token, and the name of its certificate's source.
pub(super) fn direct<T: Transport + Clone>(
    flags: &ClientFlags,
    identity: &str,
    credential: &CredentialFlags,
    kind: Kind,
    reach: &Reach<T>,
) -> Result<(ManagedIdentity, String), Failure> {
    refuse_beside(flags, credential)?;
    // Without a folder the next command has a different certificate, so it would never find the token.
    let passes = presents(credential, kind) && flags.machine_state.machine_state.is_none();
    let prover = if passes { Prover::Passing } else { Prover::machine() };
    let mut builder = builder(flags, identity, reach)?.with_cache(reach.cache(&prover));
    if credential.secret.bearer_over_mtls {
        builder = builder.bearer_over_mtls();
    }
    build(builder)
}

/// Returns whether the request of an identity for its own token presents the certificate of the machine.
pub(crate) fn presents(credential: &CredentialFlags, kind: Kind) -> bool {
    kind == Kind::Bound || credential.secret.bearer_over_mtls
}

/// Returns the identity as Leg 1. Its assertions are never stored.
pub(crate) fn leg1<T: Transport + Clone>(
    flags: &ClientFlags,
    identity: &str,
    reach: &Reach<T>,
) -> Result<(ManagedIdentity, String), Failure> {
    build(builder(flags, identity, reach)?.with_cache(TokenCache::none()))
}

/// Returns the identity as Leg 1 alone. Flags that conflict with a managed identity are refused.
pub(crate) fn assertion<T: Transport + Clone>(
    flags: &ClientFlags,
    identity: &str,
    reach: &Reach<T>,
) -> Result<(ManagedIdentity, String), Failure> {
    refuse_beside(flags, &CredentialFlags::default())?;
    leg1(flags, identity, reach)
}

/// Returns the builder of an identity, at the source that the flags name.
pub(crate) fn at(flags: &MachineFlags, identity: &str) -> Result<ManagedIdentityBuilder, Failure> {
    let id: IdentityId = identity.parse()?;
    let builder = ManagedIdentity::builder(id);
    Ok(match flags.managed_identity_source {
        Some(source) => builder.at(source.into()),
        None => builder,
    })
}

fn builder<T: Transport + Clone>(
    flags: &ClientFlags,
    identity: &str,
    reach: &Reach<T>,
) -> Result<ManagedIdentityBuilder, Failure> {
    let builder = at(&flags.machine, identity)?;
    let mut builder = builder.with_transport(reach.transport()).with_retry_policy(reach.retries);
    if reach.sees_bindings {
        builder = builder.require_observed_binding();
    }
    let keys = MachineKeys::of(&flags.machine_state.keys)?;
    // A dry run stores nothing and generates no key. It shows the first request of a machine without stored
    // certificates.
    if flags.run.dry_run {
        return Ok(builder);
    }
    let state = flags.machine_state.machine_state.as_ref().map(StateDirectory::open).transpose()?;
    if let Some(state) = &state {
        builder = builder.with_certificates(MachineCertificates::kept_in(state));
    }
    hardware::with_machine_keys(builder, keys, |builder| match &state {
        Some(state) => builder.with_keys(SoftwareKeys::kept_in(state)),
        None => builder,
    })
}

/// Adds the keys of --machine-keys to the builder of an identity.
pub(crate) fn with_keys(
    builder: ManagedIdentityBuilder,
    flags: &MachineKeysFlag,
) -> Result<ManagedIdentityBuilder, Failure> {
    hardware::with_machine_keys(builder, MachineKeys::of(flags)?, |builder| builder)
}

fn build(builder: ManagedIdentityBuilder) -> Result<(ManagedIdentity, String), Failure> {
    let identity = builder.build()?;
    let source = format!("managed-identity:{}", identity.id());
    Ok((identity, source))
}

/// Refuses flags that conflict with a managed identity. The identity determines client, endpoint and certificate.
fn refuse_beside(flags: &ClientFlags, credential: &CredentialFlags) -> Result<(), Usage> {
    let (identity, certificate) = (&flags.identity, &flags.certificate);
    let other = first_given(&[
        ("--certificate", certificate.certificate.is_some()),
        ("--certificate-key", certificate.certificate_key.is_some()),
        ("--certificate-password-env", certificate.certificate_password_env.is_some()),
        ("--client-secret-env", credential.secret.client_secret_env.is_some()),
        ("--assertion-file", credential.assertion_file.is_some()),
        ("--no-x5c", credential.secret.no_x5c),
        ("--issuer", identity.issuer.is_some()),
        ("--client-id", identity.client_id.is_some()),
        ("--tenant", identity.tenant.is_some()),
        ("--region", identity.region.is_some()),
        ("--global-if-region-unreachable", identity.global_if_region_unreachable),
        ("--authority", identity.authority.is_some()),
        ("--no-authority-validation", identity.no_authority_validation),
    ]);
    other.map_or(Ok(()), |other| Err(Usage::Conflict { one: "--managed-identity", other }))
}
