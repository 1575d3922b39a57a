//! What is wrong with a world that somebody wrote.

use std::fmt;

/// A world that cannot be used, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldError {
    mistakes: Vec<WorldMistake>,
}

/// One thing that is wrong with a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldMistake {
    /// Where: `line 3, column 7`, or a path such as `applications[2].federated_credentials[0].audience`.
    pub at: String,
    /// What is wrong there. It repeats ids and names; never a secret.
    pub what: String,
}

impl WorldError {
    /// Every mistake in the order of the document; only one when the text is not the TOML of a world.
    pub fn mistakes(&self) -> &[WorldMistake] {
        &self.mistakes
    }

    pub(super) fn one(at: impl Into<String>, what: impl fmt::Display) -> Self {
        Self { mistakes: vec![WorldMistake { at: at.into(), what: what.to_string() }] }
    }

    /// An error if there is any mistake.
    pub(super) fn of(mistakes: Vec<WorldMistake>) -> Result<(), Self> {
        if mistakes.is_empty() { Ok(()) } else { Err(Self { mistakes }) }
    }
}

impl fmt::Display for WorldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, WorldMistake { at, what }) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{at}: {what}")?;
        }
        Ok(())
    }
}

impl std::error::Error for WorldError {}
