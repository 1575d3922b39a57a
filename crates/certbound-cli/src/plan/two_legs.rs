//! The two-leg flow: Leg 1 by a certificate or a managed identity, or an existing assertion.

use certbound::credential::{ByAssertion, ByCertificate, Leg1};
use certbound::{
    AnyClient, Authority, BindingCertificate, BoundAssertion, Client, ManagedIdentity, Secret, TenantId,
    Transport,
};

use super::authority::{authority, builder};
use super::{Kind, Plan, Prover, Reach, assertion, certificate, machine, stand_in};
use crate::failure::Failure;
use crate::flags::{ClientFlags, Leg1Flags};
use crate::usage::Usage;

/// Returns a client with both legs, or Leg 2 with an existing assertion.
pub(crate) fn two_legs<T: Transport + Clone>(
    flags: &ClientFlags,
    leg1: &Leg1Flags,
    kind: Kind,
    reach: &Reach<T>,
) -> Result<Plan<AnyClient>, Failure> {
    refuse_machine_as_leg2(flags)?;
    let authority = authority(&flags.identity)?;
    check_leg1(flags, leg1)?;
    let certificate = certificate_of_both_legs(flags, leg1)?;
    let source = leg1_source(flags, leg1, certificate, reach)?;
    exchange(flags, leg1, authority, source, kind, reach)
}

/// The source of the assertion. Each variant contains the name of its certificate's source.
pub(crate) enum Leg1Source {
    Machine(ManagedIdentity, String),
    Existing(BoundAssertion, String),
    Certificate(BindingCertificate, String),
}

/// Refuses a managed identity that is given for Leg 2.
pub(crate) fn refuse_machine_as_leg2(flags: &ClientFlags) -> Result<(), Usage> {
    flags.machine.managed_identity.as_ref().map_or(Ok(()), |_| Err(Usage::MachineIsNotLeg2))
}

/// Checks that the flags are complete for their source of the assertion. With a managed identity or an existing
/// assertion, flags that only a certificate of Leg 1 uses are refused. The check reads no file.
pub(crate) fn check_leg1(flags: &ClientFlags, leg1: &Leg1Flags) -> Result<(), Usage> {
    let has_certificate = flags.certificate.certificate.is_some();
    match (&leg1.leg1_managed_identity, &leg1.assertion_file) {
        (Some(_), _) => refuse_leg1_flags(leg1),
        (None, Some(_)) => {
            refuse_leg1_flags(leg1)?;
            if has_certificate { Ok(()) } else { Err(Usage::AssertionWithoutCertificate) }
        }
        (None, None) if leg1.leg1_certificate.is_some() => Ok(()),
        // `AZURE_CLIENT_CERTIFICATE_PATH` names the certificate of the application, so Leg 1 uses it.
        (None, None) if has_certificate => match leg1.leg1_certificate_key {
            None => Ok(()),
            Some(_) => Err(Usage::Leg1KeyAlone),
        },
        (None, None) => Err(Usage::NoLeg1),
    }
}

/// Returns the certificate of both legs, with its source. The result is `None` if the platform issues the certificate,
/// or if the flags give no certificate.
pub(crate) fn certificate_of_both_legs(
    flags: &ClientFlags,
    leg1: &Leg1Flags,
) -> Result<Option<(BindingCertificate, String)>, Failure> {
    match (&leg1.leg1_managed_identity, &leg1.leg1_certificate) {
        (Some(_), _) => Ok(None),
        (None, Some(path)) => {
            let password_env = flags.certificate.certificate_password_env.as_deref();
            certificate::load(path, leg1.leg1_certificate_key.as_deref(), password_env).map(Some)
        }
        (None, None) => certificate::binding(&flags.certificate),
    }
}

/// Returns the source of the assertion. If the flags give an existing assertion, this function reads it.
pub(crate) fn leg1_source<T: Transport + Clone>(
    flags: &ClientFlags,
    leg1: &Leg1Flags,
    certificate: Option<(BindingCertificate, String)>,
    reach: &Reach<T>,
) -> Result<Leg1Source, Failure> {
    if let Some(identity) = &leg1.leg1_managed_identity {
        let (identity, source) = machine::leg1(flags, identity, reach)?;
        return Ok(Leg1Source::Machine(identity, source));
    }
    let (certificate, source) = certificate.ok_or(Usage::NoLeg1)?;
    Ok(match &leg1.assertion_file {
        Some(path) => Leg1Source::Existing(assertion::read(path, certificate)?, source),
        None => Leg1Source::Certificate(certificate, source),
    })
}

/// Returns the client of Leg 2, which runs Leg 1 with this source.
pub(crate) fn exchange<T: Transport + Clone>(
    flags: &ClientFlags,
    leg1: &Leg1Flags,
    authority: Authority,
    source: Leg1Source,
    kind: Kind,
    reach: &Reach<T>,
) -> Result<Plan<AnyClient>, Failure> {
    let (client, source) = match source {
        Leg1Source::Machine(identity, source) => {
            if is_unbound(kind, &identity) {
                return unbound(flags, authority, identity, reach);
            }
            let prover = match flags.machine_state.machine_state {
                Some(_) => Prover::machine(),
                None => Prover::Passing,
            };
            (leg2(flags, authority, identity, reach, &prover)?, source)
        }
        Leg1Source::Existing(assertion, source) => {
            let prover = Prover::secret(assertion.secret());
            (leg2(flags, authority, assertion, reach, &prover)?, source)
        }
        Leg1Source::Certificate(certificate, source) => {
            let first = leg1_client(flags, &authority, leg1, certificate, reach)?;
            (leg2(flags, authority, first, reach, &Prover::InCacheKey)?, source)
        }
    };
    Ok(Plan { client: client.into(), source })
}

