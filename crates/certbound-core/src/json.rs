//! Strict JSON: an object with two members of the same name is refused, at any depth.

mod members;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

pub(crate) use self::members::Members;
use crate::shown::shown;

/// The maximum number of nested levels.
const MAX_DEPTH: usize = 32;

/// Parses a JSON object (RFC 8259). Two members of the same name, at any depth, are an error.
///
/// Some readers use the first of two duplicate members and other readers use the last, so the document would be
/// ambiguous. The function does not limit the size of the document; the caller must limit it.
///
/// # Errors
/// [`JsonError`] if the document is not one JSON object, has a duplicate name, or is nested deeper than 32 levels.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value: Value = Strict::at(0).deserialize(&mut deserializer).map_err(explain)?;
    deserializer.end().map_err(explain)?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(JsonError::NotAnObject),
    }
}

/// The reason why a text is not an acceptable JSON object. The error contains no values of members.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is not JSON.
    #[error("it is not JSON (line {line}, column {column})")]
    NotJson {
        /// The line of the first syntax error, from 1.
        line: usize,
        /// The column of the first syntax error.
        column: usize,
    },
    /// The text is JSON, but not an object.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// An object has two members of the same name.
    #[error("the member `{name}` occurs twice")]
    Duplicate {
        /// The name, shortened and escaped.
        name: String,
    },
    /// The header or the claims of a token have more than 256 members.
    #[error("it has more than {} members", Members::MAX)]
    TooMany,
    /// Values are nested deeper than 32 levels.
    #[error("its values are nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

const DUPLICATE: &str = "duplicate member: ";
const TOO_DEEP: &str = "nested too deeply";
const TOO_MANY: &str = "too many members";

/// Reads the value of one member with the checks of [`parse_object`].
pub(crate) fn strictly<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Strict::at(1).deserialize(deserializer).map(Some)
}

pub(crate) fn explain(error: serde_json::Error) -> JsonError {
    let text = error.to_string();
    if let Some(name) = text.strip_prefix(DUPLICATE) {
        // The library appends " at line L column C".
        let name = name.rsplit_once(" at line ").map_or(name, |(name, _)| name);
        return JsonError::Duplicate { name: shown(name) };
    }
    if text.starts_with(TOO_MANY) {
        return JsonError::TooMany;
    }
    if text.starts_with(TOO_DEEP) || text.starts_with("recursion limit") {
        return JsonError::TooDeep;
    }
    JsonError::NotJson { line: error.line(), column: error.column() }
}

fn duplicate<E: serde::de::Error>(name: &str) -> E {
    E::custom(format_args!("{DUPLICATE}{name}"))
}

/// Reads one JSON value into a `T`. The values inside this value are read into a [`Value`].
struct Strict<T> {
    /// The number of lists and objects around the value.
    depth: usize,
    result: PhantomData<T>,
}

impl<T> Strict<T> {
    fn at(depth: usize) -> Self {
        Self { depth, result: PhantomData }
    }

    /// Returns the depth of the values inside this value.
    fn inside<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth == MAX_DEPTH { Err(E::custom(TOO_DEEP)) } else { Ok(self.depth + 1) }
    }
}

impl<'de, T: From<Value> + From<Cow<'de, str>>> DeserializeSeed<'de> for Strict<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: From<Value> + From<Cow<'de, str>>> Visitor<'de> for Strict<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<T, E> {
        Ok(Value::Bool(value).into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<T, E> {
        Ok(Value::from(value).into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<T, E> {
        Ok(Value::from(value).into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<T, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number).into())
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<T, E> {
        Ok(Cow::Borrowed(text).into())
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(Cow::<str>::Owned(text.to_owned()).into())
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(Value::Null.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<T, A::Error> {
        let depth = self.inside()?;
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(Strict::<Value>::at(depth))? {
            values.push(value);
        }
        Ok(Value::Array(values).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<T, A::Error> {
        let depth = self.inside()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match map.entry(name) {
                Entry::Occupied(member) => return Err(duplicate(member.key())),
                Entry::Vacant(member) => member.insert(members.next_value_seed(Strict::<Value>::at(depth))?),
            };
        }
        Ok(Value::Object(map).into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn duplicates_are_refused_at_every_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":{"a":1,"a":2}}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#] {
            assert_eq!(
                parse_object(text.as_bytes()),
                Err(JsonError::Duplicate { name: "a".into() }),
                "{text}"
            );
        }
    }

    #[test]
    fn a_name_cannot_steer_a_terminal() {
        let error = parse_object(br#"{"\u001b[2J at line 1":1,"\u001b[2J at line 1":1}"#).unwrap_err();
        assert_eq!(error, JsonError::Duplicate { name: r"\u{1b}[2J at line 1".into() });
    }

    #[test]
    fn only_one_object_is_taken() {
        assert_eq!(parse_object(b"[]"), Err(JsonError::NotAnObject));
        for text in ["", "{", "{}{}", "{} x", "{\"a\":1e400}", "\u{feff}{}", "{\"a\":nul}"] {
            assert!(matches!(parse_object(text.as_bytes()), Err(JsonError::NotJson { .. })), "{text}");
        }
        assert!(parse_object(b" {\"a\": [1, -2, 0.5, null, true, \"x\"]} ").is_ok());
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
        assert_eq!(parse_object(deep.as_bytes()), Err(JsonError::TooDeep));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes: Vec<u8>) {
            let _ = parse_object(&bytes);
        }
    }
}
