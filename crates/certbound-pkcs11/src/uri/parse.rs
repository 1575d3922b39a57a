//! The parser of PKCS#11 URIs. Its errors name attributes and never contain a value, because a value can be a PIN.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use certbound::Secret;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use zeroize::Zeroizing;

use super::{ModuleName, ObjectKind, PinPlace, Pkcs11Uri, SCHEME};

/// The longest URI, in bytes.
const MAX_LENGTH: usize = 4096;

/// The ASCII characters that this module percent-encodes in a value.
const SHOWN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':');

/// The attributes that the specification defines and this crate does not support.
const UNSUPPORTED: [&str; 5] = [
    "library-manufacturer",
    "library-description",
    "library-version",
    "slot-manufacturer",
    "slot-description",
];

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, SHOWN).to_string()
}

pub(super) fn parse(text: &str) -> Result<Pkcs11Uri, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("it is longer than {MAX_LENGTH} bytes"));
    }
    if !Pkcs11Uri::is_uri(text) {
        return Err(format!("it does not begin with `{SCHEME}`"));
    }
    let rest = text.get(SCHEME.len()..).unwrap_or_default();
    if rest.contains('#') {
        return Err("it has a fragment (`#`); write `%23` for this character in a value".to_owned());
    }
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let mut uri = Pkcs11Uri::default();
    let mut seen = Vec::new();
    for part in path.split(';').filter(|_| !path.is_empty()) {
        let (name, value) = attribute(part, &mut seen, ":[]@!$'()*+,=&")?;
        path_attribute(&mut uri, name, value)?;
    }
    for part in query.into_iter().flat_map(|query| query.split('&')) {
        let attribute = attribute(part, &mut seen, ":[]@!$'()*+,=/?|");
        // The rest of an unencoded PIN can look like an attribute, so the error does not show its name.
        let after_pin = matches!(uri.pin, Some(PinPlace::Value(_)));
        let (name, value) =
            attribute.map_err(|error| if after_pin { AFTER_PIN.to_owned() } else { error })?;
        query_attribute(&mut uri, name, value)?;
    }
    Ok(uri)
}

/// The error of an attribute after the PIN.
const AFTER_PIN: &str = "an attribute after `pin-value` is unknown or not valid; write `&` in a PIN as `%26`";

/// Splits one attribute into its name and its value, which is still encoded.
fn attribute<'a>(
    part: &'a str,
    seen: &mut Vec<&'a str>,
    allowed: &str,
) -> Result<(&'a str, &'a str), String> {
    let Some((name, value)) = part.split_once('=') else {
        return Err("an attribute has no `=`; attributes are separated by `;`, and after `?` by `&`".into());
    };
    // A name that is not a plain word can be a part of a value, so the error does not show it.
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        return Err("the name of an attribute is not a word of letters, digits, `-` and `_`".into());
    }
    if seen.contains(&name) {
        return Err(format!("the attribute `{name}` is given twice"));
    }
    seen.push(name);
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._~%".contains(c) || allowed.contains(c);
    if !value.chars().all(is_allowed) {
        return Err(format!("the value of `{name}` has a character that must be percent-encoded"));
    }
    let is_encoded = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !value.split('%').skip(1).all(is_encoded) {
        return Err(format!("the value of `{name}` has a `%` without two hexadecimal digits"));
    }
    Ok((name, value))
}

fn path_attribute(uri: &mut Pkcs11Uri, name: &str, value: &str) -> Result<(), String> {
    let token = &mut uri.token;
    match name {
        "token" => token.label = Some(text(name, value)?),
        "manufacturer" => token.manufacturer = Some(text(name, value)?),
        "model" => token.model = Some(text(name, value)?),
        "serial" => token.serial = Some(text(name, value)?),
        "slot-id" => {
            let digits = text(name, value)?;
            let slot = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
            token.slot = Some(slot.ok_or("the value of `slot-id` is not a decimal number")?);
        }
        "object" => uri.object = Some(text(name, value)?),
        "id" => match percent_decode(value.as_bytes()).collect::<Vec<u8>>() {
            id if id.is_empty() => return Err("the value of `id` is empty".into()),
            id => uri.id = Some(id),
        },
        "type" => {
            uri.kind = Some(match value {
                "private" => ObjectKind::Private,
                "cert" => ObjectKind::Certificate,
                _ => return Err("the value of `type` is neither `private` nor `cert`".into()),
            });
        }
        "pin-value" | "pin-source" | "module-path" | "module-name" => {
            return Err(format!("`{name}` belongs after `?`"));
        }
        _ => return Err(unknown(name)),
    }
    Ok(())
}

fn query_attribute(uri: &mut Pkcs11Uri, name: &str, value: &str) -> Result<(), String> {
    match name {
        "module-path" => module(uri, ModuleName::Path(absolute(name, &text(name, value)?)?)),
        "module-name" => {
            let text = text(name, value)?;
            if text.contains(['/', '\\']) || text.starts_with('.') {
                return Err("the value of `module-name` is a path; use `module-path`".into());
            }
            module(uri, ModuleName::Name(text))
        }
        "pin-source" => {
            let text = text(name, value)?;
            if text.starts_with('|') {
                return Err("`pin-source` with a program is not supported; use `file:` and a path".into());
            }
            let path = text.strip_prefix("file:").unwrap_or(&text);
            let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
            let path = absolute(name, path)?;
            pin(uri, PinPlace::File(path))
        }
        "pin-value" => {
            // The buffer has its full size from the start. A growing buffer would leave copies that are not wiped.
            let mut bytes = Zeroizing::new(Vec::with_capacity(value.len()));
            bytes.extend(percent_decode(value.as_bytes()));
            let text = str::from_utf8(&bytes).map_err(|_| "the value of `pin-value` is not UTF-8")?;
            pin(uri, PinPlace::Value(Secret::new(text)))
        }
        "token" | "manufacturer" | "model" | "serial" | "slot-id" | "object" | "id" | "type" => {
            Err(format!("`{name}` belongs before `?`"))
        }
        _ if matches!(uri.pin, Some(PinPlace::Value(_))) => Err(AFTER_PIN.to_owned()),
        _ => Err(unknown(name)),
    }
}

fn module(uri: &mut Pkcs11Uri, module: ModuleName) -> Result<(), String> {
    match uri.module.replace(module) {
        None => Ok(()),
        Some(_) => Err("give either `module-path` or `module-name`, not both".into()),
    }
}

fn pin(uri: &mut Pkcs11Uri, pin: PinPlace) -> Result<(), String> {
    match uri.pin.replace(pin) {
        None => Ok(()),
        Some(_) => Err("give either `pin-source` or `pin-value`, not both".into()),
    }
}

fn unknown(name: &str) -> String {
    match UNSUPPORTED.contains(&name) {
        true => format!("the attribute `{name}` is not supported"),
        false => format!("the attribute `{}` is unknown", name.chars().take(32).collect::<String>()),
    }
}

/// Decodes the value of an attribute other than a PIN.
fn text(name: &str, value: &str) -> Result<String, String> {
    let decoded = percent_decode(value.as_bytes()).decode_utf8().map(Cow::into_owned);
    let decoded = decoded.map_err(|_| format!("the value of `{name}` is not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(format!("the value of `{name}` contains the character NUL"));
    }
    if decoded.is_empty() { Err(format!("the value of `{name}` is empty")) } else { Ok(decoded) }
}

fn absolute(name: &str, path: &str) -> Result<PathBuf, String> {
    match Path::new(path).is_absolute() {
        true => Ok(PathBuf::from(path)),
        false => Err(format!("the path of `{name}` is not absolute")),
    }
}