/// Returns whether Leg 1 returns a Bearer token of the identity: a Bearer token is requested, and the platform or the
/// environment prevents bound tokens.
pub(crate) fn is_unbound(kind: Kind, identity: &ManagedIdentity) -> bool {
    kind == Kind::Bearer && !identity.may_bind()
}

/// Returns a client for a Bearer token on a platform that cannot bind tokens. Leg 1 returns a Bearer token of the
/// identity.
fn unbound<T: Transport + Clone>(
    flags: &ClientFlags,
    authority: Authority,
    identity: ManagedIdentity,
    reach: &Reach<T>,
) -> Result<Plan<AnyClient>, Failure> {
    let builder = builder(&flags.identity, authority, flags.identity.client_id()?, reach);
    let builder = builder.with_cache(reach.cache(&Prover::machine()));
    let client = builder.with_unbound_assertions(reach.watched(identity)).build()?;
    Ok(Plan { client: client.into(), source: String::new() })
}

/// Returns the clients of a dry run. Leg 1 returns no assertion in a dry run, so Leg 2 has a placeholder, which is
/// never sent.
pub(crate) fn in_the_dry<T: Transport + Clone>(
    flags: &ClientFlags,
    leg1: &Leg1Flags,
    kind: Kind,
    reach: &Reach<T>,
) -> Result<DryPlan, Failure> {
    let as_ever = || two_legs(flags, leg1, kind, reach);
    if flags.machine.managed_identity.is_some() || leg1.assertion_file.is_some() {
        return Ok(DryPlan { leg1: None, leg2: Some(as_ever()?.client) });
    }
    if let Some(name) = &leg1.leg1_managed_identity {
        let whole = as_ever()?.client;
        // The certificate of the machine is unknown before it is issued. Only a Leg 2 without a certificate can be
        // shown.
        let leg2 = match is_unbound(kind, &machine::leg1(flags, name, reach)?.0) {
            true => {
                let builder =
                    builder(&flags.identity, authority(&flags.identity)?, flags.identity.client_id()?, reach);
                let stand_in = Secret::new("never sent");
                Some(builder.with_unbound_assertions(stand_in).build()?.into())
            }
            false => None,
        };
        return Ok(DryPlan { leg1: Some(DryLeg1::Machine(whole)), leg2 });
    }
    check_leg1(flags, leg1)?;
    let authority = authority(&flags.identity)?;
    let (certificate, _) = certificate_of_both_legs(flags, leg1)?.ok_or(Usage::NoLeg1)?;
    let first = leg1_client(flags, &authority, leg1, certificate.clone(), reach)?;
    let audience = authority.exchange_uri()?;
    let stand_in = stand_in(&certificate, audience)?;
    let second = leg2(flags, authority, stand_in, reach, &Prover::Passing)?;
    Ok(DryPlan { leg1: Some(DryLeg1::Certificate(first)), leg2: Some(second.into()) })
}

/// The clients of a dry run, one for each leg.
pub(crate) struct DryPlan {
    pub(crate) leg1: Option<DryLeg1>,
    /// The value is `None` if Leg 2's request depends on the result of Leg 1.
    pub(crate) leg2: Option<AnyClient>,
}

pub(crate) enum DryLeg1 {
    Certificate(Client<ByCertificate>),
    /// Both legs; the dry run stops at Leg 1's request to the platform.
    Machine(AnyClient),
}

/// Returns the client of Leg 1, which gets tokens of the direct flow too.
pub(crate) fn leg1_client<T: Transport + Clone>(
    client: &ClientFlags,
    authority: &Authority,
    flags: &Leg1Flags,
    certificate: BindingCertificate,
    reach: &Reach<T>,
) -> Result<Client<ByCertificate>, Failure> {
    let authority = match &flags.leg1_tenant {
        Some(tenant) => {
            let kind = authority.kind();
            let other = authority.for_tenant(TenantId::parse(tenant)?);
            other.ok_or_else(|| Usage::NoTenantToChoose { kind })?
        }
        None => authority.clone(),
    };
    let app = match flags.leg1_client_id.as_deref() {
        Some(app) => app,
        None => client.identity.client_id()?,
    };
    Ok(builder(&client.identity, authority, app, reach).with_certificate(certificate).build()?)
}

fn leg2<T: Transport + Clone>(
    flags: &ClientFlags,
    authority: Authority,
    leg1: impl Leg1,
    reach: &Reach<T>,
    prover: &Prover,
) -> Result<Client<ByAssertion>, Failure> {
    let builder = builder(&flags.identity, authority, flags.identity.client_id()?, reach);
    Ok(builder.with_cache(reach.cache(prover)).with_assertions(reach.watched(leg1)).build()?)
}

fn refuse_leg1_flags(flags: &Leg1Flags) -> Result<(), Usage> {
    flags.detail().map_or(Ok(()), |flag| Err(Usage::Leg1Unused { flag }))
}
