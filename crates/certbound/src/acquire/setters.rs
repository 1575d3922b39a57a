//! The options of one acquisition, as a caller sets them.

use std::marker::PhantomData;
use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::scope::ResourceScope;
use certbound_core::secret::Secret;
use certbound_core::tenant::TenantId;

use super::any_issuer::{AcquireParameters, AnyIssuer};
use super::options::Options;
use crate::correlation::CorrelationId;
use crate::error::Error;
use crate::observe::Observer;
use crate::rejected::TokenHash;
use crate::token::Token;

/// An acquisition that has not started: add options, then await it.
///
/// The acquisition reads the cache when it is awaited. A hit without options allocates nothing.
///
/// A managed identity supports only [`claims`](Acquire::claims), [`force_refresh`](Acquire::force_refresh),
/// [`rejected`](Acquire::rejected), [`correlation_id`](Acquire::correlation_id) and [`observe`](Acquire::observe). With
/// a tenant, an authority, an FMI path, a parameter or claims of the application, the acquisition fails with
/// `option_not_for_managed_identity` when awaited.
#[must_use = "nothing happens until it is awaited"]
pub struct Acquire<'a, T> {
    pub(super) issuer: &'a dyn AnyIssuer,
    pub(super) scope: &'a ResourceScope,
    pub(super) options: Option<Box<Options>>,
    token: PhantomData<fn() -> T>,
}

impl<'a, T> Acquire<'a, T> {
    pub(crate) fn new(issuer: &'a dyn AnyIssuer, scope: &'a ResourceScope) -> Self {
        Self { issuer, scope, options: None, token: PhantomData }
    }

    fn option(&mut self) -> &mut Options {
        self.options.get_or_insert_default()
    }

    /// Exchanges a user's token (On-Behalf-Of), instead of acting as the application itself.
    pub(crate) fn on_behalf_of(mut self, user: &Secret) -> Self {
        let options = self.option();
        options.extras.user = Some(TokenHash::of(user));
        options.user = Some(Arc::new(Secret::new(user.expose())));
        self
    }

    /// Requests the token from an authority other than the client's. Both authorities must have the same kind. For
    /// Entra, their hosts must be aliases; for B2C, AD FS and dSTS, they must have the same host. If
    /// [`Acquire::tenant`] is also used, its tenant replaces this authority's tenant.
    ///
    /// # Errors
    /// When awaited: `authority_type_mismatch`, `authority_host_mismatch` and `B2C_authority_host_mismatch`. A client
    /// with a region gets `authority_override_regional` if the host differs from the host of the client's authority.
    pub fn authority(mut self, authority: Authority) -> Self {
        let own = self.issuer.context().cache_key.authority();
        let for_cache = authority.for_cache();
        let extra = Some(for_cache).filter(|it| own != Some(it));
        let options = self.option();
        (options.authority, options.extras.authority) = (Some(authority), extra);
        self
    }

