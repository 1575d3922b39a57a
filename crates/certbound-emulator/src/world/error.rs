//! The mistakes in a world that a user wrote.

use std::fmt;

/// The error of a world that cannot be used, with all mistakes in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", joined(.mistakes))]
pub struct WorldError {
    mistakes: Vec<WorldMistake>,
}

/// One mistake in a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldMistake {
    /// The place: `line 3, column 7`, or a path such as `applications[2].federated_credentials[0].audience`.
    pub at: String,
    /// The description of the mistake. It may contain ids and names, but never a secret.
    pub what: String,
}

impl WorldError {
    /// Returns all mistakes in the order in which the checks found them. If the text is not the TOML of a world, there
    /// is only one mistake.
    pub fn mistakes(&self) -> &[WorldMistake] {
        &self.mistakes
    }

    pub(super) fn one(at: impl Into<String>, what: impl fmt::Display) -> Self {
        Self { mistakes: vec![WorldMistake { at: at.into(), what: what.to_string() }] }
    }

    /// Returns an error if there is at least one mistake.
    pub(super) fn of(mistakes: Vec<WorldMistake>) -> Result<(), Self> {
        if mistakes.is_empty() { Ok(()) } else { Err(Self { mistakes }) }
    }
}

fn joined(mistakes: &[WorldMistake]) -> String {
    let lines: Vec<_> = mistakes.iter().map(|WorldMistake { at, what }| format!("{at}: {what}")).collect();
    lines.join("; ")
}
