//! A source of tokens that is chosen at run time.

#[cfg(feature = "managed-identity")]
mod managed_identity;

use std::fmt;
use std::sync::Arc;

use certbound_core::scope::ResourceScope;

use crate::acquire::{Acquire, AnyIssuer};
use crate::background::Background;
use crate::client::Client;
use crate::credential::Credential;
use crate::resource::Resource;
use crate::token::{BearerToken, BoundToken};

/// A source of tokens: every [`Client`], a [`ManagedIdentity`](crate::ManagedIdentity), or an
/// [`AnyClient`].
///
/// Use this trait in code that accepts any source, as `&dyn TokenSource`. If the type of the credential is known, use
/// the client itself. The compiler then refuses a request for a bound token with a credential that has no certificate.
/// With this trait, the acquisition returns an error instead.
///
/// ```no_run
/// use certbound::{Error, ResourceScope, TokenSource};
///
/// async fn expiry(source: &dyn TokenSource, scope: &ResourceScope) -> Result<u64, Error> {
///     Ok(source.bound_token(scope).await?.expires_at().as_secs())
/// }
/// # let _ = expiry;
/// ```
pub trait TokenSource: Send + Sync + fmt::Debug + sealed::Sealed {
    /// Requests a token for `scope` that is bound to the certificate of the source. Set options on the returned
    /// [`Acquire`], then await it.
    ///
    /// # Errors
    /// The errors of an acquisition. The acquisition fails with `mtls_certificate_not_provided` if the credential has
    /// no certificate.
    fn bound_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BoundToken>;

    /// Requests a Bearer token for `scope`. Set options on the returned [`Acquire`], then await it.
    fn bearer_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BearerToken>;

    /// Returns a resource for repeated calls with bound tokens for `scope`.
    fn resource(&self, scope: &ResourceScope) -> Resource;
}

/// A [`TokenSource`] whose credential is chosen at run time. A clone is cheap.
///
/// ```no_run
/// # fn example(by_flag: bool) -> Result<(), Box<dyn std::error::Error>> {
/// use certbound::{AnyClient, Authority, BindingCertificate, Client, ManagedIdentity, TenantId};
///
/// let source: AnyClient = if by_flag {
///     ManagedIdentity::system_assigned().build()?.into()
/// } else {
///     let authority = Authority::public(TenantId::parse("contoso.com")?);
///     let certificate = BindingCertificate::from_pem_file("app.pem")?;
///     Client::builder(authority, "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e").with_certificate(certificate).build()?.into()
/// };
/// # drop(source);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AnyClient {
    issuer: Arc<dyn AnyIssuer>,
    background: Arc<Background>,
    name: &'static str,
}

impl<C: Credential> From<Client<C>> for AnyClient {
    fn from(client: Client<C>) -> Self {
        Self { issuer: Arc::new(client.issuer), background: client.background, name: "Client" }
    }
}

impl TokenSource for AnyClient {
    fn bound_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BoundToken> {
        Acquire::new(&*self.issuer, scope)
    }

    fn bearer_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BearerToken> {
        Acquire::new(&*self.issuer, scope)
    }

    fn resource(&self, scope: &ResourceScope) -> Resource {
        Resource::new(Arc::clone(&self.issuer), Arc::clone(&self.background), scope.clone())
    }
}

impl<C: Credential> TokenSource for Client<C> {
    fn bound_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BoundToken> {
        Acquire::new(&self.issuer, scope)
    }

    fn bearer_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BearerToken> {
        Acquire::new(&self.issuer, scope)
    }

    fn resource(&self, scope: &ResourceScope) -> Resource {
        Resource::new(Arc::new(self.issuer.clone()), Arc::clone(&self.background), scope.clone())
    }
}

impl fmt::Debug for AnyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyClient").field(&self.name).finish()
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::AnyClient {}
    impl<C: super::Credential> Sealed for super::Client<C> {}
}
