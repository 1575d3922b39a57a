//! The form of a token in a store, and the checks of an entry that is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use certbound_core::region::Region;
use certbound_core::request::MTLS_POP;
use certbound_core::response::is_b64token;
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{StoreEntry, StoreKey};
use crate::cache::key::KeyRef;
use crate::cache::{Connections, Entry, Expiry, Members, Origin, Payload, RequestSeq, TokenFacts};
use crate::certificate::{BindingCertificate, observe};
use crate::correlation::CorrelationId;
use crate::rejected::TokenHash;

/// The version of the form. Entries of other versions are not read.
const VERSION: u32 = 2;
/// A size in bytes that is enough for most entries, without the token and the optional members.
const BESIDE: usize = 4 * 1024;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    /// The name of the token. An entry that was stored under a different name is not used.
    key: String,
    /// The hash of the client's secret with which the token was requested.
    secret: Option<String>,
    token: &'a str,
    /// The start of the token's lifetime.
    from: u64,
    expires_at: u64,
    refresh_at: Option<u64>,
    correlation_id: String,
    endpoint: &'a str,
    tenant: &'a str,
    region: Option<&'a str>,
    token_type: &'a str,
    by_resource: bool,
    granted: Option<&'a str>,
    additional: Option<&'a BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    version: u32,
    key: String,
    secret: Option<String>,
    token: SecretText,
    from: u64,
    expires_at: u64,
    refresh_at: Option<u64>,
    correlation_id: String,
    endpoint: Box<str>,
    tenant: Box<str>,
    region: Option<String>,
    token_type: Box<str>,
    by_resource: bool,
    granted: Option<Box<str>>,
    additional: Option<BTreeMap<String, String>>,
}

/// The token while an entry is parsed.
struct SecretText(Secret);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Secret::new(text)))
    }
}

/// Returns the entry for a token. `None` means that the token cannot be serialised.
pub(super) fn write(held: &Entry, key: &StoreKey) -> Option<StoreEntry> {
    let (life, origin) = (&held.expiry, &held.origin);
    let written = Written {
        version: VERSION,
        key: key.to_string(),
        secret: held.key.client().secret().map(TokenHash::hex),
        token: held.secret.expose(),
        from: life.counts_from().as_secs(),
        expires_at: life.expires_at().as_secs(),
        refresh_at: life.refresh_at().map(UnixTime::as_secs),
        correlation_id: held.correlation_id.to_string(),
        endpoint: &origin.endpoint,
        tenant: &origin.tenant,
        region: origin.region.as_ref().map(Region::as_str),
        token_type: &origin.token_type,
        by_resource: origin.by_resource,
        granted: held.granted(),
        additional: held.members.as_ref().map(|members| &members.additional),
    };
    // The buffer has its full size from the start. A growing buffer would leave copies of the secret in memory that are
    // not wiped.
    let room = held.secret.len() + 2 * held.bytes_of_members() + BESIDE;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *bytes, &written).ok()?;
    Some(StoreEntry { bytes, expires_at: life.expires_at() })
}

/// Returns the token of an entry, if the entry is for this key and its token passes the checks. `Ok(None)` means that
/// the token was requested with a different client secret. A client with that secret may still use the token.
pub(super) fn read(
    entry: &StoreEntry,
    name: &StoreKey,
    (key, payload): (&KeyRef<'_>, &Payload),
    seq: RequestSeq,
) -> Result<Option<Entry>, &'static str> {
    let read: Read =
        serde_json::from_slice(&entry.bytes).map_err(|_| "it is damaged, or has a different version")?;
    if read.version != VERSION {
        return Err("it has a different version");
    }
    if read.key != name.to_string() {
        return Err("it belongs to a different token");
    }
    if read.secret != key.head.client.secret().map(TokenHash::hex) {
        return Ok(None);
    }
    let binding = payload.binding(key.head.kind);
    let demands_observed = key.head.client.demands_observed();
    let binding_observed = check_kind(&read, binding, demands_observed)?;
    let at = UnixTime::from_secs;
    let mut expires_at = at(read.expires_at);
    if let Some(binding) = binding {
        expires_at = expires_at.min(binding.chain().not_after());
    }
    let expiry = Expiry::new(at(read.from), expires_at, read.refresh_at.map(at), seq);
    let correlation_id: CorrelationId =
        read.correlation_id.parse().map_err(|_| "its correlation id is not a GUID")?;
    let region = read
        .region
        .as_deref()
        .map(Region::parse)
        .transpose()
        .map_err(|_| "its region is not a region name")?;
    let origin = Origin {
        endpoint: read.endpoint,
        tenant: read.tenant,
        region,
        region_outcome: None,
        token_type: read.token_type,
        binding_observed,
        by_resource: read.by_resource,
        connections: Connections(Arc::clone(&payload.transport)),
    };
    let facts = TokenFacts {
        key: key.to_key(payload.certificate.as_ref()),
        expiry,
        secret: read.token.0,
        origin: payload.origins.shared(origin),
        correlation_id,
        members: Members::new(read.granted, read.additional.unwrap_or_default()),
    };
    Ok(Some(Entry::new(facts, binding)))
}

/// Returns whether the token is readable and names the certificate.
fn check_kind(
    read: &Read,
    binding: Option<&BindingCertificate>,
    demands_observed: bool,
) -> Result<bool, &'static str> {
    if read.token.0.expose().is_empty() {
        return Err("its token is empty");
    }
    // The token is written unchanged to a header, a shell or a terminal.
    if !is_b64token(read.token.0.expose().as_bytes()) {
        return Err("its token has a character that is not allowed in a token");
    }
    let is = |kind: &str| read.token_type.eq_ignore_ascii_case(kind);
    match binding {
        Some(binding) if is(MTLS_POP) || is("Bearer") => {
            match observe(&read.token.0, binding, is(MTLS_POP)) {
                Ok(false) if demands_observed => {
                    Err("the client cannot read whether its token is bound to this certificate")
                }
                Ok(seen) => Ok(seen),
                Err(_) => Err("its token is not bound to this certificate"),
            }
        }
        None if is("Bearer") => Ok(false),
        _ => Err("its token is of a different kind"),
    }
}
