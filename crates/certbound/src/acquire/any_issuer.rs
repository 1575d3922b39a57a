//! The object-safe form of `Issuer`, for code that does not depend on the type of its source of tokens.

use std::future::Future;
use std::pin::Pin;

use certbound_core::certificate::Thumbprint;
use certbound_core::scope::ResourceScope;

use super::Acquisition;
use super::context::Context;
use super::issuer::Issuer;
use super::options::Options;
use crate::cache::{Kind, Loaded};
use crate::certificate::BindingCertificate;
use crate::error::{Error, Leg};

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// The inputs of an acquisition: the kind of token, its scope, and the caller's options.
pub(crate) struct AcquireParameters<'a> {
    pub(crate) kind: Kind,
    pub(crate) scope: &'a ResourceScope,
    pub(crate) options: Options,
}

/// The object-safe form of [`Issuer`]. Every issuer implements this trait.
pub(crate) trait AnyIssuer: Send + Sync {
    fn context(&self) -> &Context;

    fn leg(&self) -> Option<Leg>;

    /// Returns the thumbprint for the cache key, or `Some(None)` without a certificate. `None` means that the caller
    /// must wait for the certificate.
    fn thumbprint_now(&self, kind: Kind) -> Option<Option<Thumbprint>>;

    /// Returns the certificate in use, if it is the certificate `known` with a different handle of its key.
    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate>;

    /// Looks for a replacement of a certificate after the handle of its key did not sign. The future owns its data.
    fn replace_handle(&self, certificate: &BindingCertificate, is_gone: bool) -> Boxed<bool>;

    /// Runs the acquisition. The future owns its data.
    fn run(&self, parameters: AcquireParameters<'_>) -> Boxed<Loaded>;

    /// Starts a refresh in the background.
    fn refresh_ahead(&self, parameters: AcquireParameters<'_>);

    /// Removes the token from memory and from the store. Returns whether a token was in memory.
    fn forget(&self, parameters: AcquireParameters<'_>) -> Boxed<bool>;
}

impl<I: Issuer> AnyIssuer for I {
    fn context(&self) -> &Context {
        Issuer::context(self)
    }

    fn leg(&self) -> Option<Leg> {
        Issuer::leg(self)
    }

    fn thumbprint_now(&self, kind: Kind) -> Option<Option<Thumbprint>> {
        Issuer::thumbprint_now(self, kind)
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        Issuer::reopened(self, known)
    }

    fn replace_handle(&self, certificate: &BindingCertificate, is_gone: bool) -> Boxed<bool> {
        let (issuer, certificate) = (self.clone(), certificate.clone());
        Box::pin(async move { Issuer::replace_handle(&issuer, &certificate, is_gone).await })
    }

    fn run(&self, parameters: AcquireParameters<'_>) -> Boxed<Loaded> {
        Box::pin(acquisition(self, parameters).run())
    }

    fn refresh_ahead(&self, parameters: AcquireParameters<'_>) {
        acquisition(self, parameters).refresh_ahead();
    }

    fn forget(&self, parameters: AcquireParameters<'_>) -> Boxed<bool> {
        Box::pin(acquisition(self, parameters).forget())
    }
}

fn acquisition<I: Issuer>(issuer: &I, parameters: AcquireParameters<'_>) -> Acquisition<I> {
    let AcquireParameters { kind, scope, options } = parameters;
    Acquisition { issuer: issuer.clone(), kind, scope: scope.clone(), options, ahead: false }
}
