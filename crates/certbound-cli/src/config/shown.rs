//! A value of the configuration as it is printed: without secrets, and with its origin.

use certbound_core::refusal::without_tokens;
use serde_json::{Value, json};

use super::effective::{Effective, Origin};
use super::keys;
use crate::failure::one;
use crate::token_uri;

/// A value as it is printed.
pub(crate) struct ShownValue {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) origin: String,
    pub(crate) excluded_by: Option<&'static str>,
    pub(crate) json: Value,
}

impl ShownValue {
    pub(crate) fn new(value: &Effective) -> Self {
        let texts = value.values.iter().map(|text| match keys::is_secret(&value.key) {
            true => format!("<redacted, {} bytes>", text.len()),
            false if value.key.ends_with("-env") && !text.to_str().is_some_and(keys::is_variable_name) => {
                format!("<not the name of a variable, {} bytes>", text.len())
            }
            false if has_user(&text.to_string_lossy()) => {
                format!("<a URL with a user name or password, {} bytes>", text.len())
            }
            false if value.key == "resource-url" => without_query(&one(&text.to_string_lossy())),
            false => without_tokens(&one(&token_uri::without_pin(&text.to_string_lossy()))),
        });
        let texts: Vec<String> = texts.collect();
        let (origin, facts) = match &value.origin {
            Origin::Flag => (format!("flag --{}", value.key), json!({"origin": "flag"})),
            Origin::Variable(name) => {
                (format!("variable {name}"), json!({"origin": "variable", "variable": name}))
            }
            Origin::Profile { name, place } => (
                format!("{place}, profile {name}"),
                json!({"origin": "profile", "profile": name, "file": place.file, "line": place.at.map(|it| it.0)}),
            ),
            Origin::File(place) => (
                format!("{place}, for all profiles"),
                json!({"origin": "file", "file": place.file, "line": place.at.map(|it| it.0)}),
            ),
            Origin::Default => ("default".to_owned(), json!({"origin": "default"})),
        };
        let mut json = json!({"key": value.key, "value": texts, "excludedBy": value.excluded_by});
        if let [one] = texts.as_slice() {
            json["value"] = one.as_str().into();
        }
        if let (Value::Object(json), Value::Object(facts)) = (&mut json, facts) {
            json.extend(facts);
        }
        let (key, value, excluded_by) = (value.key.clone(), texts.join(", "), value.excluded_by);
        Self { key, value, origin, excluded_by, json }
    }
}

/// Returns whether a value is a URL with a user name or a password. No command accepts a URL with either of them.
fn has_user(text: &str) -> bool {
    let host = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    host.is_some_and(|host| host.contains('@'))
}

/// Replaces the query of a URL by its length, because a query can contain a key.
fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((before, query)) => format!("{}?<redacted, {} bytes>", without_tokens(before), query.len()),
        None => without_tokens(url),
    }
}
