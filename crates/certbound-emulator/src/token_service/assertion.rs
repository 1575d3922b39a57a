//! Client assertions: the checks of every assertion, and assertions that the client signed itself (RFC 7523, section
//! 2.2).

use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound_core::certificate::{CertificateChain, Thumbprint};
use certbound_core::jws::{Algorithm, JwsHeader, PublicKey, UnverifiedJws};
use certbound_core::jwt::Claims;
use certbound_core::time::UnixTime;
use serde_json::Value;

use super::certificate::only_subject_name_or_federation;
use super::{Caller, LEEWAY, TokenService, only_by_mutual_tls, other_certificate};
use crate::answers::{Refusal, date, refusal};
use crate::issue::Proof;
use crate::world::Application;
use crate::world::hosts::{Host, TOKEN_PATH};

/// The longest time from now to the expiry of an assertion, without [`LEEWAY`].
const MAX_REMAINING: Duration = Duration::from_secs(24 * 60 * 60);

/// A well-formed assertion whose signature was not verified.
pub(crate) struct Assertion<'f> {
    pub(crate) jws: UnverifiedJws<'f>,
    pub(crate) claims: Claims,
    pub(crate) issuer: String,
    pub(crate) subject: String,
}

/// Reads an assertion. Refuses an assertion that is malformed or that lacks a required claim.
pub(crate) fn parse(text: &str) -> Result<Assertion<'_>, Refusal> {
    let malformed = |error: &dyn std::fmt::Display| {
        refusal(50_027, format!("JWT token is invalid or malformed: {error}."))
    };
    let jws = UnverifiedJws::parse(text).map_err(|error| malformed(&error))?;
    let claims = jws.unverified_claims().map_err(|error| malformed(&error))?;
    let absent =
        |name: &str| refusal(90_014, format!("The required claim '{name}' is missing from the assertion."));
    let issuer = claims.string("iss").ok_or_else(|| absent("iss"))?.to_owned();
    let subject = claims.string("sub").ok_or_else(|| absent("sub"))?.to_owned();
    if claims.audiences().is_empty() {
        return Err(absent("aud"));
    }
    if time(claims, "exp")?.is_none() {
        return Err(absent("exp"));
    }
    let claims = claims.clone();
    Ok(Assertion { jws, claims, issuer, subject })
}

impl Assertion<'_> {
    /// Returns whether the client itself signed the assertion. The issuer is then a client id, which is not a URL.
    pub(crate) fn is_self_signed(&self) -> bool {
        !self.issuer.contains("://")
    }

    /// Refuses an algorithm that is not in `accepted`, and a header that names no key.
    pub(crate) fn check_header(&self, accepted: &[Algorithm]) -> Result<(), Refusal> {
        let header = self.jws.header();
        if !accepted.iter().any(|algorithm| algorithm.name() == header.alg()) {
            let text = format!("The assertion's algorithm '{}' is not allowed.", header.alg());
            return Err(refusal(5_002_738, text));
        }
        if header.kid().is_none() && header.x5t().is_none() && header.x5t_s256().is_none() {
            return Err(refusal(
                5_002_723,
                "The assertion's header has none of 'x5t', 'x5t#S256' and 'kid'.",
            ));
        }
        Ok(())
    }

    /// If the world allows each assertion only once, refuses a used assertion, and records the use of a new assertion.
    /// `text` is the whole assertion.
    pub(crate) fn check_first_use(&self, service: &TokenService<'_>, text: &str) -> Result<(), Refusal> {
        if !service.world.one_time_assertions {
            return Ok(());
        }
        let expiry = time(&self.claims, "exp")?.unwrap_or(service.now);
        match self.claims.string("jti") {
            Some(jti) => service.used.use_once(&[&self.issuer, jti], expiry, service.now),
            None => service.used.use_once(&[text], expiry, service.now),
        }
    }

    /// Refuses an assertion that is not valid yet, has expired, or expires too late.
    pub(crate) fn check_time(&self, now: UnixTime) -> Result<(), Refusal> {
        let (not_before, expiry) = (time(&self.claims, "nbf")?, time(&self.claims, "exp")?);
        let early = not_before.is_some_and(|from| from > now.plus(LEEWAY));
        let late = expiry.is_none_or(|until| until.plus(LEEWAY) < now);
        let endless = expiry.is_some_and(|until| until > now.plus(MAX_REMAINING).plus(LEEWAY));
        if early || late || endless {
            let shown = |time: Option<UnixTime>| time.map_or_else(|| "none".to_owned(), date);
            return Err(refusal(
                700_024,
                format!(
                    "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, \
                     expiry time of assertion {}.",
                    date(now),
                    shown(not_before),
                    shown(expiry)
                ),
            ));
        }
        Ok(())
    }
}

