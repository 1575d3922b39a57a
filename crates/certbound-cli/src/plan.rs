//! What was meant: flags become the typed clients of the library, here and nowhere else.

mod assertion;
mod certificate;
mod region;
mod scope;

use std::sync::Arc;
use std::time::Duration;

use certbound::{
    Authority, Binding, BindingCertificate, ByAssertion, ByCertificate, Client, Leg1, Network, Observer,
    Resource, ResourceScope, TenantId, Transport,
};

pub(crate) use self::assertion::stand_in;
pub(crate) use self::region::region;
pub(crate) use self::scope::scope_for_host;
use crate::failure::Failure;
use crate::flags::{ClientFlags, IdentityFlags, KindFlags, Leg1Flags, RunFlags};
use crate::output::Token;
use crate::usage::Usage;

/// The client that the flags describe, chosen at run time.
pub(crate) enum AnyClient {
    /// One step, by certificate.
    Direct(Client<ByCertificate>),
    /// Leg 2, with Leg 1 inside or done elsewhere.
    TwoLegs(Client<ByAssertion>),
}

impl AnyClient {
    pub(crate) async fn token(
        &self,
        scope: &ResourceScope,
        kind: Kind,
        observer: Arc<dyn Observer>,
    ) -> Result<Token, certbound::Error> {
        Ok(match (self, kind) {
            (Self::Direct(client), Kind::Bound) => {
                Token::Bound(client.bound_token(scope).observe(observer).await?)
            }
            (Self::Direct(client), Kind::Bearer) => {
                Token::Bearer(client.bearer_token(scope).observe(observer).await?)
            }
            (Self::TwoLegs(client), Kind::Bound) => {
                Token::Bound(client.bound_token(scope).observe(observer).await?)
            }
            (Self::TwoLegs(client), Kind::Bearer) => {
                Token::Bearer(client.bearer_token(scope).observe(observer).await?)
            }
        })
    }

    pub(crate) fn resource(&self, scope: &ResourceScope) -> Resource {
        match self {
            Self::Direct(client) => client.resource(scope),
            Self::TwoLegs(client) => client.resource(scope),
        }
    }
}

/// Which kind of token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bound,
    Bearer,
}

impl From<KindFlags> for Kind {
    fn from(flags: KindFlags) -> Self {
        if flags.bearer { Self::Bearer } else { Self::Bound }
    }
}

/// A client, and where its certificate came from.
pub(crate) struct Plan<C> {
    pub(crate) client: C,
    pub(crate) source: String,
}

/// The direct flow, and Leg 1 alone.
pub(crate) fn by_certificate<T: Transport + Clone>(
    flags: &ClientFlags,
    transport: &T,
) -> Result<Plan<Client<ByCertificate>>, Failure> {
    let authority = authority(&flags.identity)?;
    let (certificate, source) = certificate::binding(&flags.certificate)?.ok_or(Usage::NoCertificate)?;
    let builder = Client::builder(authority, flags.identity.client_id.as_str()).with_certificate(certificate);
    Ok(Plan { client: builder.with_transport(transport.clone()).build()?, source })
}

/// Both legs, or Leg 2 with an assertion made elsewhere.
pub(crate) fn two_legs<T: Transport + Clone>(
    flags: &ClientFlags,
    leg1: &Leg1Flags,
    transport: &T,
) -> Result<Plan<Client<ByAssertion>>, Failure> {
    let authority = authority(&flags.identity)?;
    let app = flags.identity.client_id.as_str();
    if let Some(path) = &leg1.assertion_file {
        refuse_leg1_flags(leg1)?;
        let found = certificate::binding(&flags.certificate)?.ok_or(Usage::AssertionWithoutCertificate)?;
        let assertion = assertion::read(path, found.0)?;
        return leg2(authority, app, assertion, transport, found.1);
    }
    let (certificate, source) = certificate_of_leg1(flags, leg1)?;
    let client = leg1_client(&authority, app, leg1, certificate, transport)?;
    leg2(authority, app, client, transport, source)
}

