//! The expiry of a platform's token, in the forms that platforms use.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::strtime;
use serde_json::{Map, Value};

use super::MalformedMachineAnswer;
use crate::shown::shown;
use crate::time::UnixTime;

/// The limit is 2001-01-01. A smaller number is a duration in seconds; any other number is a time in seconds since the
/// epoch.
const FIRST_MOMENT: u64 = 978_307_200;

/// The date forms of older platforms: Machine Learning, and App Service with api-version 2017-09-01.
const OLDER: [&str; 2] = ["%m/%d/%Y %I:%M:%S %p %:z", "%m/%d/%Y %H:%M:%S %:z"];

/// Reads `expires_on`. If this member is absent or cannot be read, the function reads `expires_in`.
///
/// # Errors
/// [`MalformedMachineAnswer`] if neither member can be read, or if the token has expired.
pub(super) fn of_answer(
    members: &Map<String, Value>,
    now: UnixTime,
) -> Result<UnixTime, MalformedMachineAnswer> {
    let is_stated = |value: &&Value| !value.is_null() && value.as_str() != Some("");
    let stated =
        || ["expires_on", "expires_in"].into_iter().filter_map(|name| members.get(name)).filter(is_stated);
    let first = stated().next().ok_or(MalformedMachineAnswer::Missing("expires_on"))?;
    let unreadable = || MalformedMachineAnswer::Expiry { shown: shown(&first.to_string()) };
    let expires_at = stated().find_map(|value| moment(value, now)).ok_or_else(unreadable)?;
    match expires_at > now {
        true => Ok(expires_at),
        false => Err(MalformedMachineAnswer::Over { expired: expires_at, now }),
    }
}

/// Reads a time. In both members, a number can be a time or a duration. A string can also be a date.
fn moment(value: &Value, now: UnixTime) -> Option<UnixTime> {
    let text = value.as_str().map(str::trim);
    match value.as_u64().or_else(|| text?.parse().ok()) {
        Some(seconds) if seconds < FIRST_MOMENT => Some(now.plus(Duration::from_secs(seconds))),
        Some(moment) => Some(UnixTime::from_secs(moment)),
        None => dated(text?),
    }
}

/// Reads a date with time and offset. A date without an offset is not read, because it does not determine a moment.
fn dated(text: &str) -> Option<UnixTime> {
    let older = || {
        let read = |form: &str| strtime::parse(form, text).ok()?.to_timestamp().ok();
        OLDER.into_iter().find_map(read)
    };
    let moment: Timestamp = text.parse().ok().or_else(older)?;
    Some(UnixTime::from_secs(u64::try_from(moment.as_second()).unwrap_or(0)))
}
