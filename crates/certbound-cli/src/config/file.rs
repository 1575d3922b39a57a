//! A configuration file: keys with their values and places.
//!
//! ```toml
//! tenant = "contoso.com"        # for all profiles
//!
//! [profile.test]
//! certificate = "app.pem"       # relative to this file
//! ```

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Mistake, Place};

/// The largest configuration file, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// The table that contains the profiles.
pub(crate) const PROFILES: &str = "profile";

/// A configuration file whose syntax is correct. Its keys and values are not checked yet.
#[derive(Clone, Debug)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    /// The keys for all profiles.
    pub(crate) top: Vec<Entry>,
    pub(crate) profiles: Vec<Profile>,
    /// The permission bits, if the group or other users have any permission.
    pub(crate) readable_by_others: Option<u32>,
}

/// A profile, with its keys in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: Value,
    pub(crate) place: Place,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Text(String),
    Integer(i64),
    List(Vec<Value>),
    /// A value that no key can have, with the name of its type.
    Other(&'static str),
}

impl Value {
    /// Returns the type in words, for error messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "true or false",
            Self::Text(_) => "a text",
            Self::Integer(_) => "a number",
            Self::List(_) => "a list",
            Self::Other(name) => name,
        }
    }

    /// Returns the value as text.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Bool(on) => on.to_string(),
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::List(values) => values.iter().map(Self::text).collect::<Vec<_>>().join(", "),
            Self::Other(name) => (*name).to_owned(),
        }
    }
}

impl ConfigFile {
    /// Reads a file of at most 1 MiB.
    ///
    /// # Errors
    /// The file cannot be read, it is not TOML, or a profile is not a table.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let whole = Place { file: path.display().to_string(), at: None };
        let unreadable = |reason: String| whole.error(Mistake::Unreadable(reason));
        let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
        let metadata = file.metadata().map_err(|error| unreadable(error.to_string()))?;
        if metadata.is_dir() {
            return Err(unreadable("it is a directory".to_owned()));
        }
        let mode = metadata.permissions().mode() & 0o777;
        let bytes = crate::input::opened(file, MAX_BYTES).map_err(unreadable)?;
        let text = String::from_utf8(bytes.to_vec()).map_err(|error| {
            let line =
                error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
            let place = Place { at: Some((line, 1)), ..whole.clone() };
            place.error(Mistake::Syntax("this line is not UTF-8".to_owned()))
        })?;
        let readable_by_others = (metadata.is_file() && mode & 0o077 != 0).then_some(mode);
        Self::parse(path, &text, readable_by_others)
    }

    fn parse(path: &Path, text: &str, readable_by_others: Option<u32>) -> Result<Self, ConfigError> {
        let text = Text { file: path.display().to_string(), text };
        let table = DeTable::parse(text.text).map_err(|error| {
            let place = text.place(error.span().map_or(0, |span| span.start));
            place.error(Mistake::Syntax(error.message().to_owned()))
        })?;
        let mut top = text.entries(table.get_ref());
        let mut profiles = Vec::new();
        if let Some((key, value)) = table.get_ref().iter().find(|(key, _)| key.get_ref() == PROFILES) {
            top.retain(|entry| entry.key != PROFILES);
            let not_a_table = |key: &str, place: Place, found: &DeValue<'_>| {
                let key = key.to_owned();
                let found = value_of(found).type_name();
                place.error(Mistake::WrongType { key, expected: "a table, such as [profile.test]", found })
            };
            let DeValue::Table(named) = value.get_ref() else {
                return Err(not_a_table(PROFILES, text.place(key.span().start), value.get_ref()));
            };
            let mut named: Vec<_> = named.iter().collect();
            named.sort_by_key(|(key, _)| key.span().start);
            for (name, profile) in named {
                let place = text.place(name.span().start);
                let DeValue::Table(entries) = profile.get_ref() else {
                    return Err(not_a_table(
                        &format!("profile.{}", name.get_ref()),
                        place,
                        profile.get_ref(),
                    ));
                };
                let name = name.get_ref().to_string();
                profiles.push(Profile { name, entries: text.entries(entries) });
            }
        }
        Ok(Self { path: path.to_owned(), top, profiles, readable_by_others })
    }

    /// Returns the profile of this name.
    ///
    /// # Errors
    /// The file has no profile of this name.
    pub(crate) fn profile(&self, name: &str) -> Result<&Profile, ConfigError> {
        self.profiles.iter().find(|profile| profile.name == name).ok_or_else(|| {
            let known = self.profiles.iter().map(|profile| profile.name.clone()).collect();
            let what = Mistake::UnknownProfile { name: name.to_owned(), known };
            Place { file: self.path.display().to_string(), at: None }.error(what)
        })
    }

    /// Returns the path that the process opens for a path in the file. A relative path is relative to the file's
    /// folder, and `-` is stdin.
    pub(crate) fn resolve(&self, value: &str) -> PathBuf {
        match (value, self.path.parent()) {
            ("-", _) | (_, None) => PathBuf::from(value),
            (_, Some(folder)) => folder.join(value),
        }
    }
}

