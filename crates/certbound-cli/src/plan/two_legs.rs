//! The two-leg flow: Leg 1 by certificate, or an assertion made elsewhere.

use certbound::{
    Authority, Binding, BindingCertificate, ByAssertion, ByCertificate, Client, Leg1, TenantId, Transport,
};

use super::authority::{authority, builder};
use super::{Plan, Reach, assertion, certificate, stand_in};
use crate::failure::Failure;
use crate::flags::{ClientFlags, Leg1Flags};
use crate::usage::Usage;

/// Both legs, or Leg 2 with an assertion made elsewhere.
pub(crate) fn two_legs<T: Transport + Clone>(
    flags: &ClientFlags,
    leg1: &Leg1Flags,
    reach: &Reach<T>,
) -> Result<Plan<Client<ByAssertion>>, Failure> {
    if flags.machine.managed_identity.is_some() {
        return Err(Usage::MachineIsNotLeg2.into());
    }
    let authority = authority(&flags.identity)?;
    if let Some(identity) = &leg1.leg1_managed_identity {
        refuse_leg1_flags(leg1)?;
        let (identity, source) = super::machine(identity, &flags.machine_state, reach)?;
        return leg2(flags, authority, identity, reach, source);
    }
    if let Some(path) = &leg1.assertion_file {
        refuse_leg1_flags(leg1)?;
        let found = certificate::binding(&flags.certificate)?.ok_or(Usage::AssertionWithoutCertificate)?;
        let assertion = assertion::read(path, found.0)?;
        return leg2(flags, authority, assertion, reach, found.1);
    }
    let (certificate, source) = certificate_of_leg1(flags, leg1)?;
    let client = leg1_client(flags, &authority, leg1, certificate, reach)?;
    leg2(flags, authority, client, reach, source)
}

/// Both legs where Leg 1 will never answer: its place is taken by a stand-in that is never sent.
pub(crate) fn two_legs_in_the_dry<T: Transport + Clone>(
    flags: &ClientFlags,
    leg1: &Leg1Flags,
    reach: &Reach<T>,
) -> Result<DryPlan, Failure> {
    if flags.machine.managed_identity.is_some() {
        return Err(Usage::MachineIsNotLeg2.into());
    }
    if leg1.leg1_managed_identity.is_some() {
        return Err(Usage::NoDryRun.into());
    }
    if leg1.assertion_file.is_some() {
        return Ok(DryPlan { leg1: None, leg2: two_legs(flags, leg1, reach)?.client });
    }
    let authority = authority(&flags.identity)?;
    let (certificate, source) = certificate_of_leg1(flags, leg1)?;
    let first = leg1_client(flags, &authority, leg1, certificate.clone(), reach)?;
    let stand_in = stand_in(&Binding::new(certificate), authority.cloud())?;
    Ok(DryPlan { leg1: Some(first), leg2: leg2(flags, authority, stand_in, reach, source)?.client })
}

/// The two requests of a dry run, each by a client of its own.
pub(crate) struct DryPlan {
    pub(crate) leg1: Option<Client<ByCertificate>>,
    pub(crate) leg2: Client<ByAssertion>,
}

fn certificate_of_leg1(
    flags: &ClientFlags,
    leg1: &Leg1Flags,
) -> Result<(BindingCertificate, String), Failure> {
    match &leg1.leg1_certificate {
        Some(path) => {
            let password_env = flags.certificate.certificate_password_env.as_deref();
            certificate::load(path, leg1.leg1_certificate_key.as_deref(), password_env)
        }
        // The certificate that the Azure SDKs' variable names is the application's own, which is Leg 1's.
        None => Ok(certificate::binding(&flags.certificate)?.ok_or(Usage::NoLeg1)?),
    }
}

fn leg1_client<T: Transport + Clone>(
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
    source: String,
) -> Result<Plan<Client<ByAssertion>>, Failure> {
    let app = flags.identity.client_id()?;
    let client = builder(&flags.identity, authority, app, reach).with_assertions(leg1).build()?;
    Ok(Plan { client, source })
}

fn refuse_leg1_flags(flags: &Leg1Flags) -> Result<(), Usage> {
    let unused = [
        ("--leg1-certificate-key", flags.leg1_certificate_key.is_some()),
        ("--leg1-client-id", flags.leg1_client_id.is_some()),
        ("--leg1-tenant", flags.leg1_tenant.is_some()),
    ];
    match unused.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Usage::Leg1Unused { flag }),
        None => Ok(()),
    }
}
