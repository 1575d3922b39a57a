//! `X-Forwarded-Client-Cert`: elements joined by commas, each of pairs joined by semicolons, values bare or quoted.

use certbound_core::certificate::Thumbprint;

use super::{ForwardedError, url_encoded_pem};

/// The `Cert` of the last element, still URL-encoded. Elements before it may be anybody's.
pub(super) fn certificate(value: &[u8]) -> Result<Vec<u8>, ForwardedError> {
    let text = std::str::from_utf8(value).map_err(|_| ForwardedError::Malformed)?;
    let element = split(text, ',')?.pop().ok_or(ForwardedError::Malformed)?;
    let (mut certificate, mut hash) = (None, None);
    for pair in split(element, ';')? {
        let (key, value) = pair.trim().split_once('=').ok_or(ForwardedError::Malformed)?;
        let place = match key.to_ascii_lowercase().as_str() {
            "cert" => &mut certificate,
            "hash" => &mut hash,
            // DNS and URI may stand several times, and none of the others is looked at.
            "by" | "chain" | "subject" | "uri" | "dns" => continue,
            _ => return Err(ForwardedError::Malformed),
        };
        if place.replace(unquoted(value)?).is_some() {
            return Err(ForwardedError::Repeated);
        }
    }
    let certificate = certificate.ok_or(ForwardedError::NoCertificate)?.into_bytes();
    if let Some(hash) = hash {
        let der = url_encoded_pem(&certificate)?;
        if !hash.eq_ignore_ascii_case(&Thumbprint::of_der(&der).hex()) {
            return Err(ForwardedError::HashMismatch);
        }
    }
    Ok(certificate)
}

/// Splits outside of quotes. A quote that does not end is an error: what follows it could be read two ways.
fn split(text: &str, separator: char) -> Result<Vec<&str>, ForwardedError> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, character) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if quoted && character == '\\' {
            escaped = true;
        } else if character == '"' {
            quoted = !quoted;
        } else if character == separator && !quoted {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    if quoted { Err(ForwardedError::Malformed) } else { Ok(parts) }
}

fn unquoted(value: &str) -> Result<String, ForwardedError> {
    let Some(inner) = value.strip_prefix('"') else {
        return if value.contains('"') { Err(ForwardedError::Malformed) } else { Ok(value.to_owned()) };
    };
    let inner = inner.strip_suffix('"').ok_or(ForwardedError::Malformed)?;
    let (mut text, mut escaped) = (String::with_capacity(inner.len()), false);
    for character in inner.chars() {
        match character {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return Err(ForwardedError::Malformed),
            other => {
                text.push(other);
                escaped = false;
            }
        }
    }
    if escaped { Err(ForwardedError::Malformed) } else { Ok(text) }
}
