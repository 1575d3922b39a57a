//! What was meant: flags become the typed clients of the library, here and nowhere else.

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
    /// One step, by certificate.
    Direct(Client<ByCertificate>),
    /// Leg 2, with Leg 1 inside or done elsewhere.
    TwoLegs(Client<ByAssertion>),
    /// One step, as a managed identity.
    Machine(ManagedIdentity),
    /// One step, by secret: Bearer tokens only.
    Secret(Client<BySecret>),
    /// One step, by an assertion that is bound to nothing: Bearer tokens only.
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

    /// The resource, to be called with bound tokens.
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

/// A client, and where its certificate came from; empty without one.
pub(crate) struct Plan<C> {
    pub(crate) client: C,
    pub(crate) source: String,
}

/// The network, by the environment's proxy and trust store.
pub(crate) fn network(flags: &RunFlags) -> Result<Network, Failure> {
    let builder = Network::builder()
        .connect_timeout(Duration::from_secs(flags.connect_timeout))
        .exchange_timeout(Duration::from_secs(flags.timeout));
    Ok(builder.build()?)
}