    /// Requests the token from a tenant other than the client's, for a multi-tenant application.
    ///
    /// # Errors
    /// When awaited: `tenant_override_not_supported`, if the client's authority is of a kind whose tenant cannot be chosen.
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.option().extras.tenant = Some(tenant);
        self
    }

    /// Answers a claims challenge (JSON). The cache is not read, unless [`rejected`](Acquire::rejected) is also set.
    /// The new token replaces the cached token.
    ///
    /// A managed identity sends the claims only to the token service and not to its platform. A request to Service
    /// Fabric contains the hash of the cached token that the new token replaces.
    pub fn claims(mut self, claims: impl Into<String>) -> Self {
        self.option().claims = Some(claims.into());
        self
    }

    /// Adds the application's own claims (JSON) to the `claims` parameter. The cache is read: tokens are cached
    /// separately for each text, so a difference in white space matters. A blank text is ignored.
    pub fn client_claims(mut self, claims: impl Into<String>) -> Self {
        let claims = claims.into();
        self.option().extras.client_claims = Some(claims).filter(|claims| !claims.trim().is_empty());
        self
    }

    /// Adds claims (a JSON object) to the assertion that a certificate client signs for a Bearer token. Tokens are
    /// cached separately for each text. Other credentials sign no assertion and ignore the claims.
    ///
    /// # Errors
    /// When awaited: `assertion_claims_not_supported` for a bound token (its request has no signed assertion);
    /// `invalid_assertion_claims`, if the text is not a JSON object or has a claim of the library.
    pub fn assertion_claims(mut self, claims: impl Into<String>) -> Self {
        self.option().extras.assertion_claims = Some(claims.into());
        self
    }

    /// Requests a new token even if a valid token is cached. A managed identity then requests a bound token with a new
    /// certificate. If the metadata service is unavailable, the identity uses the current certificate.
    pub fn force_refresh(mut self) -> Self {
        self.option().force_refresh = true;
        self
    }

    /// Requests a new token if the cached token is this rejected token. This option cannot be combined with
    /// [`Acquire::force_refresh`].
    pub fn rejected(mut self, token: TokenHash) -> Self {
        self.option().rejected = Some(token);
        self
    }

    /// Sends this correlation id in every request of both legs. By default, each acquisition has a random id.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.option().correlation_id = Some(id);
        self
    }

    /// Sends the parameter `fmi_path`. Tokens are cached separately for each path.
    pub fn fmi_path(mut self, path: impl Into<String>) -> Self {
        self.option().extras.fmi_path = Some(path.into());
        self
    }

    /// Requests the assertion of Leg 1 with this `fmi_path`. Tokens are cached separately for each path.
    pub fn assertion_fmi_path(mut self, path: impl Into<String>) -> Self {
        self.option().extras.assertion_fmi_path = Some(path.into());
        self
    }

    /// Sends the parameter `attributes` (JSON). Tokens are cached separately for each text.
    pub fn attributes(self, json: impl Into<String>) -> Self {
        self.own_body("attributes", json.into())
    }

    /// Sends the parameter `attribute_tokens`, sorted and without duplicates. Tokens are cached separately for each
    /// set.
    ///
    /// # Errors
    /// When awaited: `invalid_attribute_token`, if a token is empty or contains white space. White space around a token
    /// is removed first.
    pub fn attribute_tokens<S: AsRef<str>>(self, tokens: impl IntoIterator<Item = S>) -> Self {
        let tokens: std::collections::BTreeSet<String> =
            tokens.into_iter().map(|token| token.as_ref().trim().to_owned()).collect();
        let fit = tokens.iter().all(|token| !token.is_empty() && !token.contains(char::is_whitespace));
        let mut this = self;
        this.option().unfit_attribute_token |= !fit;
        this.own_body("attribute_tokens", tokens.into_iter().collect::<Vec<_>>().join(" "))
    }

    fn own_body(mut self, name: &str, value: String) -> Self {
        let body = &mut self.option().extras.body;
        body.retain(|(known, _)| known != name);
        if !value.trim().is_empty() {
            body.push((name.to_owned(), value));
        }
        self
    }

    /// Adds a parameter to the request's body. Tokens are cached separately for each value. Observers see only the
    /// length of the value.
    ///
    /// # Errors
    /// When awaited: `invalid_body_parameter`, if the name is not printable, if the name is reserved for a parameter of
    /// the library (in upper or lower case), if the parameter is given twice, or if the value is blank.
    pub fn body(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.option().extras.body.push((name.into(), value.into()));
        self
    }

    /// Adds a query parameter to the token endpoint. Tokens are cached separately for each value. The text is sent
    /// unchanged, so it must already be percent-encoded.
    ///
    /// `caller-sdk-id`, `caller-sdk-ver` and `ManagedCert` become part of the telemetry header, and are not sent as
    /// parameters.
    ///
    /// # Errors
    /// When awaited: `invalid_query_parameter`, if a name or value cannot be part of a URL, or if the name (in upper or
    /// lower case) is reserved for a parameter of the library
    /// ([`TokenRequest::OWN_PARAMETERS`](certbound_core::request::TokenRequest::OWN_PARAMETERS)).
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.option().add_query(name.into(), value.into());
        self
    }

    /// Registers an observer. It sees each token request before the request is sent. The observer also sees Leg 1 if
    /// this process sends that request. The observer does not see requests to the platform of a managed identity.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.option().observer = Some(observer);
        self
    }
}

#[expect(private_bounds, reason = "there are only two kinds of token")]
impl<'a, T: Token> Acquire<'a, T> {
    /// Removes the cached token of this request, and the tokens of earlier certificates, from memory and from the store. Returns whether a token was in memory.
    /// No token request is sent.
    ///
    /// Use this method for a token that must not be used any more, for example after a change of the application's
    /// permissions. A request that is already running still caches its token.
    ///
    /// # Errors
    /// An error of the credential, if it cannot name its certificate.
    pub async fn forget(self) -> Result<bool, Error> {
        let issuer = self.issuer;
        issuer.forget(self.parameters()).await
    }

    pub(super) fn parameters(self) -> AcquireParameters<'a> {
        let options = self.options.map(|options| *options).unwrap_or_default();
        AcquireParameters { kind: T::KIND, scope: self.scope, options }
    }
}
