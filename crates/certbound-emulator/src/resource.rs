//! A resource that enforces the binding: token, scheme, certificate, in this order, and then its own kind of answer.

mod custom;
mod graph;
mod vault;

use bytes::Bytes;
use certbound_core::certificate::CertificateChain;
use certbound_core::environment::Cloud;
use certbound_core::jws::{Algorithm, UnverifiedJws};
use certbound_core::jwt::Claims;
use certbound_core::request::MTLS_POP;
use certbound_core::time::UnixTime;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};

use crate::issue::{issuer_v1, issuer_v2};
use crate::keys::SigningKeys;
use crate::tls_facts::TlsFacts;
use crate::world::{BoundTokens, Resource, ResourceStyle, TokenVersion, World};

/// How far clocks may differ, in seconds.
const LEEWAY: u64 = 60;

/// A resource as one request sees it.
pub(crate) struct ResourceServer<'e> {
    pub(crate) world: &'e World,
    pub(crate) keys: &'e SigningKeys,
    pub(crate) resource: &'e Resource,
    pub(crate) now: UnixTime,
    pub(crate) tls: &'e TlsFacts,
    pub(crate) host: &'e str,
}

/// Who calls, once everything was checked.
pub(crate) struct Caller {
    pub(crate) application: String,
    /// The `x5t#S256` the token is bound to, which is the connection's.
    pub(crate) bound_to: Option<String>,
}

/// Why a call is refused; each style words it its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// No `Authorization`, or a scheme the resource does not know.
    NoCredentials,
    /// More than one `Authorization`, or one that is not scheme, space, token.
    Malformed,
    /// The token itself, and why.
    InvalidToken(&'static str),
    /// A bound token under `Bearer`, whatever the certificate.
    BoundUnderBearer,
    /// A plain token under `mtls_pop`.
    UnboundUnderPop,
    /// A plain token where the resource wants bound ones.
    BindingRequired,
    /// The vault's opt-in header is missing.
    OptInMissing,
    /// No client certificate on this connection.
    MissingCertificate,
    /// A certificate, but not the token's.
    Mismatch,
    /// The token's certificate, outside its dates.
    CertificateDates,
    /// Everything is right but the permission.
    NoPermission,
}