/// Returns a time claim without its fraction. RFC 7519, section 2, allows a fraction, and MSAL for Python sends a
/// fraction.
fn time(claims: &Claims, name: &'static str) -> Result<Option<UnixTime>, Refusal> {
    let fraction =
        claims.map().get(name).and_then(Value::as_f64).filter(|seconds| (0.0..1e15).contains(seconds));
    match claims.time(name) {
        Ok(time) => Ok(time),
        // The value is in range, so the cast only removes the fraction.
        Err(_) if fraction.is_some() => Ok(fraction.map(|seconds| UnixTime::from_secs(seconds as u64))),
        Err(error) => Err(refusal(50_027, format!("JWT token is invalid or malformed: {error}."))),
    }
}

/// The algorithms of assertions that a client signs.
const SIGNED_BY: [Algorithm; 4] = [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512, Algorithm::Ps256];

/// Authenticates the client by an assertion that it signed. The application must trust the signer's certificate.
pub(crate) fn prove(
    service: &TokenService<'_>,
    caller: &Caller<'_>,
    assertion: &Assertion<'_>,
) -> Result<Proof, Refusal> {
    assertion.check_header(&SIGNED_BY)?;
    audience(service, caller, assertion)?;
    let signer = signer(service, caller.application, assertion.jws.header())?;
    let key = PublicKey::from_certificate(&signer).map_err(|_| unregistered(caller.application))?;
    assertion.jws.check_signature([&key], &SIGNED_BY).map_err(|error| {
        // The real service has a different number for each of the two signature schemes.
        let is_pss = assertion.jws.header().alg() == Algorithm::Ps256.name();
        let code = if is_pss { 5_002_730 } else { 700_027 };
        refusal(code, format!("Client assertion failed signature validation: {error}."))
    })?;
    assertion.check_time(service.now)?;
    let id = &caller.application.id;
    if !assertion.issuer.eq_ignore_ascii_case(id) || !assertion.subject.eq_ignore_ascii_case(id) {
        return Err(refusal(
            700_021,
            "Client assertion application identifier doesn't match 'client_id' parameter.",
        ));
    }
    if caller.bound {
        return Err(refusal(
            392_199,
            "'mtls_pop' is not supported for a bearer assertion: send the certificate alone, or a bound assertion.",
        ));
    }
    // A Bearer token over mutual TLS: the connection and the assertion must have the same certificate.
    if caller.thumbprint().is_some_and(|thumbprint| thumbprint != Thumbprint::of_der(&signer)) {
        return Err(other_certificate());
    }
    // A certificate that is registered individually may sign assertions, but the mutual-TLS hosts do not accept it as a
    // client certificate.
    let by_subject = caller.certificate.map(|chain| service.by_certificate(caller.application, chain));
    by_subject.unwrap_or(Ok(Proof::Certificate)).map_err(|_| only_subject_name_or_federation())
}

/// Checks that the only audience is this service's token endpoint or its issuer, in this tenant.
fn audience(
    service: &TokenService<'_>,
    caller: &Caller<'_>,
    assertion: &Assertion<'_>,
) -> Result<(), Refusal> {
    let found = assertion.claims.audiences();
    let (host, path) = match found.as_slice() {
        [one] => one.strip_prefix("https://").and_then(|rest| rest.split_at_checked(rest.find('/')?)),
        _ => None,
    }
    .unwrap_or_default();
    let tenant = path.strip_suffix(TOKEN_PATH).or_else(|| path.strip_suffix("/v2.0"));
    let tenant = tenant.and_then(|path| path.strip_prefix('/')).and_then(|name| service.world.tenant(name));
    let ours = tenant.is_some_and(|tenant| tenant.id == caller.tenant.id);
    match Host::of(service.world, host) {
        Some(Host::Login(cloud)) if ours && cloud == service.cloud && !service.mutual_tls => Ok(()),
        Some(Host::MutualTls(cloud)) if ours && cloud == service.cloud && service.mutual_tls => Ok(()),
        Some(Host::MutualTls(_)) if !service.mutual_tls => Err(only_by_mutual_tls()),
        _ => Err(refusal(
            700_023,
            format!("Client assertion audience claim does not match Realm issuer: {}.", found.join(", ")),
        )),
    }
}

