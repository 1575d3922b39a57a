//! The credential by unbound assertions, for example federated tokens of Kubernetes. The client gets only Bearer
//! tokens.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use certbound_core::cause::Cause;
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;

use super::sealed::{Boxed, Proof, Proves};
use crate::cache::Kind;
use crate::cache::key::{CallerId, UNBOUND};
use crate::certificate::BindingCertificate;
use crate::credential::AssertionRequest;
use crate::error::{AssertionError, Error, ProviderError};
use crate::rejected::TokenHash;

/// A source of unbound assertions (RFC 7523, section 2.2), such as a workload's federated token.
///
/// The source is called once for each token request and never on a cache hit. Its assertion is sent unchanged except
/// for white space at the ends. The token service verifies the assertion. A [`Secret`] (always the same text), an
/// [`AssertionFile`], a managed identity and the result of [`unbound_fn`] implement this trait.
pub trait UnboundAssertions: Send + Sync + 'static {
    /// Returns the assertion for one request.
    fn assertion(
        &self,
        request: &AssertionRequest,
    ) -> impl Future<Output = Result<Arc<Secret>, Error>> + Send;

    /// Returns a name of the identity that the assertions are for, as in [`Leg1::identity`](super::Leg1::identity). The
    /// default is `None`.
    fn identity(&self) -> Option<String> {
        None
    }
}

/// A file with an assertion. The client reads it for each request, because another program rotates it. An example is
/// `AZURE_FEDERATED_TOKEN_FILE` of Kubernetes workload identity.
///
/// The file may have at most 64 KiB. The client reads the file on a thread for blocking work.
///
/// ```no_run
/// use certbound::credential::AssertionFile;
/// use certbound::{Authority, Client, TenantId};
///
/// let authority = Authority::public(TenantId::parse("contoso.com")?);
/// let client = Client::builder(authority, "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e")
///     .with_unbound_assertions(AssertionFile::new("/var/run/secrets/azure/tokens/azure-identity-token"))
///     .build()?;
/// # drop(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AssertionFile {
    path: Arc<Path>,
}

const MAX_FILE_BYTES: u64 = 64 * 1024;

impl AssertionFile {
    /// Sets the path of the file. The file need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into() }
    }
}

impl UnboundAssertions for AssertionFile {
    async fn assertion(&self, _request: &AssertionRequest) -> Result<Arc<Secret>, Error> {
        let path = Arc::clone(&self.path);
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        let read = read.unwrap_or_else(|_| Err("the runtime is shutting down".into()));
        read.map(Arc::new).map_err(|cause| {
            let path = self.path.display().to_string();
            Error::provider(None, ProviderError::new(Unreadable { path, cause }))
        })
    }

    fn identity(&self) -> Option<String> {
        Some(format!("file {}", self.path.display()))
    }
}

/// The reason why the file cannot be used. [`Cause`] writes the text of the source after the text of this error.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be read")]
struct Unreadable {
    path: String,
    #[source]
    cause: Cause,
}

fn read(path: &Path) -> Result<Secret, Cause> {
    use std::io::Read as _;

    let file = std::fs::File::open(path)?;
    // The buffer has its full size from the start, because a growing buffer would leave unwiped copies in memory.
    let mut text = zeroize::Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize + 1));
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes, the maximum for an assertion").into());
    }
    Ok(Secret::new(text.trim()))
}

impl UnboundAssertions for Secret {
    async fn assertion(&self, _request: &AssertionRequest) -> Result<Arc<Secret>, Error> {
        Ok(Arc::new(Secret::new(self.expose())))
    }

    fn identity(&self) -> Option<String> {
        Some(TokenHash::of(self).hex())
    }
}

/// Returns a source of unbound assertions from a function, which is called once for each token request.
///
/// An error of the function is kept as the source of [`Error::Provider`]. The error is transient, except for
/// [`ProviderError::permanent`] and for an [`Error`] that is not transient. The cache hides a transient error while a
/// token is still valid.
///
/// ```
/// use certbound::credential::unbound_fn;
/// use certbound::{Authority, Client, Secret, TenantId};
///
/// let authority = Authority::public(TenantId::parse("contoso.com")?);
/// let client = Client::builder(authority, "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e")
///     .with_unbound_assertions(unbound_fn(|request| {
///         println!("assertion asked for {}", request.token_endpoint);
///         async { std::env::var("MY_ASSERTION").map(Secret::new) }
///     }))
///     .build()?;
/// # drop(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unbound_fn<F, Fut, E>(provider: F) -> impl UnboundAssertions
where
    F: Fn(&AssertionRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Secret, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Provided(provider)
}

struct Provided<F>(F);

impl<F, Fut, E> UnboundAssertions for Provided<F>
where
    F: Fn(&AssertionRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Secret, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn assertion(&self, request: &AssertionRequest) -> Result<Arc<Secret>, Error> {
        let failed = |error| Error::provider(None, ProviderError::new(error));
        (self.0)(request).await.map(Arc::new).map_err(failed)
    }
}

/// A client that authenticates by unbound assertions. It gets only Bearer tokens.
#[derive(Clone)]
pub struct ByUnboundAssertion {
    source: Arc<dyn AnyUnbound>,
}

impl ByUnboundAssertion {
    pub(crate) fn new(source: impl UnboundAssertions) -> Self {
        Self { source: Arc::new(source) }
    }
}

impl fmt::Debug for ByUnboundAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByUnboundAssertion").finish_non_exhaustive()
    }
}

impl Proves for ByUnboundAssertion {
    fn proof<'a>(
        &'a self,
        _certificate: Option<&'a BindingCertificate>,
        _kind: Kind,
        request: &'a AssertionRequest,
        _now: UnixTime,
    ) -> Boxed<'a, Proof> {
        Box::pin(async move {
            let assertion = self.source.assertion(request).await?;
            let text = assertion.expose();
            match text.trim() {
                "" => Err(Error::misuse(None, AssertionError::Empty)),
                trimmed => Ok(Proof::Jwt(Secret::new(trimmed))),
            }
        })
    }

    fn name(&self) -> &'static str {
        UNBOUND
    }

    fn caller_id(&self) -> Option<CallerId> {
        self.source.identity().map(CallerId::identity)
    }
}

/// The object-safe form of [`UnboundAssertions`].
trait AnyUnbound: Send + Sync {
    fn identity(&self) -> Option<String>;
    fn assertion<'a>(
        &'a self,
        request: &'a AssertionRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Secret>, Error>> + Send + 'a>>;
}

impl<S: UnboundAssertions> AnyUnbound for S {
    fn identity(&self) -> Option<String> {
        UnboundAssertions::identity(self)
    }

    fn assertion<'a>(
        &'a self,
        request: &'a AssertionRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Secret>, Error>> + Send + 'a>> {
        Box::pin(UnboundAssertions::assertion(self, request))
    }
}
