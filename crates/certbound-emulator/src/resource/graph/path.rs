//! The paths of Graph. A key follows its collection as a segment (`applications/{id}`) or in parentheses
//! (`applications(appId='...')`).

use percent_encoding::percent_decode_str;

/// A collection or an action, with the key that selects an object in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The name in lower case.
    name: String,
    key: Option<Key>,
}

/// The key of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The object's id, or for some objects its name.
    Plain(String),
    /// An alternate key: the name of a property in lower case, and its value.
    Alternate(String, String),
}

impl Step {
    pub(super) fn parts(&self) -> (&str, Option<&Key>) {
        (&self.name, self.key.as_ref())
    }
}

impl Key {
    pub(super) fn value(&self) -> &str {
        match self {
            Self::Plain(value) | Self::Alternate(_, value) => value,
        }
    }
}

/// Returns the version and the steps of a path. Returns `None` if the version is unknown, if a segment is malformed, or
/// if a segment of OData such as `$count` or `delta` follows a collection.
pub(super) fn parse(path: &str) -> Option<(&'static str, Vec<Step>)> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let version = match segments.next()? {
        "v1.0" => "v1.0",
        "beta" => "beta",
        _ => return None,
    };
    let mut steps = Vec::new();
    while let Some(segment) = segments.next() {
        let segment = decoded(segment)?;
        let (name, key) = match segment.strip_suffix(')').and_then(|text| text.split_once('(')) {
            Some((name, key)) => (name, Some(in_parentheses(key)?)),
            None => match segments.next() {
                None => (segment.as_str(), None),
                Some(key) => {
                    let key = decoded(key)?;
                    // A federated credential can have the name `delta`.
                    let is_delta = steps.is_empty() && key.eq_ignore_ascii_case("delta");
                    if key.starts_with('$') || key.ends_with(')') || is_delta {
                        return None;
                    }
                    (segment.as_str(), Some(Key::Plain(key)))
                }
            },
        };
        steps.push(Step { name: name.to_ascii_lowercase(), key });
    }
    Some((version, steps))
}

fn decoded(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(Into::into)
}

/// Reads `'value'` or `name='value'`. Two quotes inside a value stand for one quote.
fn in_parentheses(text: &str) -> Option<Key> {
    let quoted = |text: &str| {
        let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
        let value = inner.replace("''", "\u{0}");
        (!value.contains('\'')).then(|| value.replace('\u{0}', "'"))
    };
    match text.split_once('=') {
        Some((name, value)) if !name.contains('\'') => {
            Some(Key::Alternate(name.trim().to_ascii_lowercase(), quoted(value.trim())?))
        }
        _ => quoted(text.trim()).map(Key::Plain),
    }
}
