//! What an answer must be before its token is used.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use certbound_core::json;
use certbound_core::managed_identity::BearerAnswer;
use certbound_core::request::{MTLS_POP, TokenRequest};
use certbound_core::response::TokenResponse;
use certbound_core::scope;
use certbound_core::secret::Secret;
use certbound_core::shown::{one_line, shown};
use certbound_core::time::UnixTime;
use serde_json::{Map, Value};

use crate::cache::{Expiry, Origin, Rare, RequestSeq, TokenBody};
use crate::certificate::{Binding, observe};
use crate::correlation::CorrelationId;
use crate::error::{AssertionError, Error, Leg, PeerMisbehaved};

/// What the answer is held against, beside the request.
pub(crate) struct Expected<'a> {
    /// The certificate, where a bound token was asked for.
    pub(crate) binding: Option<&'a Binding>,
    pub(crate) leg: Option<Leg>,
    /// Whether a token that cannot be read is refused, although the answer says that it is bound.
    pub(crate) demands_observed: bool,
    /// Whether scopes that differ in case are the same.
    pub(crate) ignores_case: bool,
    /// When the request was sent: the token may be as old as that.
    pub(crate) sent_at: UnixTime,
}

/// A token that passed every check of the client: of [`accept`], or of the parser of a platform's answer.
pub(crate) struct Accepted {
    pub(crate) secret: Secret,
    pub(crate) token_type: String,
    /// As the answer named them, with spaces between.
    pub(crate) granted: Option<Box<str>>,
    /// From when its life counts, by the client's clock.
    pub(crate) at: UnixTime,
    pub(crate) expires_at: UnixTime,
    pub(crate) refresh_at: Option<UnixTime>,
    pub(crate) binding_observed: bool,
    /// Other members of the answer, as texts.
    pub(crate) additional: BTreeMap<String, String>,
}

impl Accepted {
    /// The Bearer token of a platform, whose answer was checked by its parser.
    pub(crate) fn from_platform(answer: BearerAnswer, now: UnixTime) -> Self {
        Self {
            secret: answer.access_token,
            token_type: "Bearer".to_owned(),
            granted: None,
            at: now,
            expires_at: answer.expires_at,
            refresh_at: answer.refresh_at,
            binding_observed: false,
            additional: BTreeMap::new(),
        }
    }

    /// The parts of its cache entry.
    pub(crate) fn into_parts(
        self,
        seq: RequestSeq,
        origin: Arc<Origin>,
        correlation_id: CorrelationId,
    ) -> (Expiry, TokenBody) {
        let expiry = Expiry::new(self.at, self.expires_at, self.refresh_at, seq);
        let rare = (self.granted.is_some() || !self.additional.is_empty())
            .then(|| Box::new(Rare { granted: self.granted, additional: self.additional }));
        let body = TokenBody { secret: self.secret, origin, correlation_id, rare };
        (expiry, body)
    }
}

/// What the answer brought, or why it is not taken; neither repeats what the request kept secret.
pub(crate) fn accept(
    response: TokenResponse,
    request: &TokenRequest<'_>,
    expected: Expected<'_>,
    now: UnixTime,
) -> Result<Accepted, Error> {
    let named = response.scope.as_ref().is_some_and(|scopes| *scopes != [request.scope]);
    let mut accepted =
        judge(response, request, expected, now).map_err(|error| error.without(&request.secrets()))?;
    // Mostly there is neither.
    if named || !accepted.additional.is_empty() {
        let secrets = request.secrets().and(accepted.secret.expose());
        accepted.granted = accepted.granted.map(|scopes| secrets.redacted(&scopes).into());
        let redacted = |text: String| secrets.redacted(&text).into_owned();
        let additional = accepted.additional.into_iter();
        accepted.additional = additional.map(|(name, value)| (redacted(name), redacted(value))).collect();
    }
    Ok(accepted)
}

/// Fails closed: the right type, the right scope, bound to our certificate, alive. Anything else is an error.
fn judge(
    response: TokenResponse,
    request: &TokenRequest<'_>,
    expected: Expected<'_>,
    now: UnixTime,
) -> Result<Accepted, Error> {
    let peer = |what| Error::peer(expected.leg, what);
    let asked = if request.bound { MTLS_POP } else { "Bearer" };
    if !response.token_type.eq_ignore_ascii_case(asked) {
        let found = shown(&response.token_type);
        return Err(peer(PeerMisbehaved::TokenTypeDowngraded { asked, found }));
    }
    if let Some(scopes) = response.scope.as_deref().filter(|scopes| !scopes.is_empty())
        && !scope::covers(scopes, request.scope, expected.ignores_case)
    {
        let found = one_line(&scopes.join(" ")).chars().take(256).collect();
        return Err(peer(PeerMisbehaved::ScopeMismatch { asked: request.scope.to_owned(), found }));
    }
    let binding_observed = match expected.binding {
        Some(binding) => expected.observed(&response.access_token, binding, request.bound).map_err(peer)?,
        None => false,
    };
    // A machine can sleep between the two, and its clock be set: the earlier one errs on the safe side.
    let at = now.min(expected.sent_at);
    let own_expiry = at.plus(response.expires_in);
    // A bound token is useless once its certificate has ended.
    let expires_at =
        expected.binding.map_or(own_expiry, |binding| own_expiry.min(binding.chain().not_after()));
    if expires_at <= now {
        return Err(peer(PeerMisbehaved::TokenOver { expired: expires_at, now }));
    }
    let granted = response.scope.filter(|scopes| !scopes.is_empty());
    Ok(Accepted {
        secret: response.access_token,
        token_type: response.token_type,
        granted: granted.map(|scopes| scopes.join(" ").into()),
        at,
        expires_at,
        refresh_at: response.refresh_in.map(|after| at.plus(after)),
        binding_observed,
        additional: additional(&response.extra),
    })
}

impl Expected<'_> {
    /// Whether the token was seen to name our certificate, as far as that is demanded.
    fn observed(&self, token: &Secret, binding: &Binding, by_type: bool) -> Result<bool, PeerMisbehaved> {
        // Leg 1's token is an assertion: the service that is shown it next must read what it is bound to.
        match (observe(token, binding, by_type), self.leg) {
            (Err(PeerMisbehaved::ConfirmationMissing), Some(Leg::One)) => {
                Err(PeerMisbehaved::AssertionNotBound)
            }
            (Ok(false), Some(Leg::One)) => Err(PeerMisbehaved::BadAssertion(AssertionError::Unreadable)),
            (Ok(false), _) if self.demands_observed => Err(PeerMisbehaved::BindingNotObserved),
            (seen, _) => seen,
        }
    }
}

/// Members that are read, or that hold what must not be shown.
const KNOWN: [&str; 6] = ["refresh_token", "id_token", "client_info", "foci", "spa_code", "authority"];

/// Every other member, and those that `client_info` holds beside the user's two ids, each in its text form.
fn additional(extra: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut additional: BTreeMap<String, String> = extra
        .iter()
        .filter(|(name, _)| !KNOWN.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    let info = extra.get("client_info").and_then(Value::as_str);
    let info = info.and_then(|info| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(info).ok());
    if let Some(Ok(info)) = info.map(|info| json::parse_object(&info)) {
        let beside_ids = info.iter().filter(|(name, _)| !matches!(name.as_str(), "uid" | "utid"));
        for (name, value) in beside_ids {
            additional.entry(name.clone()).or_insert_with(|| text(value));
        }
    }
    additional
}
