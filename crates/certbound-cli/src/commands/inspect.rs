//! `inspect`: prints the content of a token without verifying it.

use std::path::Path;

use certbound::Secret;
use certbound_core::certificate::{CertificateError, Thumbprint};
use certbound_core::jws;
use certbound_core::jwt::Claims;
use certbound_verifier::{Clock as _, PeerCertificate, SystemClock};
use serde_json::{Value, json};

use crate::failure::{Failure, REFUSED};
use crate::flags::{Format, InspectFlags};
use crate::input;
use crate::output::{self, Terminal, mark, rfc3339};
use crate::usage::Usage;
use crate::{plan, token_uri};

/// The largest token or certificate file, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

pub(super) fn run(flags: &InspectFlags, terminal: Terminal) -> Result<(), Failure> {
    let format = terminal.format_of(&[Format::Json, Format::Table])?;
    let token = token(flags.token.as_deref())?;
    let header = jws::unverified_header(token.expose()).map_err(Usage::NotAJwt)?;
    let claims = jws::unverified_claims(token.expose()).map_err(Usage::NotAJwt)?;
    let certificate = flags.certificate.as_deref().map(certificate).transpose()?;
    let given = certificate.as_ref().and_then(PeerCertificate::thumbprint);
    let bound_to =
        claims.confirmation().map(|claim| claim.map(str::to_owned)).map_err(|error| error.to_string());
    let matches = given.map(|given| matches!(&bound_to, Ok(Some(claim)) if given.matches_claim(claim)));

    match format {
        Format::Json => {
            let result = json!({
                "verified": false,
                "header": header,
                "claims": claims.map(),
                "bound": matches!(bound_to, Ok(Some(_))),
                "x5tS256": bound_to.as_ref().ok().cloned().flatten(),
                "confirmationError": bound_to.as_ref().err(),
                "certificate": given.map(|given| json!({ "x5tS256": given.x5t_s256(), "matches": matches })),
            });
            output::print(&output::json(&result, token.len())?)?;
        }
        _ => output::print_text(&table(&header, &claims, &bound_to, given, matches))?,
    }
    match matches {
        Some(false) => Err(Failure::new(
            REFUSED,
            "client_certificate_mismatch",
            "the token is not bound to this certificate",
            bound_to.map_or_else(
                |error| error,
                |claim| match claim {
                    Some(claim) => format!("it is bound to {claim}"),
                    None => "it is not bound at all".to_owned(),
                },
            ),
            "use the certificate with which the token was requested",
        )),
        _ => Ok(()),
    }
}

fn table(
    header: &serde_json::Map<String, Value>,
    claims: &Claims,
    bound_to: &Result<Option<String>, String>,
    given: Option<Thumbprint>,
    matches: Option<bool>,
) -> String {
    let now = SystemClock.now();
    let mut text = "not verified: anybody can write this content\n".to_owned();
    let mut row = |name: &str, value: &str| text.push_str(&output::row(name, value));
    for (name, value) in header {
        row(name, &plain(value));
    }
    for (name, value) in claims.map() {
        let value = match name.as_str() {
            "exp" | "nbf" | "iat" => match value.as_u64().map(certbound::UnixTime::from_secs) {
                Some(time) if name == "exp" && time <= now => format!("{} (expired)", rfc3339(time)),
                Some(time) if name != "exp" && time > now => format!("{} (in the future)", rfc3339(time)),
                Some(time) => rfc3339(time),
                None => plain(value),
            },
            _ => plain(value),
        };
        row(name, &value);
    }
    match bound_to {
        Ok(Some(claim)) => row("bound to", claim),
        Ok(None) => row("bound to", "nothing: everybody who has the token can use it"),
        Err(error) => row("bound to", &format!("not understood: {error}")),
    }
    if let (Some(given), Some(matches)) = (given, matches) {
        row("certificate", &format!("{given} {}", mark(matches)));
    }
    text
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns the token in the argument, or the token on stdin if the argument is `-`.
pub(super) fn token(argument: Option<&str>) -> Result<Secret, Failure> {
    let text = match argument {
        None => return Err(Usage::NoToken.into()),
        Some("-") => input::text(Path::new("-"), &input::stdin(MAX_BYTES)?)?,
        Some(text) => zeroize::Zeroizing::new(text.to_owned()),
    };
    match text.trim() {
        "" => Err(Usage::NoToken.into()),
        token => Ok(Secret::new(token)),
    }
}

/// Returns the first certificate in a PEM or DER file, or the certificate that a PKCS#11 URI names. Private keys in the
/// file are ignored.
pub(super) fn certificate(path: &Path) -> Result<PeerCertificate, Failure> {
    let shown = path.display().to_string();
    if token_uri::text(path).is_some() {
        let (certificate, shown) = plan::load_certificate(path, None, None)?;
        let peer = PeerCertificate::from_der(certificate.chain().leaf_der());
        let refuse = |reason: String| Usage::NotACertificate { path: shown, reason };
        return Ok(peer.map_err(|error| refuse(error.to_string()))?);
    }
    let bytes = bounded(path)?;
    let refuse = |reason: String| Usage::NotACertificate { path: shown.clone(), reason };
    let from_pem = || PeerCertificate::from_pem(&bytes);
    // DER begins with `0`. A text before the first section of a PEM file can begin with `0` too.
    let peer = match bytes.starts_with(b"0") {
        true => PeerCertificate::from_der(&bytes).or_else(|error| match from_pem() {
            Err(CertificateError::Empty) => Err(error),
            peer => peer,
        }),
        false => from_pem(),
    };
    Ok(peer.map_err(|error| refuse(error.to_string()))?)
}

/// Reads a file of at most 1 MiB.
pub(super) fn bounded(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, Failure> {
    Ok(input::file(path, MAX_BYTES)?)
}
