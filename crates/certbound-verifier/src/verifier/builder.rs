//! The builder of a verifier.

use std::sync::Arc;
use std::time::Duration;

use certbound_core::jwt::Claims;
use strum::EnumProperty as _;

use super::remembered::Remembered;
use super::{Inner, Verifier};
use crate::clock::{Clock, SystemClock};
use crate::fetch::{AnyFetch, Fetch, HttpsFetch};
use crate::issuer::{Issuer, KeySet};
use crate::keys::Keys;
use crate::observe::Observer;
use crate::policy::{BindingPolicy, Callers, Clients, Policy};

/// The longest leeway that can be set. A larger difference means that a clock is wrong.
const MOST_LEEWAY: Duration = Duration::from_secs(600);

/// Collects the settings of a [`Verifier`]. You must choose issuer, audience and allowed callers; they have no default.
#[derive(Clone, Default)]
pub struct VerifierBuilder {
    issuers: Vec<(Issuer, Option<KeySet>)>,
    policy: Policy,
    any_caller: bool,
    remember: u64,
    clock: Option<Arc<dyn Clock>>,
    fetch: Option<Arc<dyn AnyFetch>>,
    observer: Option<Arc<dyn Observer>>,
    earlier: Option<Verifier>,
}

impl VerifierBuilder {
    /// Trusts an issuer, and fetches its keys from the URL that the issuer publishes. This method can be called several
    /// times.
    pub fn issuer(mut self, issuer: Issuer) -> Self {
        self.issuers.push((issuer, None));
        self
    }

    /// Trusts an issuer with fixed keys, for a machine that cannot or must not fetch keys.
    pub fn issuer_with_keys(mut self, issuer: Issuer, keys: KeySet) -> Self {
        self.issuers.push((issuer, Some(keys)));
        self
    }

