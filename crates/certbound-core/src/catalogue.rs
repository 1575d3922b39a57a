//! The catalogue of error codes: each code of certbound, and each AADSTS number of the token service that is known,
//! with its meaning, its usual causes and its fix.
//!
//! The catalogue is data for `certbound explain` and for `docs/errors.md`. The client and the emulator read the table
//! of AADSTS numbers. The error types have the texts of single errors; an entry has the common facts of all errors of
//! its code. A test of the workspace compares the entries with the codes in the sources.

mod aadsts;
mod answer;
mod authority;
mod certificate;
mod command;
mod credential;
mod explanation;
mod hardware;
mod machine;
mod network;
mod request;
mod resource;
mod service;
mod tpm;
mod verifier;

use std::fmt;

pub use self::aadsts::{Aadsts, aadsts, aadsts_numbers};
pub use self::explanation::{Explanation, explain, explanations, sentence};

/// All codes that are not AADSTS numbers, by topic.
pub static GROUPS: [Group; 14] = [
    authority::GROUP,
    certificate::GROUP,
    hardware::GROUP,
    tpm::GROUP,
    credential::GROUP,
    request::GROUP,
    network::GROUP,
    service::GROUP,
    answer::GROUP,
    machine::GROUP,
    verifier::REFUSALS,
    resource::GROUP,
    verifier::SETTINGS,
    command::GROUP,
];

/// The codes of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The topic.
    pub title: &'static str,
    /// The pages in `docs` that say more about the topic.
    pub pages: &'static [&'static str],
    /// The codes, in the order of `docs/errors.md`.
    pub entries: &'static [Entry],
}

/// One code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The code, as `code()` of an error returns it.
    pub code: &'static str,
    /// The parts that raise the code.
    pub raised_by: &'static [Party],
    /// The meaning, as a sentence without full stop. It begins in lower case, unless its first word is a name.
    pub meaning: &'static str,
    /// The usual causes, in the same form.
    pub causes: &'static [&'static str],
    /// The fix, in the same form.
    pub fix: &'static str,
}

/// A part that raises a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The client library.
    Client,
    /// The verifier, in a resource or behind a proxy.
    Verifier,
    /// A resource, in its answers to callers. The resource's code is less exact than the verifier's code.
    Resource,
    /// The command line.
    Command,
    /// The emulator, when it starts.
    Emulator,
    /// The token service. The client reports its refusals.
    TokenService,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Client => "client",
            Self::Verifier => "verifier",
            Self::Resource => "resource",
            Self::Command => "command",
            Self::Emulator => "emulator",
            Self::TokenService => "token service",
        })
    }
}

const CLIENT: &[Party] = &[Party::Client];
const CLIENT_AND_COMMAND: &[Party] = &[Party::Client, Party::Command];
const CLIENT_AND_SERVICE: &[Party] = &[Party::Client, Party::TokenService];
const VERIFIER: &[Party] = &[Party::Verifier];
const RESOURCE: &[Party] = &[Party::Resource];
const VERIFIER_AND_RESOURCE: &[Party] = &[Party::Verifier, Party::Resource];
const VERIFIER_AND_COMMAND: &[Party] = &[Party::Verifier, Party::Command];
const COMMAND: &[Party] = &[Party::Command];
const EMULATOR: &[Party] = &[Party::Emulator];
const COMMAND_AND_EMULATOR: &[Party] = &[Party::Command, Party::Emulator];
const SERVICE: &[Party] = &[Party::TokenService];
const SERVICE_AND_RESOURCE: &[Party] = &[Party::TokenService, Party::Resource];

const fn entry(
    code: &'static str,
    raised_by: &'static [Party],
    meaning: &'static str,
    causes: &'static [&'static str],
    fix: &'static str,
) -> Entry {
    Entry { code, raised_by, meaning, causes, fix }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The texts are parts of sentences: `certbound explain`, the page and the errors add the rest of the sentences.
    #[test]
    fn every_entry_is_complete_and_stands_once() {
        let mut codes = HashSet::new();
        for it in explanations() {
            let code = &it.code;
            assert!(codes.insert(code.clone()), "{code} has two entries");
            assert!(!it.raised_by.is_empty() && !it.causes.is_empty(), "{code}");
            for text in it.causes.iter().chain([&it.meaning, &it.fix]) {
                assert!(text.len() > 10 && text.trim() == *text && !text.ends_with('.'), "{code}: {text:?}");
                assert!(!text.starts_with("The ") && !text.contains("  "), "{code}: {text:?}");
            }
        }
        assert!(codes.len() > 300, "{}", codes.len());
    }

    #[test]
    fn every_error_of_a_number_has_an_entry_of_the_token_service() {
        for known in aadsts_numbers() {
            let error = explain(known.oauth_error);
            let raised_by = error.map(|entry| entry.raised_by).unwrap_or_default();
            assert!(raised_by.contains(&Party::TokenService), "{}: {}", known.number, known.oauth_error);
        }
    }
}
