//! The instance metadata service, version 1: Bearer tokens.

use std::sync::Arc;
use std::time::Duration;

use certbound_core::jws::UnverifiedJws;
use certbound_core::request::ReceivedForm;
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;
use serde_json::{Value, json};

use super::{Platform, Rejection, check_version, reject};
use crate::fault::FaultResult;
use crate::issue::BACKDATED;
use crate::world::ManagedIdentity;

const VERSIONS: [&str; 4] = ["2018-02-01", "2019-08-01", "2021-01-01", "2021-12-13"];
/// A cached token is not returned if its remaining lifetime is at most this number of seconds.
const NEAR_THE_END: u64 = 300;

/// `/metadata/identity/oauth2/token`
pub(super) fn token(platform: &Platform<'_>, query: &ReceivedForm) -> Result<Value, Rejection> {
    check_version(query, "api-version", &VERSIONS)?;
    let resource = query
        .value("resource")
        .ok_or_else(|| reject(400, "invalid_request", "Required query variable 'resource' is missing"))?;
    // The oldest version has only one name for a resource id; later versions have two names.
    let oldest = query.value("api-version") == Some(VERSIONS[0]);
    let names: &[&str] = match oldest {
        true => &["client_id", "object_id", "msi_res_id"],
        false => &["client_id", "object_id", "msi_res_id", "mi_res_id"],
    };
    let identity = platform.identity(query, names)?;
    let (token, issued) = cached_or_new(platform, identity, resource)?;
    let until = issued.as_secs() + platform.world.lifetime(true);
    let left = until - platform.now.as_secs() - 1;
    // All values are JSON strings.
    Ok(json!({
        "access_token": token.expose(),
        "client_id": identity.client_id,
        "expires_in": left.to_string(),
        "expires_on": until.to_string(),
        "ext_expires_in": left.to_string(),
        "not_before": issued.as_secs().saturating_sub(BACKDATED).to_string(),
        "refresh_token": "",
        "resource": resource,
        "token_type": "Bearer",
    }))
}

/// Returns a token with its time of issue. The token is new if the cache has no usable token or if a fault alters the
/// token.
fn cached_or_new(
    platform: &Platform<'_>,
    identity: &ManagedIdentity,
    resource: &str,
) -> Result<(Arc<Secret>, UnixTime), Rejection> {
    let (now, tokens) = (platform.now, &platform.memory.tokens);
    let names = (identity.client_id.as_str(), resource);
    let spoilt = platform.fault.and_then(FaultResult::alteration).is_some();
    // No resource accepts a token whose key was removed.
    let has_key = |(token, _): &(Arc<Secret>, UnixTime)| {
        let kid =
            UnverifiedJws::parse(token.expose()).ok().and_then(|jws| jws.header().kid().map(str::to_owned));
        kid.is_some_and(|kid| platform.keys.by_kid(&kid).is_some())
    };
    if let Some(cached) = tokens.get(names, now).filter(|cached| !spoilt && has_key(cached)) {
        return Ok(cached);
    }
    let answer = platform.plain_token(identity, resource, Vec::new())?;
    let token = (Arc::new(Secret::new(answer["access_token"].as_str().unwrap_or_default())), now);
    if !spoilt {
        let until = now.plus(Duration::from_secs(platform.world.lifetime(true).saturating_sub(NEAR_THE_END)));
        tokens.put(names, now, until, token.clone());
    }
    Ok(token)
}