/// Both legs where Leg 1 will never answer: its place is taken by a stand-in that is never sent.
pub(crate) fn two_legs_in_the_dry<T: Transport + Clone>(
    flags: &ClientFlags,
    leg1: &Leg1Flags,
    transport: &T,
) -> Result<DryPlan, Failure> {
    if leg1.assertion_file.is_some() {
        return Ok(DryPlan { leg1: None, leg2: two_legs(flags, leg1, transport)?.client });
    }
    let authority = authority(&flags.identity)?;
    let app = flags.identity.client_id.as_str();
    let (certificate, source) = certificate_of_leg1(flags, leg1)?;
    let first = leg1_client(&authority, app, leg1, certificate.clone(), transport)?;
    let stand_in = stand_in(&Binding::new(certificate), authority.cloud())?;
    Ok(DryPlan { leg1: Some(first), leg2: leg2(authority, app, stand_in, transport, source)?.client })
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
    authority: &Authority,
    app: &str,
    flags: &Leg1Flags,
    certificate: BindingCertificate,
    transport: &T,
) -> Result<Client<ByCertificate>, Failure> {
    let authority = match &flags.leg1_tenant {
        Some(tenant) => {
            let kind = authority.kind();
            let other = authority.for_tenant(TenantId::parse(tenant)?);
            other.ok_or_else(|| Usage::NoTenantToChoose { kind })?
        }
        None => authority.clone(),
    };
    let app = flags.leg1_client_id.as_deref().unwrap_or(app);
    let client = Client::builder(authority, app).with_certificate(certificate);
    Ok(client.with_transport(transport.clone()).build()?)
}

fn leg2<T: Transport + Clone>(
    authority: Authority,
    app: &str,
    leg1: impl Leg1,
    transport: &T,
    source: String,
) -> Result<Plan<Client<ByAssertion>>, Failure> {
    let client =
        Client::builder(authority, app).with_assertions(leg1).with_transport(transport.clone()).build()?;
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

/// The authority of the client: host, tenant and region together.
fn authority(flags: &IdentityFlags) -> Result<Authority, Failure> {
    let tenant = flags.tenant.as_deref().map(TenantId::parse).transpose()?;
    let authority = match (&flags.authority, tenant) {
        (None, None) => return Err(Usage::NoTenant.into()),
        (None, Some(tenant)) => Authority::public(tenant),
        (Some(url), tenant) => at_host(url, tenant)?,
    };
    Ok(match region::region(flags.region.as_deref())? {
        Some(region) => authority.with_region(region),
        None => authority,
    })
}

/// `url` is a bare host, a URL without tenant, or a whole authority.
fn at_host(url: &str, tenant: Option<TenantId>) -> Result<Authority, Failure> {
    let url = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    let names_tenant = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .is_some_and(|(_, path)| !path.is_empty());
    match (names_tenant, tenant) {
        (false, Some(tenant)) => Ok(Authority::parse(&format!("{}/{tenant}", url.trim_end_matches('/')))?),
        (false, None) => match Authority::parse(&url) {
            Err(certbound::AuthorityUrlError::PathRequired { .. }) => Err(Usage::NoTenant.into()),
            other => Ok(other?),
        },
        (true, tenant) => {
            let authority = Authority::parse(&url)?;
            match tenant {
                Some(flag) => match authority.tenant() {
                    Some(tenant) if *tenant == flag => Ok(authority),
                    Some(tenant) => {
                        let authority = tenant.to_string();
                        Err(Usage::TwoTenants { authority, flag: flag.to_string() }.into())
                    }
                    None => Err(Usage::NoTenantToChoose { kind: authority.kind() }.into()),
                },
                None => Ok(authority),
            }
        }
    }
}

/// The network, by the environment's proxy and trust store.
pub(crate) fn network(flags: &RunFlags) -> Result<Network, Failure> {
    let builder = Network::builder()
        .connect_timeout(Duration::from_secs(flags.connect_timeout))
        .exchange_timeout(Duration::from_secs(flags.timeout));
    Ok(builder.build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(authority: &str, tenant: Option<&str>) -> Result<String, String> {
        let tenant = tenant.map(|tenant| TenantId::parse(tenant).unwrap());
        at_host(authority, tenant).map(|authority| authority.url()).map_err(|failure| failure.code)
    }

    #[test]
    fn the_authority_is_a_host_a_url_or_the_whole() {
        let whole = Ok("https://login.microsoftonline.us/contoso.com/".to_owned());
        for host in [
            "login.microsoftonline.us",
            "https://login.microsoftonline.us",
            "https://login.microsoftonline.us/",
        ] {
            assert_eq!(url(host, Some("contoso.com")), whole, "{host}");
            assert_eq!(url(host, None), Err("tenant_required".to_owned()), "{host}");
        }
        assert_eq!(url("https://login.microsoftonline.us/contoso.com", None), whole);
        assert_eq!(url("https://login.microsoftonline.us/contoso.com", Some("contoso.com")), whole);
        assert_eq!(
            url("https://login.microsoftonline.us/contoso.com", Some("b.com")),
            Err("tenant_conflict".to_owned())
        );
        assert_eq!(
            url("http://login.microsoftonline.us", Some("b.com")),
            Err("authority_not_https".to_owned())
        );
        assert_eq!(
            url("https://login.microsoftonline.us/common", None),
            Err("missing_tenanted_authority".to_owned())
        );
    }
}