impl ResourceServer<'_> {
    pub(crate) fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let outcome = self.check(request.headers());
        match self.resource.style {
            ResourceStyle::Graph => graph::answer(self, request, outcome),
            ResourceStyle::Vault => vault::answer(self, request, outcome),
            ResourceStyle::Custom => custom::answer(self, request, outcome),
        }
    }

    fn check(&self, headers: &HeaderMap) -> Result<Caller, Rejection> {
        let (scheme, token) = credentials(headers)?;
        let claims = self.verified(token)?;
        let confirmation = claims.confirmation();
        let confirmation =
            confirmation.map_err(|_| Rejection::InvalidToken("its confirmation is not understood"))?;
        self.scheme(scheme, confirmation.is_some())?;
        if confirmation.is_some() && self.resource.style == ResourceStyle::Vault {
            vault::opted_in(headers)?;
        }
        confirmation.map_or(Ok(()), |claim| self.binding(claim))?;
        permission(&claims)?;
        let application = claims.string("azp").or(claims.string("appid")).unwrap_or_default().to_owned();
        Ok(Caller { application, bound_to: confirmation.map(str::to_owned) })
    }

    /// Signature, issuer, audience, time.
    fn verified(&self, token: &str) -> Result<Claims, Rejection> {
        let invalid = Rejection::InvalidToken;
        let jws = UnverifiedJws::parse(token).map_err(|_| invalid("it is malformed"))?;
        let key = jws.header().kid().and_then(|kid| self.keys.by_kid(kid));
        let key = key.ok_or(invalid("its signing key is unknown"))?;
        let verified = jws
            .verify(key.public(), &[Algorithm::Rs256])
            .map_err(|_| invalid("its signature does not verify"))?;
        let claims = verified.claims().clone();
        self.issuer(&claims)?;
        let ours = match claims.audiences().as_slice() {
            [one] => self.resource.answers_to(one),
            _ => false,
        };
        if !ours {
            return Err(invalid("it is for another audience"));
        }
        let time = |name| claims.time(name).map_err(|_| invalid("a time in it is malformed"));
        let (now, expiry, start) = (self.now.as_secs(), time("exp")?, time("nbf")?);
        if expiry.is_none_or(|expiry| expiry.as_secs().saturating_add(LEEWAY) < now) {
            return Err(invalid("its lifetime is over"));
        }
        if start.is_some_and(|start| start.as_secs() > now.saturating_add(LEEWAY)) {
            return Err(invalid("it is not valid yet"));
        }
        Ok(claims)
    }

    fn issuer(&self, claims: &Claims) -> Result<(), Rejection> {
        let tenant =
            claims.string("tid").filter(|id| self.world.tenants.iter().any(|tenant| tenant.id == *id));
        let tenant = tenant.ok_or(Rejection::InvalidToken("its tenant is unknown"))?;
        let (issuer, version) = (claims.string("iss").unwrap_or_default(), claims.string("ver"));
        let right = match self.resource.token_version {
            TokenVersion::V1 => version == Some("1.0") && issuer == issuer_v1(tenant),
            TokenVersion::V2 => {
                version == Some("2.0") && Cloud::ALL.iter().any(|cloud| issuer == issuer_v2(*cloud, tenant))
            }
        };
        if right { Ok(()) } else { Err(Rejection::InvalidToken("its issuer is not trusted")) }
    }

    fn scheme(&self, scheme: Scheme, bound: bool) -> Result<(), Rejection> {
        match (scheme, bound) {
            (Scheme::Bearer, true) => Err(Rejection::BoundUnderBearer),
            (Scheme::MtlsPop, false) => Err(Rejection::UnboundUnderPop),
            (Scheme::Bearer, false) if self.resource.bound_tokens == BoundTokens::Required => {
                Err(Rejection::BindingRequired)
            }
            _ => Ok(()),
        }
    }

    /// RFC 8705, section 3: the certificate of *this* connection, the leaf alone.
    fn binding(&self, claim: &str) -> Result<(), Rejection> {
        let leaf = self.tls.client_leaf().ok_or(Rejection::MissingCertificate)?;
        let chain = CertificateChain::from_der(vec![leaf.to_vec()]).map_err(|_| Rejection::Mismatch)?;
        if !chain.thumbprint().matches_claim(claim) {
            return Err(Rejection::Mismatch);
        }
        if self.now < chain.not_before() || self.now > chain.not_after() {
            return Err(Rejection::CertificateDates);
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Scheme {
    Bearer,
    MtlsPop,
}

fn credentials(headers: &HeaderMap) -> Result<(Scheme, &str), Rejection> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = all.next().ok_or(Rejection::NoCredentials)?;
    if all.next().is_some() {
        return Err(Rejection::Malformed);
    }
    let text = value.to_str().map_err(|_| Rejection::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Rejection::Malformed)?;
    if token.is_empty() || token.contains([' ', '\t', ',']) {
        return Err(Rejection::Malformed);
    }
    if scheme.eq_ignore_ascii_case("Bearer") {
        Ok((Scheme::Bearer, token))
    } else if scheme.eq_ignore_ascii_case(MTLS_POP) {
        Ok((Scheme::MtlsPop, token))
    } else {
        Err(Rejection::NoCredentials)
    }
}

fn permission(claims: &Claims) -> Result<(), Rejection> {
    let roles = claims.map().get("roles").and_then(|roles| roles.as_array());
    if roles.is_some_and(|roles| !roles.is_empty()) { Ok(()) } else { Err(Rejection::NoPermission) }
}

/// Adds `WWW-Authenticate`; the text is ours, never the request's.
fn challenge(response: &mut Response<Bytes>, value: &str) {
    if let Ok(value) = http::HeaderValue::from_str(value) {
        response.headers_mut().insert(http::header::WWW_AUTHENTICATE, value);
    }
}
