//! The credentials of clients. The type of the credential determines which tokens a client can request.

mod assertion;
mod certificate;
mod federated;
mod leg1;
mod secret;
pub(crate) mod signed_assertion;
mod unbound;

use certbound_core::certificate::Thumbprint;
pub use certbound_core::secret::Secret;
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
use crate::certificate::{BindingCertificate, Blame};
use crate::error::{BuildError, Error, Leg};

/// The type of a builder's credential before a credential is set. Only a builder with this type has the functions that
/// set a credential, so a client cannot have two credentials.
#[derive(Clone, Copy, Debug)]
pub struct NoCredential {
    pub(crate) _private: (),
}

/// A credential with which a client can be built.
#[diagnostic::on_unimplemented(
    message = "a client cannot be built without a credential",
    note = "call `with_certificate`, `with_assertions`, `with_unbound_assertions` or `with_secret` before `build`"
)]
pub trait Credential: sealed::Proves + Clone + Send + Sync + 'static {}

/// A credential with a certificate to which tokens can be bound.
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

pub(crate) use sealed::{Proof, Proves};

mod sealed {
    use std::pin::Pin;

    use super::*;

    /// The proof of one request. The proof owns its data until the request is encoded.
    pub enum Proof {
        CertificateOnly,
        Bound(BoundAssertion),
        /// A JWT that the client signed, or that another issuer signed for the client.
        Jwt(Secret),
        Secret(std::sync::Arc<Secret>),
    }

    pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

    /// The interface of a credential for acquisitions. The default functions are for a credential without a
    /// certificate.
    pub trait Proves: Send + Sync {
        /// Returns the certificate's thumbprint, or `Some(None)` for a credential without a certificate. `None` means
        /// that the caller must wait for the certificate.
        fn thumbprint_now(&self) -> Option<Option<Thumbprint>> {
            Some(None)
        }
        /// Returns the thumbprint for the cache keys of tokens that remain usable after a rotation. The result is
        /// `None` if tokens of this kind do not remain usable. The result does not change while the client exists.
        fn lasting_thumbprint(&self, _kind: Kind) -> Option<Thumbprint> {
            None
        }
        /// Returns the certificate in use, if it is the certificate `known` with a different handle of its key.
        fn reopened(&self, _known: &BindingCertificate) -> Option<BindingCertificate> {
            None
        }
        /// Returns the certificate of this acquisition. The result is `None` for a credential without a certificate.
        fn certificate(&self) -> Boxed<'_, Option<BindingCertificate>> {
            Box::pin(async { Ok(None) })
        }
        /// Returns whether a request for this kind of token presents the certificate in TLS.
        fn presents(&self, _kind: Kind) -> bool {
            false
        }
        /// Returns the proof for one request. In Leg 2 the function runs Leg 1.
        fn proof<'a>(
            &'a self,
            certificate: Option<&'a BindingCertificate>,
            kind: Kind,
            request: &'a AssertionRequest,
            now: UnixTime,
        ) -> Boxed<'a, Proof>;
        /// Refuses a credential that can never be correct.
        fn check(&self) -> Result<(), BuildError> {
            Ok(())
        }
        /// Returns the thumbprints of the earlier certificates, newest first. Their tokens can still be valid.
        fn earlier(&self) -> Vec<Thumbprint> {
            Vec::new()
        }
        /// Looks for a replacement after an error that blames the certificate or the handle of its key. Returns whether
        /// a replacement is in use now.
        fn replace<'a>(&'a self, _blamed: &'a BindingCertificate, _blame: Blame) -> Boxed<'a, bool> {
            Box::pin(async { Ok(false) })
        }
        /// Reacts to the service's refusal of a request with this credential's proof.
        fn refused(&self) {}
        /// Returns the leg of requests with this credential. It is `None` outside of the two-leg flow.
        fn leg(&self) -> Option<Leg> {
            None
        }
        /// Returns the kind of credential, which is part of cache keys.
        fn name(&self) -> &'static str;
        /// Returns an id that distinguishes credentials of the same kind with the same certificate. The result is
        /// `None` if no id is needed or known.
        fn caller_id(&self) -> Option<CallerId> {
            None
        }
    }
}
