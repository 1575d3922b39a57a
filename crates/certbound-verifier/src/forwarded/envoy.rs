//! `X-Forwarded-Client-Cert`: elements joined by commas. An element consists of pairs joined by semicolons; values may
//! be quoted.
//!
//! Envoy does not escape `Subject`, `URI` and `DNS`, which the client chooses: a certificate for the name `x,Cert=...`
//! would add an element. So the header may have only parts in which no client can write a comma, a semicolon or a
//! quote: one element, with `By` (the proxy's own certificate), `Hash` (hexadecimal) and `Cert` (URL-encoded).

use certbound_core::certificate::Thumbprint;

use super::pem;
use crate::refusal::ForwardedError;

/// Returns the DER of the certificate.
pub(super) fn certificate(value: &[u8]) -> Result<Vec<u8>, ForwardedError> {
    let text = std::str::from_utf8(value).map_err(|_| ForwardedError::Malformed)?;
    // The three values never contain a backslash, and parsers interpret a backslash differently.
    if text.contains('\\') {
        return Err(ForwardedError::Malformed);
    }
    let elements = split(text, ',')?;
    let [element] = elements[..] else { return Err(ForwardedError::SeveralElements) };
    let (mut by, mut hash, mut certificate) = (None, None, None);
    for pair in split(element, ';')? {
        let (key, value) = pair.split_once('=').ok_or(ForwardedError::Malformed)?;
        let place = match key.to_ascii_lowercase().as_str() {
            "by" => &mut by,
            "hash" => &mut hash,
            "cert" => &mut certificate,
            _ => return Err(ForwardedError::UnexpectedKey),
        };
        if place.replace(unquoted(value)?).is_some() {
            return Err(ForwardedError::Repeated);
        }
    }
    let der = pem::url_encoded(certificate.ok_or(ForwardedError::NoCertificate)?.as_bytes())?;
    if hash.is_some_and(|hash| !hash.eq_ignore_ascii_case(&Thumbprint::of_der(&der).hex())) {
        return Err(ForwardedError::HashMismatch);
    }
    Ok(der)
}

/// Splits outside of quotes. An unclosed quote is an error, because its text could be read in two ways.
fn split(text: &str, separator: char) -> Result<Vec<&str>, ForwardedError> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        if character == '"' {
            quoted = !quoted;
        } else if character == separator && !quoted {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    if quoted { Err(ForwardedError::Malformed) } else { Ok(parts) }
}

/// Removes the quotes of a value. A value is quoted as a whole or not at all.
fn unquoted(value: &str) -> Result<&str, ForwardedError> {
    let inner = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or(ForwardedError::Malformed)?,
        None => value,
    };
    if inner.contains('"') { Err(ForwardedError::Malformed) } else { Ok(inner) }
}
