//! What a caller can ask of one acquisition.

use std::marker::PhantomData;
use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::scope::ResourceScope;
use certbound_core::secret::Secret;
use certbound_core::tenant::TenantId;

use super::Acquisition;
use super::client_core::ClientCore;
use super::settings::Options;
use super::token_service::TokenService;
use crate::cache::key::KeyRef;
use crate::correlation::CorrelationId;
use crate::credential::Proves;
use crate::error::Error;
use crate::observe::Observer;
use crate::rejected::TokenHash;
use crate::token::Token;

/// An acquisition about to happen: add options, then await it.
///
/// Whether the cache has a live token is decided when it is awaited; only then, on a miss, is anything allocated.
#[must_use = "nothing happens until it is awaited"]
pub struct Acquire<'a, T> {
    pub(super) client: &'a Arc<ClientCore>,
    pub(super) credential: &'a dyn CloneableProves,
    pub(super) scope: &'a ResourceScope,
    pub(super) options: Option<Box<Options>>,
    token: PhantomData<fn() -> T>,
}

impl<'a, T> Acquire<'a, T> {
    pub(crate) fn new(
        client: &'a Arc<ClientCore>,
        credential: &'a dyn CloneableProves,
        scope: &'a ResourceScope,
    ) -> Self {
        Self { client, credential, scope, options: None, token: PhantomData }
    }

    fn option(&mut self) -> &mut Options {
        self.options.get_or_insert_default()
    }

    /// Exchanges a user's token, instead of acting as the application itself.
    pub(crate) fn on_behalf_of(mut self, user: &Secret) -> Self {
        let options = self.option();
        options.extras.user = Some(TokenHash::of(user));
        options.user = Some(Arc::new(Secret::new(user.expose())));
        self
    }

    /// Asks another authority than the client's, which must be of the same kind and environment. Together with
    /// [`Acquire::tenant`] the tenant given there is asked.
    ///
    /// # Errors
    /// When awaited: `authority_type_mismatch`, `authority_host_mismatch`, `B2C_authority_host_mismatch`, and
    /// `authority_override_regional` for another host than that of a client with a region.
    pub fn authority(mut self, authority: Authority) -> Self {
        self.option().extras.authority = Some(authority);
        self
    }

