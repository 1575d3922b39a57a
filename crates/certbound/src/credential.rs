//! What a client authenticates with, as a type: it decides which tokens can be asked for.

mod assertion;
mod certificate;
mod federated;
mod leg1;
mod secret;
pub(crate) mod signed_assertion;
mod unbound;

use certbound_core::certificate::Thumbprint;
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;

pub use self::assertion::BoundAssertion;
pub use self::certificate::ByCertificate;
pub use self::federated::ByAssertion;
pub(crate) use self::leg1::AnyLeg1;
pub use self::leg1::{AssertionRequest, Leg1, leg1_fn};
pub use self::secret::BySecret;
pub use self::unbound::{AssertionFile, ByUnboundAssertion, UnboundAssertions, unbound_fn};
use crate::cache::Kind;
use crate::cache::key::CallerId;
use crate::certificate::{Binding, Blame};
use crate::error::{BuildError, Error, Leg};

/// No credential yet: credential setters exist only here, so a client cannot have two.
#[derive(Clone, Copy, Debug)]
pub struct NoCredential {
    pub(crate) _private: (),
}

/// A credential a client can be built with.
#[diagnostic::on_unimplemented(
    message = "a client cannot be built without a credential",
    note = "call `with_certificate`, `with_assertions`, `with_unbound_assertions` or `with_secret` before `build`"
)]
pub trait Credential: sealed::Proves + Clone + Send + Sync + 'static {}

/// A credential that has a certificate to bind a token to.
#[diagnostic::on_unimplemented(
    message = "a client that authenticates by `{Self}` has no certificate to bind a token to",
    note = "use `with_certificate`, or `with_assertions` with a Leg 1"
)]
pub trait Binds: Credential {}

impl Credential for ByCertificate {}
impl Credential for ByAssertion {}
impl Credential for ByUnboundAssertion {}
impl Credential for BySecret {}
impl Binds for ByCertificate {}
impl Binds for ByAssertion {}

pub(crate) use sealed::{Now, Proof, Proves};

mod sealed {
    use std::pin::Pin;

    use super::*;

    /// What proves the client in one request, owned until the request is encoded.
    pub enum Proof {
        CertificateOnly,
        Bound(BoundAssertion),
        /// A JWT of the client's own, or one that somebody issued to it.
        Jwt(Secret),
        Secret(std::sync::Arc<Secret>),
    }

    /// The certificate of a credential, as far as it can be told without waiting.
    pub enum Now {
        /// The credential has none, ever.
        Nobody,
        Known(Thumbprint),
        MustWait,
    }

    pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

    /// How the walk in `acquire` uses a credential.
    pub trait Proves: Send + Sync {
        /// The certificate, when it can be told without waiting.
        fn certificate_now(&self) -> Now;
        /// The certificate of this acquisition; none for a credential without one.
        fn certificate(&self) -> Boxed<'_, Option<Binding>>;
        /// Whether a request for this kind of token goes over TLS with the certificate.
        fn presents(&self, kind: Kind) -> bool;
        /// The proof for one request; in Leg 2 this runs Leg 1.
        fn proof<'a>(
            &'a self,
            certificate: Option<&'a Binding>,
            kind: Kind,
            request: &'a AssertionRequest,
            now: UnixTime,
        ) -> Boxed<'a, Proof>;
        /// Refuses a credential that cannot be meant.
        fn check(&self) -> Result<(), BuildError> {
            Ok(())
        }
        /// Certificates before the present one, newest first: their tokens may still live.
        fn earlier(&self) -> Vec<Thumbprint> {
            Vec::new()
        }
        /// The service blames the certificate: looks for another one, and tells whether there is one now.
        fn replace<'a>(&'a self, _blamed: &'a Binding, _blame: Blame) -> Boxed<'a, bool> {
            Box::pin(async { Ok(false) })
        }
        /// The service refused a request with this credential's proof.
        fn refused(&self) {}
        /// The leg that a request with this credential is; none in the direct flow.
        fn leg(&self) -> Option<Leg>;
        /// Distinguishes credentials in cache keys.
        fn name(&self) -> &'static str;
        /// Distinguishes those of one name and certificate, where they can be told apart before they are used.
        fn caller_id(&self) -> Option<CallerId> {
            None
        }
    }
}
