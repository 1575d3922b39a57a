//! The property `keyCredentials` of an application: its registered certificates.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_core::time::UnixTime;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::body::text;
use super::error::GraphError;
use crate::answers::date;
use crate::directory::KeyCredential;

/// The largest number of certificates of an application.
const MAX: usize = 100;
/// The largest certificate, in bytes of DER.
const LARGEST: usize = 16 * 1024;
/// The longest `customKeyIdentifier`, in bytes: a SHA-1 thumbprint in hexadecimal digits.
const MAX_IDENTIFIER: usize = 40;
/// The properties of an entry.
const PROPERTIES: [&str; 8] =
    ["customKeyIdentifier", "displayName", "endDateTime", "key", "keyId", "startDateTime", "type", "usage"];
/// The properties with one possible value.
const FIXED: [(&str, &str); 2] = [("type", "AsymmetricX509Cert"), ("usage", "Verify")];

type Credentials = Vec<Arc<KeyCredential>>;

/// Returns a certificate as Graph shows it. `with_certificate` adds its bytes.
pub(super) fn shown(credential: &KeyCredential, with_certificate: bool) -> Value {
    let certificate = credential.certificate();
    json!({
        "customKeyIdentifier": STANDARD.encode(&credential.custom_identifier),
        "displayName": credential.display_name,
        "endDateTime": date(credential.end),
        "key": with_certificate.then(|| STANDARD.encode(certificate.leaf_der())),
        "keyId": credential.id,
        "startDateTime": date(credential.start),
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
    })
}

/// Returns the certificates after a PATCH, which sends the whole list. The PATCH names a present certificate by its
/// `keyId`. The PATCH can repeat the certificate's other properties, but cannot change them.
pub(super) fn changed(present: &[Arc<KeyCredential>], sent: &[Value]) -> Result<Credentials, GraphError> {
    let mut after: Credentials = Vec::new();
    for entry in sent {
        let Some(entry) = entry.as_object() else {
            return Err(GraphError::bad_request("Each entry of keyCredentials must be an object."));
        };
        let is_known = |name: &str| PROPERTIES.contains(&name) || name.contains("@odata.");
        if let Some(other) = entry.keys().find(|name| !is_known(name)) {
            return Err(GraphError::bad_request(format!("Invalid property '{other}'.")));
        }
        let id = key_id(entry)?;
        let known = id.as_ref().and_then(|id| present.iter().find(|it| it.id.eq_ignore_ascii_case(id)));
        let credential = match known {
            Some(known) => unchanged(known, entry)?,
            None => Arc::new(new(id.unwrap_or_else(|| Uuid::new_v4().to_string()), entry)?),
        };
        if after.iter().any(|it| it.id.eq_ignore_ascii_case(&credential.id)) {
            let message = format!("The KeyId '{}' occurs twice in keyCredentials.", credential.id);
            return Err(GraphError::bad_request(message));
        }
        after.push(credential);
    }
    if after.len() > MAX {
        let message = format!(
            "Unable to perform operation as '{}' would exceed the maximum quota count '{MAX}' for 'keyCredentials'.",
            after.len()
        );
        return Err(GraphError::new(403, "Directory_QuotaExceeded", message));
    }
    Ok(after)
}

fn key_id(entry: &Map<String, Value>) -> Result<Option<String>, GraphError> {
    let Some(id) = text(entry, "keyId")? else { return Ok(None) };
    match Uuid::try_parse(id) {
        Ok(id) => Ok(Some(id.to_string())),
        Err(_) => Err(GraphError::bad_request(format!("The keyId '{id}' is not a GUID."))),
    }
}

