//! The checks of a token response before its token is used.

use std::collections::BTreeMap;

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

use super::token_request::Exchange;
use crate::certificate::{BindingCertificate, observe};
use crate::error::{AssertionError, Error, Leg, PeerMisbehaved};

/// A token that passed every check of the client: the checks of [`accept`], or the checks of the parser for platforms.
pub(crate) struct Accepted {
    pub(crate) secret: Secret,
    pub(crate) token_type: String,
    /// The granted scopes as the response named them, separated by spaces.
    pub(crate) granted: Option<Box<str>>,
    /// The start of the lifetime, by the client's clock.
    pub(crate) at: UnixTime,
    pub(crate) expires_at: UnixTime,
    pub(crate) refresh_at: Option<UnixTime>,
    pub(crate) binding_observed: bool,
    /// The other members of the response, as texts.
    pub(crate) additional: BTreeMap<String, String>,
}

impl Accepted {
    /// Wraps the Bearer token of a platform. The parser of the platform's response has checked it.
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
}

/// Checks a response and returns its token. The token's details and the error contain no secret of the request.
pub(crate) fn accept(
    response: TokenResponse,
    request: &TokenRequest<'_>,
    exchange: &Exchange<'_>,
    sent_at: UnixTime,
) -> Result<Accepted, Error> {
    let named = response.scope.as_ref().is_some_and(|scopes| *scopes != [request.scope]);
    let mut accepted =
        judge(response, request, exchange, sent_at).map_err(|error| error.without(&request.secrets()))?;
    // Most responses have no scope that differs from the request and no additional members. For them the search for
    // secrets is skipped.
    if named || !accepted.additional.is_empty() {
        let secrets = request.secrets().and(accepted.secret.expose());
        accepted.granted = accepted.granted.map(|scopes| secrets.redacted(&scopes).into());
        let redacted = |text: String| secrets.redacted(&text).into_owned();
        let additional = accepted.additional.into_iter();
        accepted.additional = additional.map(|(name, value)| (redacted(name), redacted(value))).collect();
    }
    Ok(accepted)
}

/// Accepts a token only if its type and scope are as requested, its binding passes [`observed`], and it has not
/// expired. Every other case is an error.
fn judge(
    response: TokenResponse,
    request: &TokenRequest<'_>,
    exchange: &Exchange<'_>,
    sent_at: UnixTime,
) -> Result<Accepted, Error> {
    let (binding, now) = (exchange.binds_to(), exchange.context.clock.now());
    let peer = |what| Error::peer(exchange.leg, what);
    let asked = if request.bound { MTLS_POP } else { "Bearer" };
    if !response.token_type.eq_ignore_ascii_case(asked) {
        let found = shown(&response.token_type);
        return Err(peer(PeerMisbehaved::TokenTypeDowngraded { asked, found }));
    }
    if let Some(scopes) = response.scope.as_deref().filter(|scopes| !scopes.is_empty())
        && !scope::covers(scopes, request.scope, exchange.ignores_case)
    {
        let found = one_line(&scopes.join(" ")).chars().take(256).collect();
        return Err(peer(PeerMisbehaved::ScopeMismatch { asked: request.scope.to_owned(), found }));
    }
    let binding_observed = match binding {
        Some(binding) => observed(&response.access_token, binding, request.bound, exchange).map_err(peer)?,
        None => false,
    };
    // Between the two readings of the clock, the machine can sleep and its clock can be set. The earlier reading is
    // safe, because it results in the earlier expiry.
    let at = now.min(sent_at);
    let own_expiry = at.plus(response.expires_in);
    // A bound token is useless after its certificate has expired.
    let expires_at = binding.map_or(own_expiry, |binding| own_expiry.min(binding.chain().not_after()));
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

/// Returns whether the token is readable and names the client's certificate. A readable token that does not name this
/// certificate is an error. An unreadable token is an error in Leg 1, for the token type Bearer, and for a client that
/// demands an observed binding.
fn observed(
    token: &Secret,
    binding: &BindingCertificate,
    by_type: bool,
    exchange: &Exchange<'_>,
) -> Result<bool, PeerMisbehaved> {
    let demands_observed = exchange.context.cache_key.demands_observed();
    // The token of Leg 1 is an assertion. The token service of Leg 2 must read the binding of the assertion, so the
    // client must be able to read this binding too.
    match (observe(token, binding, by_type), exchange.leg) {
        (Err(PeerMisbehaved::ConfirmationMissing), Some(Leg::One)) => Err(PeerMisbehaved::AssertionNotBound),
        (Ok(false), Some(Leg::One)) => Err(PeerMisbehaved::BadAssertion(AssertionError::Unreadable)),
        (Ok(false), _) if demands_observed => Err(PeerMisbehaved::BindingNotObserved),
        (seen, _) => seen,
    }
}

/// Members that are not among the additional members. Some of them can contain secrets.
const KNOWN: [&str; 6] = ["refresh_token", "id_token", "client_info", "foci", "spa_code", "authority"];

/// Returns the text form of every member that is not in [`KNOWN`], and of the members in `client_info` except the
/// user's two ids. Members that are `null` are omitted.
fn additional(extra: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |(name, value): (&String, &Value)| match value {
        Value::Null => None,
        Value::String(text) => Some((name.clone(), text.clone())),
        other => Some((name.clone(), other.to_string())),
    };
    let mut additional: BTreeMap<String, String> =
        extra.iter().filter(|(name, _)| !KNOWN.contains(&name.as_str())).filter_map(text).collect();
    let info = extra.get("client_info").and_then(Value::as_str);
    let info = info.and_then(|info| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(info).ok());
    if let Some(Ok(info)) = info.map(|info| json::parse_object(&info)) {
        let beside_ids = info.iter().filter(|(name, _)| !matches!(name.as_str(), "uid" | "utid"));
        for (name, value) in beside_ids.filter_map(text) {
            additional.entry(name).or_insert(value);
        }
    }
    additional
}
