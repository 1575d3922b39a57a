//! The interpretation of the flags: only this module turns flags into the typed clients of the library.

mod assertion;
mod authority;
mod certificate;
mod direct;
mod machine;
mod prover;
mod reach;
mod region;
mod scope;
mod two_legs;

use std::sync::Arc;
use std::time::Duration;

use certbound::{
    ByAssertion, ByCertificate, BySecret, ByUnboundAssertion, Client, Credential, Error, ManagedIdentity,
    Network, Observer, Resource, ResourceScope,
};

pub(crate) use self::assertion::stand_in;
pub(crate) use self::authority::scope;
pub(crate) use self::direct::{by_certificate, direct};
pub(crate) use self::machine::{assertion as machine_assertion, at as machine_at};
use self::prover::Prover;
pub(crate) use self::reach::Reach;
pub(crate) use self::region::region;
pub(crate) use self::scope::scope_for_host;
pub(crate) use self::two_legs::{DryLeg1, in_the_dry as two_legs_in_the_dry, two_legs};
use crate::failure::Failure;
use crate::flags::{KindFlags, RunFlags};
use crate::output::Token;

/// The client that the flags describe, chosen at run time.
pub(crate) enum AnyClient {
    /// The direct flow with a certificate.
    Direct(Client<ByCertificate>),
    /// Leg 2, with a Leg 1 inside or an assertion from elsewhere.
    TwoLegs(Client<ByAssertion>),
    /// A token of a managed identity.
    Machine(ManagedIdentity),
    /// A token by a secret: Bearer only.
    Secret(Client<BySecret>),
    /// A token by an unbound assertion: Bearer only.
    Unbound(Client<ByUnboundAssertion>),
}

impl AnyClient {
    pub(crate) async fn token(
        &self,
        scope: &ResourceScope,
        kind: Kind,
        observer: Arc<dyn Observer>,
    ) -> Result<Token, Error> {
        match (self, kind) {
            (Self::Direct(client), Kind::Bound) => {
                client.bound_token(scope).observe(observer).await.map(Token::Bound)
            }
            (Self::TwoLegs(client), Kind::Bound) => {
                client.bound_token(scope).observe(observer).await.map(Token::Bound)
            }
            (Self::Machine(identity), Kind::Bound) => {
                identity.bound_token(scope).observe(observer).await.map(Token::Bound)
            }
            (Self::Machine(identity), Kind::Bearer) => {
                identity.bearer_token(scope).observe(observer).await.map(Token::Bearer)
            }
            (Self::Direct(client), Kind::Bearer) => bearer(client, scope, observer).await,
            (Self::TwoLegs(client), Kind::Bearer) => bearer(client, scope, observer).await,
            (Self::Secret(client), Kind::Bearer) => bearer(client, scope, observer).await,
            (Self::Unbound(client), Kind::Bearer) => bearer(client, scope, observer).await,
            (Self::Secret(_) | Self::Unbound(_), Kind::Bound) => Err(without_certificate()),
        }
    }

    /// Returns the resource, which is called with bound tokens.
    pub(crate) fn resource(&self, scope: &ResourceScope) -> Result<Resource, Error> {
        match self {
            Self::Direct(client) => Ok(client.resource(scope)),
            Self::TwoLegs(client) => Ok(client.resource(scope)),
            Self::Machine(identity) => Ok(identity.resource(scope)),
            Self::Secret(_) | Self::Unbound(_) => Err(without_certificate()),
        }
    }
}

async fn bearer<C: Credential>(
    client: &Client<C>,
    scope: &ResourceScope,
    observer: Arc<dyn Observer>,
) -> Result<Token, Error> {
    client.bearer_token(scope).observe(observer).await.map(Token::Bearer)
}

fn without_certificate() -> Error {
    Error::Misuse { leg: None, what: certbound::Misuse::CertificateNotProvided }
}

/// The requested kind of token.
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

/// A client, and the source of its certificate; the source is empty without a certificate.
pub(crate) struct Plan<C> {
    pub(crate) client: C,
    pub(crate) source: String,
}

/// Returns the network, with the proxy and the trust store of the environment.
pub(crate) fn network(flags: &RunFlags) -> Result<Network, Failure> {
    let builder = Network::builder()
        .connect_timeout(Duration::from_secs(flags.connect_timeout))
        .exchange_timeout(Duration::from_secs(flags.timeout));
    Ok(builder.build()?)
}
