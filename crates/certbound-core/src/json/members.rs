//! The members of one JSON object without a tree of values. Few claims of a token are read, so their strings are not
//! copied.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{DUPLICATE, JsonError, Strict, TOO_MANY, explain, parse_object};

/// The members of an object, read with the checks of [`parse_object`]. Strings without escapes are not copied.
#[derive(Clone, Debug)]
pub struct Members {
    document: String,
    list: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// The [`tag`] of the name. For most names the tag alone decides a comparison.
    tag: u64,
    name: Text,
    slot: Slot,
}

/// Returns the length and the first seven bytes of a name. Names of at most seven bytes are equal if their tags are.
fn tag(name: &str) -> u64 {
    let mut bytes = [0; 8];
    for (place, byte) in bytes.iter_mut().zip(name.bytes().take(7)) {
        *place = byte;
    }
    bytes[7] = u8::try_from(name.len()).unwrap_or(u8::MAX);
    u64::from_le_bytes(bytes)
}

/// A string. Without escapes, it is a range of the document; otherwise it is a copy.
#[derive(Clone, Debug)]
enum Text {
    Here(Range<u32>),
    Apart(Box<str>),
}

#[derive(Clone, Debug)]
enum Slot {
    Text(Text),
    Number(u64),
    Other(Box<Value>),
}

impl Members {
    /// The largest number of members that is read. Each name is compared with all earlier names.
    pub const MAX: usize = 256;

    /// Reads one JSON object.
    ///
    /// # Errors
    /// The errors of [`parse_object`], and [`JsonError::TooMany`] for more than [`Members::MAX`] members.
    pub fn parse(document: Vec<u8>) -> Result<Self, JsonError> {
        let is_object = document.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        let document = match String::from_utf8(document) {
            Ok(document) if is_object => document,
            // `parse_object` finds the error, so that both readers report the same one.
            Ok(document) => {
                return Err(parse_object(document.as_bytes()).err().unwrap_or(JsonError::NotAnObject));
            }
            Err(error) => return Err(parse_object(error.as_bytes()).err().unwrap_or(JsonError::NotAnObject)),
        };
        let list = read(&document).map_err(explain)?;
        Ok(Self { document, list })
    }

    /// Returns a member that is a string. `None` if it is absent or has another type.
    pub fn string(&self, name: &str) -> Option<&str> {
        match self.slot(name)? {
            Slot::Text(text) => Some(text.of(&self.document)),
            _ => None,
        }
    }

    /// Returns a member that is a whole number from 0 to `u64::MAX`. `None` if it is absent or has another type.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.slot(name)? {
            Slot::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns a member that is neither a string nor such a number: a list, an object, a fraction, a boolean or null.
    pub fn other(&self, name: &str) -> Option<&Value> {
        match self.slot(name)? {
            Slot::Other(value) => Some(value),
            _ => None,
        }
    }

    /// Whether the object has this member.
    pub fn contains(&self, name: &str) -> bool {
        self.slot(name).is_some()
    }

    /// Returns all members as a tree, in the order of the document.
    pub fn to_map(&self) -> Map<String, Value> {
        let member = |entry: &Entry| {
            let slot = entry.slot.clone();
            (entry.name.of(&self.document).to_owned(), slot.into_value(&self.document))
        };
        self.list.iter().map(member).collect()
    }

    fn slot(&self, name: &str) -> Option<&Slot> {
        find(&self.list, &self.document, tag(name), name).map(|entry| &entry.slot)
    }
}

fn read(document: &str) -> Result<Vec<Entry>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(document);
    let list = Object { document }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(list)
}

/// The members of a borrowed document. Each one can be taken out of it.
pub(crate) struct Lent<'d> {
    document: &'d str,
    list: Vec<Entry>,
}

impl<'d> Lent<'d> {
    /// Returns `None` if [`Members::parse`] refuses the document.
    pub(super) fn read(document: &'d [u8]) -> Option<Self> {
        let document = str::from_utf8(document).ok()?;
        let list = read(document).ok()?;
        Some(Self { document, list })
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let at = place(&self.list, self.document, tag(name), name)?;
        Some(self.list.remove(at).slot.into_value(self.document))
    }