/// Returns the certificate (DER) that the header names and that the application trusts.
fn signer(
    service: &TokenService<'_>,
    application: &Application,
    header: &JwsHeader,
) -> Result<Vec<u8>, Refusal> {
    let registered = service.directory.effective_keys(&application.id, service.now);
    let named = || registered.iter().filter(|key| is_named_by(header, key.certificate().leaf_der()));
    // One certificate may be registered twice, with different dates.
    let usable = named().find(|key| (key.start..=key.end).contains(&service.now));
    if let Some(key) = usable.or(named().next()) {
        return in_date(service, key.start, key.end).map(|()| key.certificate().leaf_der().to_vec());
    }
    let sent = header.x5c().map(<[u8]>::to_vec).filter(|certificate| is_named_by(header, certificate));
    let chain = sent.and_then(|certificate| CertificateChain::from_der(vec![certificate]).ok());
    match chain {
        Some(chain) if application.trusted_subjects.iter().any(|subject| subject == chain.subject()) => {
            in_date(service, chain.not_before(), chain.not_after())?;
            let vouched = service.trust.vouch_for(chain.ders(), service.now);
            vouched.then(|| chain.leaf_der().to_vec()).ok_or_else(|| unregistered(application))
        }
        _ => Err(unregistered(application)),
    }
}

fn in_date(service: &TokenService<'_>, from: UnixTime, until: UnixTime) -> Result<(), Refusal> {
    if (from..=until).contains(&service.now) {
        return Ok(());
    }
    Err(refusal(
        1_000_502,
        format!(
            "The provided certificate is not within its specified validity window: {} to {}.",
            date(from),
            date(until)
        ),
    ))
}

/// Returns whether the header names the certificate. Every thumbprint in the header must be that of the certificate.
/// Without a thumbprint, `kid` must be the certificate's SHA-1.
fn is_named_by(header: &JwsHeader, certificate: &[u8]) -> bool {
    let sha1 = URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate));
    let sha256 = Thumbprint::of_der(certificate).x5t_s256();
    // MSAL for Python adds padding, and MSAL for Go also uses the alphabet of plain base64.
    let is =
        |stated: &str, own: &str| stated.trim_end_matches('=').replace('+', "-").replace('/', "_") == own;
    let by_sha1 = header.x5t().map(|stated| is(stated, &sha1));
    let by_sha256 = header.x5t_s256().map(|stated| is(stated, &sha256));
    match (by_sha1, by_sha256) {
        (None, None) => header.kid() == Some(&sha1),
        (first, second) => first.unwrap_or(true) && second.unwrap_or(true),
    }
}

fn unregistered(application: &Application) -> Refusal {
    refusal(
        700_027,
        format!(
            "The certificate with identifier used to sign the client assertion is not registered on application '{}'.",
            application.id
        ),
    )
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_thumbprint_may_be_in_either_alphabet() {
        let sha1 = |number: u8| digest(&SHA1_FOR_LEGACY_USE_ONLY, &[number]);
        // The hash of this number has a character in which the two alphabets differ.
        let differs = |number: &u8| STANDARD.encode(sha1(*number)).contains(['+', '/']);
        let number = (0..=u8::MAX).find(differs).unwrap();
        for (stated, is_it) in [
            (STANDARD.encode(sha1(number)), true),
            (URL_SAFE_NO_PAD.encode(sha1(number)), true),
            (STANDARD.encode(sha1(number.wrapping_add(1))), false),
        ] {
            let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "RS256", "x5t": stated }).to_string());
            let token = format!("{header}.e30.c2ln");
            let jws = UnverifiedJws::parse(&token).unwrap();
            assert_eq!(is_named_by(jws.header(), &[number]), is_it, "{stated}");
        }
    }
}
