//! Members of one JSON object, taken out of it by name. At most [`Members::MAX`] names are read without hashing them.
//!
//! [`Members::MAX`]: super::Members::MAX

use serde_json::{Map, Value};

use super::members::Lent;
use super::{JsonError, parse_object};

/// A JSON object from which members are taken.
pub(crate) enum Taken<'d> {
    Few(Lent<'d>),
    /// An object with more members than [`Members::MAX`](super::Members::MAX).
    Many(Map<String, Value>),
}

impl<'d> Taken<'d> {
    /// Reads one JSON object with any number of members.
    ///
    /// # Errors
    /// The errors of [`parse_object`].
    pub(crate) fn parse(document: &'d [u8]) -> Result<Self, JsonError> {
        // `Lent::read` fails for more than 256 members, and for errors that `parse_object` reports.
        Lent::read(document).map_or_else(|| parse_object(document).map(Self::Many), |few| Ok(Self::Few(few)))
    }

    /// Removes the member of this name and returns it.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        match self {
            Self::Few(members) => members.take(name),
            Self::Many(members) => members.remove(name),
        }
    }

    /// Returns the members that were not taken.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        match self {
            Self::Few(members) => members.into_map(),
            Self::Many(members) => members,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::Members;

    /// Asserts that [`Taken`] and [`parse_object`] give the same members, the same remaining members and the same
    /// errors.
    fn agrees(document: &[u8]) {
        let (taken, tree) = (Taken::parse(document), parse_object(document));
        let (Ok(mut taken), Ok(mut tree)) = (taken, tree.clone()) else {
            assert_eq!(Taken::parse(document).map(Taken::into_map), tree);
            return;
        };
        for name in ["a", "access_token", "access_tokem", "", "a"] {
            assert_eq!(taken.take(name), tree.remove(name), "{name}");
        }
        assert_eq!(taken.into_map(), tree);
    }

    #[test]
    fn it_reads_what_the_tree_reads() {
        for document in [
            r#"{"a":"x\n","access_token":"t","\u0062":[{"c":-1}],"d":1.5,"e":null}"#,
            r#"{"access_token":18446744073709551615,"access_tokem":"\/","a":true}"#,
            r#" {} "#,
            r#"{"access_token":"t","access_token":"u"}"#,
            r#"{"access_token":"t","access\u005ftoken":"u"}"#,
            r#"{"x":{"b":1,"b":2}}"#,
            r#"{"access_token":"t""#,
            "[]",
            "7",
            "",
        ] {
            agrees(document.as_bytes());
        }
        agrees(b"{\"a\":\"\xff\"}");
    }

    #[test]
    fn it_reads_any_number_of_them() {
        for count in [Members::MAX, Members::MAX + 1, 2 * Members::MAX] {
            let members: Vec<String> = (0..count).map(|at| format!("\"m{at}\":{at}")).collect();
            agrees(format!("{{{},\"a\":1}}", members.join(",")).as_bytes());
            agrees(format!("{{{},\"m7\":1}}", members.join(",")).as_bytes());
        }
    }

    proptest! {
        #[test]
        fn it_reads_anything_as_the_tree_does(text in r#"[{}\[\]":,a1\\u0 .e-]{0,24}"#) {
            agrees(text.as_bytes());
        }
    }
}
