//! The members of one JSON object in a list. Names and string values without escapes are not copied, because a program
//! reads only a few claims of a token.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{JsonError, Strict, TOO_MANY, duplicate, explain, parse_object};

/// The members of an object, read with the checks of [`parse_object`]. Names and string values without escapes are not
/// copied.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    document: String,
    list: Vec<(Text, Member<Text>)>,
}

/// A string. A string without escapes is a range of the document; any other string is a copy.
#[derive(Clone, Debug)]
enum Text {
    Range(Range<usize>),
    Copy(Box<str>),
}

/// The value of a member, whose strings are of the type `T`.
#[derive(Clone, Debug)]
enum Member<T> {
    Text(T),
    Other(Value),
}

impl Members {
    /// The maximum number of members. Each name is compared with all earlier names, so the limit bounds the work.
    pub(crate) const MAX: usize = 256;

    /// Reads one JSON object.
    ///
    /// # Errors
    /// The errors of [`parse_object`], and [`JsonError::TooMany`] for more than [`Members::MAX`] members.
    pub(crate) fn parse(document: Vec<u8>) -> Result<Self, JsonError> {
        // If a text is not UTF-8 or does not begin with `{`, `parse_object` finds the error, so that both readers
        // report the same error.
        let error_of = |text: &[u8]| parse_object(text).err().unwrap_or(JsonError::NotAnObject);
        let document = String::from_utf8(document).map_err(|error| error_of(error.as_bytes()))?;
        if document.bytes().find(|byte| !byte.is_ascii_whitespace()) != Some(b'{') {
            return Err(error_of(document.as_bytes()));
        }
        let mut deserializer = serde_json::Deserializer::from_str(&document);
        let list = deserializer.deserialize_map(MembersVisitor).map_err(explain)?;
        deserializer.end().map_err(explain)?;
        let list = list.into_iter().map(|(name, member)| {
            let member = match member {
                Member::Text(text) => Member::Text(Text::of(&document, text)),
                Member::Other(value) => Member::Other(value),
            };
            (Text::of(&document, name), member)
        });
        let list = list.collect();
        Ok(Self { document, list })
    }

    /// Returns a member that is a string. The result is `None` if the member is absent or has a different type.
    pub(crate) fn string(&self, name: &str) -> Option<&str> {
        match self.member(name)? {
            Member::Text(text) => Some(text.in_document(&self.document)),
            Member::Other(_) => None,
        }
    }

    /// Returns a member that is not a string. The result is `None` if the member is absent or a string.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        match self.member(name)? {
            Member::Other(value) => Some(value),
            Member::Text(_) => None,
        }
    }

    /// Whether the object has this member.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.member(name).is_some()
    }

    /// Returns all members as a tree, in the order of the document.
    pub(crate) fn to_map(&self) -> Map<String, Value> {
        let members = self.list.iter().map(|(name, member)| {
            let value = match member {
                Member::Text(text) => text.in_document(&self.document).into(),
                Member::Other(value) => value.clone(),
            };
            (name.in_document(&self.document).to_owned(), value)
        });
        members.collect()
    }

    fn member(&self, name: &str) -> Option<&Member<Text>> {
        let found = self.list.iter().find(|(known, _)| known.in_document(&self.document) == name);
        found.map(|(_, member)| member)
    }
}

impl Text {
    fn of(document: &str, text: Cow<'_, str>) -> Self {
        match text {
            Cow::Borrowed(part) => {
                // The part is borrowed from the document, so the difference of the addresses is its position in the
                // document.
                let start = (part.as_ptr() as usize).wrapping_sub(document.as_ptr() as usize);
                Self::Range(start..start + part.len())
            }
            Cow::Owned(copy) => Self::Copy(copy.into()),
        }
    }

    fn in_document<'t>(&'t self, document: &'t str) -> &'t str {
        match self {
            // `of` made the range from this document, so it is always valid.
            Self::Range(range) => document.get(range.clone()).unwrap_or_default(),
            Self::Copy(text) => text,
        }
    }
}

impl From<Value> for Member<Cow<'_, str>> {
    fn from(value: Value) -> Self {
        Self::Other(value)
    }
}