    /// Accepts tokens whose `aud` is exactly this audience. This method can be called several times: Entra's version 1
    /// tokens have the resource's URI as `aud`, and version 2 tokens have the resource's client id.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.policy.audiences.insert(audience.into());
        self
    }

    /// Accepts a token that has other audiences besides an audience of this resource. The other resources can then send
    /// the token to this resource. By default the verifier accepts a token only if each of its audiences was set by
    /// [`VerifierBuilder::audience`].
    pub fn accept_several_audiences(mut self) -> Self {
        self.policy.several_audiences = true;
        self
    }

    /// Sets the binding that a token must have. Default: [`BindingPolicy::Required`].
    pub fn binding(mut self, policy: BindingPolicy) -> Self {
        self.policy.binding = policy;
        self
    }

    /// Sets the kind of caller that is accepted. Default: [`Callers::Applications`].
    pub fn callers(mut self, callers: Callers) -> Self {
        self.policy.callers = callers;
        self
    }

    /// Accepts these clients only, by client id. The id must be exactly as in the token; only Entra's ids, which are
    /// GUIDs, may differ in case. Clients of two issuers may have the same id.
    pub fn only_clients<S: Into<String>>(mut self, clients: impl IntoIterator<Item = S>) -> Self {
        let allowed = self.policy.clients.get_or_insert_default();
        clients.into_iter().for_each(|client| allowed.add(client.into()));
        self
    }

    /// Requires one of these application roles. If scopes are set too, one of the scopes is enough.
    pub fn any_role<S: Into<String>>(mut self, roles: impl IntoIterator<Item = S>) -> Self {
        self.policy.roles.extend(roles.into_iter().map(Into::into));
        self
    }

    /// Requires one of these scopes. If roles are set too, one of the roles is enough. At Entra only users' tokens have
    /// scopes: see [`VerifierBuilder::callers`].
    pub fn any_scope<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.policy.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Accepts every application that gets a token for the audience, unless roles, scopes or clients are set. In Entra,
    /// this is every application of the tenant, with or without a role, unless the resource requires assignment.
    pub fn dangerous_any_caller(mut self) -> Self {
        self.any_caller = true;
        self
    }

    /// Sets the accepted difference between clocks, for `exp`, `nbf` and `iat`. Default: 60 s; at most 10 minutes.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.policy.leeway = leeway;
        self
    }

    /// Refuses tokens whose `iat` is longer ago than `age`. The claim `iat` is then required. Default: no limit. Entra
    /// sets `iat` five minutes before the time of issue.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.policy.max_age = Some(age);
        self
    }

    /// Sets the longest accepted time from `nbf` or `iat` to `exp`. For a token with neither claim, it is the time from
    /// now to `exp`. Default: 29 hours.
    pub fn longest_lifetime(mut self, lifetime: Duration) -> Self {
        self.policy.longest_lifetime = lifetime;
        self
    }

    /// Accepts a client certificate outside its validity dates, if the token is bound to it. By default the verifier
    /// refuses the request.
    pub fn accept_any_certificate_dates(mut self) -> Self {
        self.policy.certificate_dates = false;
        self
    }

    /// Calls `demand` with the claims of every verified token. If `demand` returns a text, the verifier refuses the
    /// token, and the challenge contains the text. The text is a JSON object of the claims for a new token (continuous
    /// access evaluation).
    pub fn demand(mut self, demand: impl Fn(&Claims) -> Option<String> + Send + Sync + 'static) -> Self {
        self.policy.demand = Some(Arc::new(demand));
        self
    }

    /// Remembers up to `capacity` accepted tokens, each with its certificate, until they expire. Default: no tokens.
    ///
    /// If [`Verifier::verify`] gets a remembered token under the same scheme and with the same certificate, the method
    /// checks only the certificate's dates and the demanded claims. The method verifies the token again when the
    /// issuer's keys change.
    pub fn remember(mut self, capacity: u64) -> Self {
        self.remember = capacity;
        self
    }

    /// Sets the clock. Default: [`SystemClock`].
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets the client that fetches metadata and keys. Default: [`HttpsFetch`], with the system's trust store and
    /// `HTTPS_PROXY`.
    pub fn with_fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    /// Sets the observer, which replaces an earlier observer. Default: no observer and no measurements.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Begins with the keys that an earlier verifier has fetched, for a change of the settings without a pause. The
    /// keys keep their age. The verifier fetches the keys of an issuer again if the URL of the metadata, the host of
    /// the keys or the algorithms of the issuer have changed.
    ///
    /// Remembered decisions are not copied, because the new settings may refuse those tokens.
    pub fn with_keys_of(mut self, earlier: &Verifier) -> Self {
        self.earlier = Some(earlier.clone());
        self
    }

    /// Makes the verifier. This method starts no fetch.
    ///
    /// # Errors
    /// [`BuildError`] if the issuer, the audience or the allowed callers are missing, or if a setting is not
    /// acceptable.
    pub fn build(self) -> Result<Verifier, BuildError> {
        let policy = self.policy;
        if self.issuers.is_empty() {
            return Err(BuildError::NoIssuer);
        }
        if policy.audiences.is_empty() || policy.audiences.contains("") {
            return Err(BuildError::NoAudience);
        }
        if policy.clients.as_ref().is_some_and(Clients::has_an_empty_one) {
            return Err(BuildError::EmptyClient);
        }
        let has_rule = policy.clients.is_some() || !policy.roles.is_empty() || !policy.scopes.is_empty();
        if !has_rule && !self.any_caller {
            return Err(BuildError::NoRule);
        }
        if policy.leeway > MOST_LEEWAY {
            return Err(BuildError::Leeway { found: policy.leeway });
        }
        let mut fetch = self.fetch;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let (mut issuers, mut keys) = (Vec::new(), Vec::new());
        for (issuer, fixed) in self.issuers {
            if issuers.iter().any(|known: &Issuer| known.id() == issuer.id()) {
                return Err(BuildError::IssuerTwice { issuer: issuer.id().to_owned() });
            }
            keys.push(match fixed {
                Some(fixed) => Keys::fixed(fixed),
                None => {
                    let fetch = fetch.get_or_insert_with(|| Arc::new(HttpsFetch::new()));
                    Keys::fetched(&issuer, Arc::clone(fetch), Arc::clone(&clock), self.observer.clone())
                }
            });
            let earlier = self.earlier.as_ref().map(|earlier| &*earlier.inner);
            if let (Some(keys), Some(earlier)) = (keys.last(), earlier) {
                earlier.keys.iter().for_each(|earlier| keys.adopt(earlier));
            }
            issuers.push(issuer);
        }
        let remembered = (self.remember > 0).then(|| Remembered::new(self.remember));
        let observer = self.observer;
        Ok(Verifier { inner: Arc::new(Inner { issuers, keys, policy, clock, remembered, observer }) })
    }
}

/// The reason why a verifier cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum BuildError {
    /// No issuer is set.
    #[error("no issuer is trusted")]
    #[strum(props(code = "issuer_required", fix = "name a tenant or an issuer"))]
    NoIssuer,
    /// The same issuer is set twice.
    #[error("the issuer {issuer} is set twice")]
    #[strum(props(
        code = "issuer_twice",
        fix = "set each issuer once; name all tenants of a cloud in one issuer"
    ))]
    IssuerTwice {
        /// The issuer, or the login host of the cloud for an issuer of Entra.
        issuer: String,
    },
    /// No audience is set, or an empty audience is set.
    #[error("no audience is set, or an empty audience is set")]
    #[strum(props(code = "audience_required", fix = "set the audience for which callers request tokens"))]
    NoAudience,
    /// A client id is empty.
    #[error("a client id is empty")]
    #[strum(props(code = "client_id_required", fix = "name each client by the client id in its tokens"))]
    EmptyClient,
    /// No setting determines which callers are allowed.
    #[error("no rule determines which callers are allowed: set roles, scopes or clients")]
    #[strum(props(code = "rule_required", fix = "require a role or a scope, or list the clients"))]
    NoRule,
    /// The leeway is longer than 600 s.
    #[error("the leeway is {} s, but at most 600 s are accepted", .found.as_secs())]
    #[strum(props(code = "leeway_too_large", fix = "set a shorter leeway and correct the clocks"))]
    Leeway {
        /// The leeway that was set.
        found: Duration,
    },
}

impl BuildError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}