    /// Returns the members that were not taken.
    pub(super) fn into_map(self) -> Map<String, Value> {
        let document = self.document;
        let member = |entry: Entry| (entry.name.into_text(document), entry.slot.into_value(document));
        self.list.into_iter().map(member).collect()
    }
}

impl Slot {
    fn into_value(self, document: &str) -> Value {
        match self {
            Self::Text(text) => Value::String(text.into_text(document)),
            Self::Number(number) => Value::Number(Number::from(number)),
            Self::Other(value) => *value,
        }
    }
}

fn place(list: &[Entry], document: &str, tag: u64, name: &str) -> Option<usize> {
    list.iter().position(|entry| entry.tag == tag && (name.len() <= 7 || entry.name.of(document) == name))
}

fn find<'l>(list: &'l [Entry], document: &str, tag: u64, name: &str) -> Option<&'l Entry> {
    place(list, document, tag, name).and_then(|at| list.get(at))
}

impl Text {
    fn of<'t>(&'t self, document: &'t str) -> &'t str {
        match self {
            // `here` made the range from this document, so it is always valid.
            Self::Here(place) => document.get(place.start as usize..place.end as usize).unwrap_or_default(),
            Self::Apart(text) => text,
        }
    }

    fn into_text(self, document: &str) -> String {
        match self {
            Self::Apart(text) => text.into(),
            here @ Self::Here(_) => here.of(document).to_owned(),
        }
    }

    fn here(document: &str, part: &str) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(document.as_ptr() as usize);
        match (u32::try_from(start), u32::try_from(start.wrapping_add(part.len()))) {
            (Ok(start), Ok(end)) => Self::Here(start..end),
            _ => Self::Apart(part.into()),
        }
    }
}

struct Object<'d> {
    document: &'d str,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Vec<Entry>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Vec<Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let document = self.document;
        // A claim has about 40 characters, so this reserves enough entries for most tokens.
        let mut list: Vec<Entry> = Vec::with_capacity((document.len() / 32 + 4).min(32));
        while let Some(name) = members.next_key_seed(Name { document })? {
            let text = name.of(document);
            let tag = tag(text);
            if find(&list, document, tag, text).is_some() {
                return Err(A::Error::custom(format_args!("{DUPLICATE}{text}")));
            }
            if list.len() == Members::MAX {
                return Err(A::Error::custom(TOO_MANY));
            }
            let slot = members.next_value_seed(Member { document })?;
            list.push(Entry { tag, name, slot });
        }
        Ok(list)
    }
}

struct Name<'d> {
    document: &'d str,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Text;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text, E> {
        Ok(Text::here(self.document, text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text::Apart(text.into()))
    }
}

fn other(value: Value) -> Slot {
    Slot::Other(Box::new(value))
}

/// The value of a member of the object itself. `Strict` reads the values that are nested in it.
struct Member<'d> {
    document: &'d str,
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Slot;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Slot, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Slot;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Slot, E> {
        Ok(Slot::Text(Text::here(self.document, text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Slot, E> {
        Ok(Slot::Text(Text::Apart(text.into())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Slot, E> {
        Ok(Slot::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Slot, E> {
        Ok(other(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Slot, E> {
        Strict::inside().visit_f64(number).map(other)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Slot, E> {
        Ok(other(Value::Bool(value)))
    }

    fn visit_unit<E>(self) -> Result<Slot, E> {
        Ok(other(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Slot, A::Error> {
        Strict::inside().visit_seq(sequence).map(other)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Slot, A::Error> {
        Strict::inside().visit_map(members).map(other)
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
        assert_eq!((members.number("c"), members.number("d"), members.number("a")), (Some(7), None, None));
        assert_eq!(members.other("d"), Some(&json!(-7)));
        assert_eq!(members.other("f"), Some(&json!([1])));
        assert_eq!((members.other("a"), members.other("c"), members.other("z")), (None, None, None));
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
        assert_eq!(parse(&object(Members::MAX)).unwrap().number("m255"), Some(255));
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
