//! The interpretation of the flags: only this module turns flags into the typed clients of the library.

mod assertion;
mod authority;
mod certificate;
mod direct;
mod dry;
mod hardware;
mod machine;
mod prover;
mod reach;
mod region;
mod resource;
mod scope;
mod two_legs;
mod value;

use std::sync::Arc;
use std::time::Duration;

use certbound::observe::Observer;
use certbound::{Error, Network, ResourceScope, TokenSource};

pub(crate) use self::assertion::stand_in;
pub(crate) use self::authority::{authority, scope, scope_or_usual};
pub(crate) use self::certificate::{check as check_certificate, load as load_certificate};
pub(crate) use self::direct::{by_certificate, direct};
pub(crate) use self::dry::{NeverTransport, stopped};
pub(crate) use self::hardware::options as token_options;
pub(crate) use self::machine::{
    assertion as machine_assertion, at as machine_at, presents as presents_machine,
    with_keys as with_machine_keys,
};
use self::prover::Prover;
pub(crate) use self::reach::Reach;
pub(crate) use self::region::{in_region_of_environment, region};
pub(crate) use self::resource::{call_with_bearer, url, with_tokens};
pub(crate) use self::scope::{graph_for_bound_tokens, scope_for_host};
pub(crate) use self::two_legs::{
    DryLeg1, Leg1Source, certificate_of_both_legs, check_leg1, exchange, in_the_dry as two_legs_in_the_dry,
    is_unbound, leg1_client, leg1_source, refuse_machine_as_leg2, two_legs,
};
pub(crate) use self::value::{check_application, check_value};
use crate::failure::Failure;
use crate::flags::{KindFlags, RunFlags};
use crate::output::Token;

/// Acquires a token of the requested kind.
pub(crate) async fn acquire(
    source: &dyn TokenSource,
    scope: &ResourceScope,
    kind: Kind,
    observer: Arc<dyn Observer>,
) -> Result<Token, Error> {
    match kind {
        Kind::Bound => source.bound_token(scope).observe(observer).await.map(Token::Bound),
        Kind::Bearer => source.bearer_token(scope).observe(observer).await.map(Token::Bearer),
    }
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