impl<'d> From<Cow<'d, str>> for Member<Cow<'d, str>> {
    fn from(text: Cow<'d, str>) -> Self {
        Self::Text(text)
    }
}

/// The name of a member. Without this struct, serde would always copy the text of a `Cow`.
#[derive(Deserialize)]
struct Name<'d>(#[serde(borrow)] Cow<'d, str>);

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Cow<'de, str>, Member<Cow<'de, str>>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        // Most tokens have at most 32 claims.
        let mut list: Self::Value = Vec::with_capacity(32);
        while let Some(Name(name)) = members.next_key()? {
            if list.iter().any(|(known, _)| *known == name) {
                return Err(duplicate(&name));
            }
            if list.len() == Members::MAX {
                return Err(A::Error::custom(TOO_MANY));
            }
            let value = members.next_value_seed(Strict::at(1))?;
            list.push((name, value));
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<Members, JsonError> {
        Members::parse(text.as_bytes().to_vec())
    }

    #[test]
    fn each_kind_of_member_is_found_as_what_it_is() {
        let members = parse(
            r#" {"a":"x","\u0062":"\u0079","c":7,"d":-7,"e":1.5,"f":[1],"g":{"h":null},"i":true,"j":null} "#,
        )
        .unwrap();
        assert_eq!(
            (members.string("a"), members.string("b"), members.string("c")),
            (Some("x"), Some("y"), None)
        );
        assert_eq!((members.value("c"), members.value("d")), (Some(&json!(7)), Some(&json!(-7))));
        assert_eq!(members.value("f"), Some(&json!([1])));
        assert_eq!((members.value("a"), members.value("z")), (None, None));
        assert!(members.contains("j") && !members.contains("h"));
        let map = members.to_map();
        assert_eq!(
            Value::Object(map.clone()),
            json!({"a":"x","b":"y","c":7,"d":-7,"e":1.5,"f":[1],"g":{"h":null},"i":true,"j":null})
        );
        assert_eq!(map.keys().map(String::as_str).collect::<String>(), "abcdefgij");
    }

    #[test]
    fn as_many_members_as_are_read() {
        let object = |count: usize| {
            let members: Vec<String> = (0..count).map(|at| format!("\"m{at}\":{at}")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert_eq!(parse(&object(Members::MAX)).unwrap().value("m255"), Some(&json!(255)));
        assert_eq!(parse(&object(Members::MAX + 1)).unwrap_err(), JsonError::TooMany);
    }

    /// Asserts that both readers return the same members, or the same kind of error.
    fn agree(text: &[u8]) {
        match (Members::parse(text.to_vec()), parse_object(text)) {
            (Ok(members), Ok(map)) => assert_eq!(members.to_map(), map),
            (Err(one), Err(other)) => {
                assert_eq!(std::mem::discriminant(&one), std::mem::discriminant(&other), "{one:?} {other:?}");
            }
            (one, other) => panic!("{one:?} {other:?}"),
        }
    }

    #[test]
    fn both_readers_agree() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
        for text in [
            "",
            "{",
            "{}",
            " {} ",
            "{}{}",
            "{} x",
            "[]",
            "7",
            "\"x\"",
            "null",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"x\":{\"a\":1,\"a\":2}}",
            "{\"a\":1e400}",
            "{\"a\":1e3}",
            "\u{feff}{}",
            "{\"a\":nul}",
            "{\"a\":18446744073709551616}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\u{0}\"}",
            &deep,
            "{\"\":\"\"}",
            "{\"abcdefgh\":1,\"abcdefgi\":2}",
            "{\"abcdefgh\":1,\"abcdefgh\":2}",
            "{\"abcdefg\":1,\"abcdefg\":2}",
            "{\"a\":1,\"a\\u0000\":2}",
            "{\"a\":-0}",
            "{7:1}",
        ] {
            agree(text.as_bytes());
        }
        agree(b"{\"a\":\"\xff\"}");
    }

    proptest! {
        #[test]
        fn both_readers_agree_on_anything(text in r#"[{}\[\]":,a1\\u0 .e-]{0,24}"#) {
            agree(text.as_bytes());
        }
    }
}