    /// Asks another tenant than the client's: for a multi-tenant application.
    ///
    /// # Errors
    /// When awaited: `tenant_override_not_supported`, where the kind of authority has no tenant to choose.
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.option().extras.tenant = Some(tenant);
        self
    }

    /// Answers a claims challenge (JSON). The cache is not read, and the new token replaces the cached one.
    pub fn claims(mut self, claims: impl Into<String>) -> Self {
        self.option().claims = Some(claims.into());
        self
    }

    /// Adds claims of the application's own (JSON) to the `claims` parameter. The cache is read, and each text has
    /// tokens of its own there: texts that differ in white space only are different. A blank text is none.
    pub fn client_claims(mut self, claims: impl Into<String>) -> Self {
        let claims = claims.into();
        self.option().extras.client_claims = Some(claims).filter(|claims| !claims.trim().is_empty());
        self
    }

    /// Adds claims (a JSON object) to the assertion that a certificate client signs for a Bearer token, which makes a
    /// token of its own in the cache. A bound token needs no such assertion, and other credentials sign none.
    ///
    /// # Errors
    /// When awaited: `invalid_assertion_claims` for what is no object, or has a claim that the library writes.
    pub fn assertion_claims(mut self, claims: impl Into<String>) -> Self {
        self.option().extras.assertion_claims = Some(claims.into());
        self
    }

    /// Fetches a new token even when a live one is cached.
    pub fn force_refresh(mut self) -> Self {
        self.option().force_refresh = true;
        self
    }

    /// Fetches a new token if the cached one is the one that a resource rejected. Not together with
    /// [`Acquire::force_refresh`].
    pub fn rejected(mut self, token: TokenHash) -> Self {
        self.option().rejected = Some(token);
        self
    }

    /// Uses a correlation id of the caller's, on every request of both legs. Default: a fresh one.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.option().correlation_id = Some(id);
        self
    }

    /// Sends `fmi_path`, which makes a token of its own in the cache.
    pub fn fmi_path(mut self, path: impl Into<String>) -> Self {
        self.option().extras.fmi_path = Some(path.into());
        self
    }

    /// Asks Leg 1 for an assertion with this `fmi_path`, which makes a token of its own in the cache.
    pub fn assertion_fmi_path(mut self, path: impl Into<String>) -> Self {
        self.option().extras.assertion_fmi_path = Some(path.into());
        self
    }

    /// Sends `attributes` (JSON), which makes a token of its own in the cache.
    pub fn attributes(self, json: impl Into<String>) -> Self {
        self.own_body("attributes", json.into())
    }

    /// Sends `attribute_tokens`, each once and in order, which makes a token of its own in the cache.
    ///
    /// # Errors
    /// When awaited: `invalid_attribute_token` for one that is empty or has white space inside.
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

    /// Adds a parameter to the request's body, which makes a token of its own in the cache. Observers see its length
    /// only.
    ///
    /// # Errors
    /// When awaited: `invalid_body_parameter` for a parameter of the library's own, one given twice, or an empty one.
    pub fn body(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.option().extras.body.push((name.into(), value.into()));
        self
    }

    /// Adds a query parameter to the token endpoint, which makes a token of its own in the cache. Sent as it
    /// stands, so it must be percent-encoded already.
    ///
    /// `caller-sdk-id`, `caller-sdk-ver` and `ManagedCert` are not sent but told in the telemetry header.
    ///
    /// # Errors
    /// When awaited: `invalid_query_parameter` for what cannot stand in a URL.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.option().add_query(name.into(), value.into());
        self
    }

    /// Is told of each request before it is sent, Leg 1's included where this process makes it.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.option().observer = Some(observer);
        self
    }
}

#[expect(private_bounds, reason = "the two kinds of token are all there are")]
impl<T: Token> Acquire<'_, T> {
    /// Forgets the cached token of this very request, if there is one; nothing is sent. Tells whether there was one.
    ///
    /// For a token that must not be used any more, such as after a change of the application's permissions. A request
    /// under way still stores its token.
    ///
    /// # Errors
    /// When the credential cannot name its certificate.
    pub async fn forget(self) -> Result<bool, Error> {
        let acquisition = self.into_acquisition();
        let issuer = &acquisition.issuer;
        let certificate = issuer.credential.certificate().await?;
        let (context, key) = (&issuer.client.context, acquisition.key(certificate.as_ref()));
        // A token of an earlier certificate would be served during an outage.
        let earlier = issuer.credential.earlier().into_iter();
        let earlier = earlier.filter(|_| key.thumbprint.is_some());
        let all = earlier.map(|it| KeyRef { thumbprint: Some(it), ..key }).chain([key]);
        let now = context.clock.now();
        Ok(all.filter(|key| context.cache.remove(key, now)).count() > 0)
    }

    /// The walk, which owns what it needs.
    pub(super) fn into_acquisition(self) -> Acquisition<TokenService> {
        Acquisition {
            issuer: TokenService { client: Arc::clone(self.client), credential: self.credential.to_arc() },
            kind: T::KIND,
            scope: self.scope.clone(),
            options: self.options.map(|options| *options).unwrap_or_default(),
            ahead: false,
        }
    }
}

/// A credential that can be kept beyond the borrow of its client.
pub(crate) trait CloneableProves: Proves {
    fn to_arc(&self) -> Arc<dyn Proves>;
}

impl<C: Proves + Clone + 'static> CloneableProves for C {
    fn to_arc(&self) -> Arc<dyn Proves> {
        Arc::new(self.clone())
    }
}
