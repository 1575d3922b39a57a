//! The `claims` parameter: a claims challenge, the application's own claims, and the client's capabilities.

use serde_json::{Map, Value, json};

use crate::error::Misuse;

/// Merges the texts of the `claims` parameter with the declared capabilities. A single text without capabilities is
/// sent unchanged and is not parsed.
pub(super) fn merged(
    capabilities: &[String],
    challenge: Option<&str>,
    own: Option<&str>,
) -> Result<Option<String>, Misuse> {
    let both = match (challenge, own) {
        (Some(challenge), Some(own)) => {
            let mut both = object(challenge)?;
            merge(&mut both, object(own)?);
            Some(both)
        }
        (Some(one), None) | (None, Some(one)) if capabilities.is_empty() => return Ok(Some(one.to_owned())),
        (Some(one), None) | (None, Some(one)) => Some(object(one)?),
        (None, None) => None,
    };
    if capabilities.is_empty() {
        return Ok(both.map(|both| both.to_string()));
    }
    let mut all = json!({"access_token": {"xms_cc": {"values": capabilities}}});
    if let Some(both) = both {
        merge(&mut all, both);
    }
    Ok(Some(all.to_string()))
}

fn object(text: &str) -> Result<Value, Misuse> {
    serde_json::from_str::<Map<String, Value>>(text).map(Value::Object).map_err(|_| Misuse::ClaimsNotJson)
}

/// Merges `from` into `into`: objects member by member, and arrays by appending. Every other value is replaced. A
/// `null` replaces no value.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from),
        (into, from) => *into = from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1702682181"}}}"#;

    #[test]
    fn claims_are_joined_as_the_services_own_clients_join_them() {
        let cp1 = ["cp1".to_owned()];
        type Row<'a> = (&'a [String], Option<&'a str>, Option<&'a str>, Option<&'a str>);
        let rows: [Row<'_>; 8] = [
            (&[], None, None, None),
            (&[], Some("not { json"), None, Some("not { json")),
            (&[], None, Some(" {\"a\": 1}"), Some(" {\"a\": 1}")),
            (&cp1, None, None, Some(r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#)),
            (
                &cp1,
                Some(CHALLENGE),
                None,
                Some(
                    r#"{"access_token":{"xms_cc":{"values":["cp1"]},"nbf":{"essential":true,"value":"1702682181"}}}"#,
                ),
            ),
            (
                &[],
                Some(r#"{"a":[1],"b":2}"#),
                Some(r#"{"a":[3],"b":null,"c":4}"#),
                Some(r#"{"a":[1,3],"b":2,"c":4}"#),
            ),
            (&[], Some(r#"{"a":1}"#), Some(r#"{"a":2}"#), Some(r#"{"a":2}"#)),
            (
                &cp1,
                None,
                Some(r#"{"access_token":{"xms_cc":{"values":["x"]}}}"#),
                Some(r#"{"access_token":{"xms_cc":{"values":["cp1","x"]}}}"#),
            ),
        ];
        for (capabilities, challenge, own, expected) in rows {
            assert_eq!(
                merged(capabilities, challenge, own).unwrap().as_deref(),
                expected,
                "{challenge:?} {own:?}"
            );
        }
    }

    #[test]
    fn what_has_to_be_merged_must_be_an_object() {
        let cp1 = ["cp1".to_owned()];
        for bad in ["", "[]", "7", "{", "null"] {
            assert_eq!(merged(&cp1, Some(bad), None), Err(Misuse::ClaimsNotJson), "{bad:?}");
            assert_eq!(merged(&[], Some("{}"), Some(bad)), Err(Misuse::ClaimsNotJson), "{bad:?}");
        }
    }
}
