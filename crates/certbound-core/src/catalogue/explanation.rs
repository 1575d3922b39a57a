//! The look-up of a code as a person types it.

use std::borrow::Cow;

use super::aadsts::{Aadsts, aadsts, aadsts_numbers};
use super::{Entry, GROUPS, Group, Party, SERVICE};

/// Everything that the catalogue has about one code. The texts have no full stop, and they begin in lower case unless
/// the first word is a name: [`sentence`] makes sentences of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The code, such as `invalid_tenant` or `AADSTS700027`.
    pub code: Cow<'static, str>,
    /// The parts that raise the code.
    pub raised_by: &'static [Party],
    /// The meaning.
    pub meaning: &'static str,
    /// The usual causes.
    pub causes: &'static [&'static str],
    /// The fix.
    pub fix: &'static str,
    /// The entry of the AADSTS number, if the code is one.
    pub aadsts: Option<&'static Aadsts>,
}

/// Returns the explanation of a code. The function ignores upper and lower case, and it ignores white space and
/// punctuation around the code. A number may be written with or without `AADSTS`.
///
/// ```
/// use certbound_core::catalogue::explain;
///
/// assert_eq!(explain("[Invalid_Tenant]").unwrap().code, "invalid_tenant");
/// assert_eq!(explain("700027").unwrap().code, "AADSTS700027");
/// assert_eq!(explain("no_such_code"), None);
/// ```
pub fn explain(typed: &str) -> Option<Explanation> {
    let typed = bare(typed);
    if let Some(number) = number(typed) {
        return aadsts(number).map(Into::into);
    }
    // `unauthorized` and `Unauthorized` are two codes, so the exact code is looked for first.
    let exact = entries().find(|entry| entry.code == typed);
    exact.or_else(|| entries().find(|entry| entry.code.eq_ignore_ascii_case(typed))).map(Into::into)
}

/// Returns all explanations, in the order of the page: the groups, then the AADSTS numbers.
pub fn explanations() -> impl Iterator<Item = Explanation> {
    entries().map(Into::into).chain(aadsts_numbers().iter().map(Into::into))
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    GROUPS.iter().flat_map(|group| group.entries)
}

/// Removes the white space and the punctuation around a code, such as brackets or the colon of a message.
fn bare(typed: &str) -> &str {
    typed.trim_matches(|c: char| !c.is_ascii_alphanumeric())
}

/// Returns the number in `AADSTS700027` or `700027`.
fn number(typed: &str) -> Option<u32> {
    const PREFIX: &str = "AADSTS";
    let digits = match typed.get(..PREFIX.len()) {
        Some(start) if start.eq_ignore_ascii_case(PREFIX) => typed.get(PREFIX.len()..)?,
        _ => typed,
    };
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

impl Explanation {
    /// Returns the anchor of the code on the page `docs/errors.md`, without `#`.
    pub fn anchor(&self) -> String {
        let anchor = self.code.to_ascii_lowercase();
        let first = entries().find(|entry| entry.code.eq_ignore_ascii_case(&anchor));
        // GitHub appends a number to the anchor of a heading that differs from an earlier one in its case only.
        match first.is_some_and(|first| first.code != self.code) {
            true => anchor + "-1",
            false => anchor,
        }
    }

    /// Returns the group of the code. An AADSTS number has no group.
    pub fn group(&self) -> Option<&'static Group> {
        GROUPS.iter().find(|group| group.entries.iter().any(|entry| entry.code == self.code))
    }
}

impl From<&'static Entry> for Explanation {
    fn from(entry: &'static Entry) -> Self {
        let Entry { code, raised_by, meaning, causes, fix } = *entry;
        Self { code: Cow::Borrowed(code), raised_by, meaning, causes, fix, aadsts: None }
    }
}

impl From<&'static Aadsts> for Explanation {
    fn from(known: &'static Aadsts) -> Self {
        let Aadsts { number, meaning, causes, fix, .. } = *known;
        let code = Cow::Owned(format!("AADSTS{number}"));
        Self { code, raised_by: SERVICE, meaning, causes, fix, aadsts: Some(known) }
    }
}

/// Returns a text of the catalogue as a sentence. A first word that is a name, such as `iss` in backticks, is unchanged.
pub fn sentence(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    let is_word = first.bytes().all(|byte| byte.is_ascii_lowercase() || b"',".contains(&byte));
    let (start, rest) = text.split_at(text.len().min(usize::from(is_word)));
    format!("{}{rest}.", start.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_as_people_type_it() {
        let found = |typed: &str| explain(typed).map(|found| found.code.into_owned());
        for typed in ["AADSTS700027", "aadsts700027", "700027", " AADSTS700027: ", "[aadstS700027]"] {
            assert_eq!(found(typed).as_deref(), Some("AADSTS700027"), "{typed}");
        }
        for typed in ["invalid_tenant", "INVALID_TENANT", "[invalid_tenant]", "`invalid_tenant`,"] {
            assert_eq!(found(typed).as_deref(), Some("invalid_tenant"), "{typed}");
        }
        assert_eq!(found("Unauthorized").as_deref(), Some("Unauthorized"));
        assert_eq!(found("UNAUTHORIZED").as_deref(), Some("unauthorized"));
        for unknown in
            ["", " ", "AADSTS", "1", "99999999999999999999", "AADSTS70002x", "ÄÄDSTS1", "🦀", "a\0b"]
        {
            assert_eq!(found(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn each_code_finds_itself_and_has_an_anchor_of_its_own() {
        let mut anchors = std::collections::HashSet::new();
        for it in explanations() {
            assert_eq!(explain(&it.code).as_ref(), Some(&it));
            assert!(anchors.insert(it.anchor()), "{} has the anchor of another code", it.code);
            assert_eq!(it.group().is_some(), it.aadsts.is_none(), "{}", it.code);
        }
        assert_eq!(explain("Unauthorized").unwrap().anchor(), "unauthorized-1");
    }

    #[test]
    fn a_text_becomes_a_sentence() {
        for (text, expected) in [
            ("the tenant is wrong", "The tenant is wrong."),
            ("`unshare` is missing", "`unshare` is missing."),
            ("--listen has no port", "--listen has no port."),
            ("mTLS is needed", "mTLS is needed."),
            ("wait, then go on", "Wait, then go on."),
            ("", "."),
        ] {
            assert_eq!(sentence(text), expected);
        }
    }
}