/// Returns a present certificate. Refuses an entry that would change one of its properties.
fn unchanged(
    known: &Arc<KeyCredential>,
    entry: &Map<String, Value>,
) -> Result<Arc<KeyCredential>, GraphError> {
    let key = key(entry)?;
    let (start, end) = dates(entry)?;
    let mut is_same = key.is_none_or(|key| key == known.certificate().leaf_der())
        && custom_identifier(entry)?.is_none_or(|identifier| identifier == known.custom_identifier)
        && text(entry, "displayName")?.is_none_or(|name| Some(name) == known.display_name.as_deref())
        && start.is_none_or(|start| start == known.start)
        && end.is_none_or(|end| end == known.end);
    for (name, only) in FIXED {
        is_same &= text(entry, name)?.is_none_or(|value| value == only);
    }
    if is_same {
        return Ok(Arc::clone(known));
    }
    let message = format!("Update to existing credential with KeyId '{}' is not allowed.", known.id);
    Err(GraphError::bad_request(message))
}

fn new(id: String, entry: &Map<String, Value>) -> Result<KeyCredential, GraphError> {
    for (name, only) in FIXED {
        if text(entry, name)? != Some(only) {
            let what = format!("a new key credential whose {name} is not {only}");
            return Err(GraphError::not_emulated(&what));
        }
    }
    let der = key(entry)?.filter(|der| der.len() <= LARGEST).unwrap_or_default();
    let mut credential = KeyCredential::new(id, der).ok_or_else(invalid_key)?;
    let (from, until) = (credential.certificate().not_before(), credential.certificate().not_after());
    let (start, end) = dates(entry)?;
    if let Some(start) = start {
        if start < from {
            return Err(invalid_date("Start"));
        }
        credential.start = start;
    }
    if let Some(end) = end {
        if end > until || end < credential.start {
            return Err(invalid_date("End"));
        }
        credential.end = end;
    }
    // Without an end, a start can be later than the end of the certificate.
    if credential.end < credential.start {
        return Err(invalid_date("Start"));
    }
    if let Some(identifier) = custom_identifier(entry)? {
        credential.custom_identifier = identifier;
    }
    if let Some(name) = text(entry, "displayName")? {
        credential.display_name = Some(name.chars().take(256).collect());
    }
    Ok(credential)
}

/// Returns the certificate, DER, of an entry.
fn key(entry: &Map<String, Value>) -> Result<Option<Vec<u8>>, GraphError> {
    let key = text(entry, "key")?;
    key.map(|key| STANDARD.decode(key).map_err(|_| invalid_key())).transpose()
}

fn custom_identifier(entry: &Map<String, Value>) -> Result<Option<Vec<u8>>, GraphError> {
    const NAME: &str = "customKeyIdentifier";
    let decode = |text: &str| {
        let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() <= MAX_IDENTIFIER);
        let message = || format!("The property '{NAME}' must be base64 of at most {MAX_IDENTIFIER} bytes.");
        bytes.ok_or_else(|| GraphError::bad_request(message()))
    };
    text(entry, NAME)?.map(decode).transpose()
}

/// Returns `startDateTime` and `endDateTime`, without fractions of a second.
fn dates(entry: &Map<String, Value>) -> Result<(Option<UnixTime>, Option<UnixTime>), GraphError> {
    let read = |property: &str, name: &str| {
        let parse = |text: &str| {
            let moment: jiff::Timestamp = text.parse().ok()?;
            u64::try_from(moment.as_second()).ok().map(UnixTime::from_secs)
        };
        text(entry, property)?.map(|text| parse(text).ok_or_else(|| invalid_date(name))).transpose()
    };
    Ok((read("startDateTime", "Start")?, read("endDateTime", "End")?))
}

fn invalid_key() -> GraphError {
    let message = "The key of a key credential must be a certificate: at most 16 KiB of DER, in base64.";
    GraphError::new(400, "KeyCredentialsInvalidValue", message)
}

/// Returns the error of a date. `which` is `Start` or `End`.
fn invalid_date(which: &str) -> GraphError {
    if which == "Start" {
        GraphError::new(400, "KeyCredentialsInvalidStartDate", "Key credential start date is invalid.")
    } else {
        GraphError::new(400, "KeyCredentialsInvalidEndDate", "Key credential end date is invalid.")
    }
}