/// The text of a file. [`Text::place`] converts an offset in the text to a line and a column.
struct Text<'a> {
    file: String,
    text: &'a str,
}

impl Text<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Place { file: self.file.clone(), at: Some((line, column)) }
    }

    fn entries(&self, table: &DeTable<'_>) -> Vec<Entry> {
        let mut all: Vec<_> = table.iter().collect();
        all.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
            Entry {
                key: key.get_ref().to_string(),
                value: value_of(value.get_ref()),
                place: self.place(key.span().start),
            }
        };
        all.into_iter().map(entry).collect()
    }
}

fn value_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other("a number that is too large"),
        },
        DeValue::Array(values) => Value::List(values.iter().map(|value| value_of(value.get_ref())).collect()),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(_) => Value::Other("a table"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<ConfigFile, ConfigError> {
        ConfigFile::parse(Path::new("dir/c.toml"), text, None)
    }

    #[test]
    fn each_key_has_its_place() {
        let file = parsed("tenant = 't'\n\n[profile.a]\n  timeout = 0x1f\n[profile.'b c']\nbearer = true\n")
            .unwrap();
        let shown = |entry: &Entry| format!("{} {}", entry.place, entry.key);
        assert_eq!(file.top.iter().map(shown).collect::<Vec<_>>(), ["dir/c.toml:1:1 tenant"]);
        let a = file.profile("a").unwrap();
        assert_eq!(a.entries.iter().map(shown).collect::<Vec<_>>(), ["dir/c.toml:4:3 timeout"]);
        assert_eq!(a.entries[0].value, Value::Integer(31));
        assert_eq!(file.profile("b c").unwrap().entries[0].value, Value::Bool(true));
        let error = file.profile("c").unwrap_err();
        assert_eq!(
            (error.code(), &*error.fix()),
            ("config_unknown_profile", "choose one of its profiles: a, b c")
        );
        assert_eq!(file.resolve("app.pem"), Path::new("dir/app.pem"));
        assert_eq!(file.resolve("/app.pem"), Path::new("/app.pem"));
        assert_eq!(file.resolve("-"), Path::new("-"));
    }

    #[test]
    fn what_is_not_toml_is_named_with_its_line() {
        for (text, place) in [
            ("tenant = 'a'\ntenant = 'b'\n", "2:1"),
            ("tenant = a\n", "1:10"),
            ("[profile.a]\n[profile.a]\n", "2:"),
            ("x = 'é' y", "1:9"),
        ] {
            let error = parsed(text).unwrap_err();
            assert_eq!(error.code(), "config_syntax", "{text}");
            assert!(error.place.to_string().starts_with(&format!("dir/c.toml:{place}")), "{text}: {error}");
        }
        for text in ["profile = 1", "[profile]\nx = 1", "[[profile]]\nx = 1"] {
            assert_eq!(parsed(text).unwrap_err().code(), "config_wrong_type", "{text}");
        }
    }
}
