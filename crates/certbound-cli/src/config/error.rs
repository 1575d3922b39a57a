//! Mistakes in a configuration file.

use std::fmt::{self, Display, Formatter};

use strum::EnumProperty as _;

use crate::failure::{Failure, USAGE};

/// A mistake in a configuration file, and its place. The text never contains the value of a key for a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub(crate) struct ConfigError {
    pub(crate) place: Place,
    pub(crate) what: Mistake,
}

/// A place in a configuration file. Line and column begin with 1. Without them the place is the whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) at: Option<(usize, usize)>,
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "{}:{line}:{column}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

impl Place {
    /// Returns the error for a mistake at this place.
    pub(crate) fn error(&self, what: Mistake) -> ConfigError {
        ConfigError { place: self.clone(), what }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub(crate) enum Mistake {
    #[error("the configuration file cannot be read: {0}")]
    #[strum(props(code = "config_unreadable"))]
    #[strum(props(fix = "check the path of --config, and that this user may read the file"))]
    Unreadable(String),
    #[error("the file is not valid TOML: {0}")]
    #[strum(props(code = "config_syntax"))]
    #[strum(props(fix = "correct this line; write each text in quotes, and each key only once"))]
    Syntax(String),
    #[error("the key `{key}` is unknown")]
    #[strum(props(code = "config_unknown_key"))]
    #[strum(props(
        fix = "write the long name of a flag, without its dashes; `certbound COMMAND --help` lists the flags"
    ))]
    UnknownKey { key: String, guess: Option<String> },
    #[error("a secret cannot be written into the file: the key `{key}` does not exist")]
    #[strum(props(code = "config_unknown_key"))]
    #[strum(props(
        fix = "put the secret into an environment variable, and write the variable's name as `client-secret-env` or `certificate-password-env`"
    ))]
    SecretKey { key: String },
    #[error("`{key}` must be {expected}, but the value is {found}")]
    #[strum(props(code = "config_wrong_type"))]
    #[strum(props(fix = "write true or false, a number, a quoted text or a list, as the message requires"))]
    WrongType { key: String, expected: &'static str, found: &'static str },
    #[error("the value of `{key}` cannot be used: {reason}")]
    #[strum(props(code = "config_invalid_value"))]
    InvalidValue { key: String, reason: String, fix: String },
    #[error("`{one}` and `{other}` (line {line}) cannot be used together")]
    #[strum(props(code = "config_conflict"))]
    #[strum(props(fix = "leave one of the two out, or write them into different profiles"))]
    Conflict { one: String, other: String, line: usize },
    #[error("the file has no profile `{name}`")]
    #[strum(props(code = "config_unknown_profile"))]
    UnknownProfile { name: String, known: Vec<String> },
    #[error("`{key}` can contain a secret, but other users can read the file (mode {mode:03o})")]
    #[strum(props(code = "config_readable_by_others"))]
    ReadableByOthers { key: String, mode: u32, file: String },
    #[error("the profile `{0}` is chosen, but no configuration file is given")]
    #[strum(props(code = "config_missing"))]
    #[strum(props(fix = "give the file with --config FILE or CERTBOUND_CONFIG, or leave --profile out"))]
    NoFile(String),
}

impl ConfigError {
    pub(crate) fn code(&self) -> &'static str {
        self.what.get_str("code").unwrap_or_default()
    }

    pub(crate) fn fix(&self) -> String {
        match &self.what {
            Mistake::UnknownKey { guess: Some(guess), .. } => format!("did you mean `{guess}`?"),
            Mistake::InvalidValue { fix, .. } => fix.clone(),
            Mistake::UnknownProfile { known, .. } if known.is_empty() => {
                "add the profile to the file as a table, such as [profile.test]".to_owned()
            }
            Mistake::UnknownProfile { known, .. } => {
                format!("choose one of its profiles: {}", known.join(", "))
            }
            Mistake::ReadableByOthers { file, .. } => format!("run `chmod 600 {file}`"),
            what => what.get_str("fix").unwrap_or_default().to_owned(),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(USAGE, error.code(), "the configuration cannot be used", &error, error.fix())
    }
}
