//! The matching expression of a flexible federated credential: `claims['sub'] matches 'repo:contoso/*'`.

use certbound_core::jwt::Claims;
use wildmatch::WildMatch;
use winnow::ascii::{multispace0, multispace1};
use winnow::combinator::{alt, delimited, separated};
use winnow::error::ContextError;
use winnow::prelude::*;
use winnow::token::take_till;

/// Conditions that must all be true.
pub(crate) struct Expression(Vec<Condition>);

struct Condition {
    claim: String,
    pattern: Pattern,
}

enum Pattern {
    Equal(String),
    Matching(WildMatch),
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// A sentence that describes the expected syntax.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let all = separated(1.., condition, (multispace1, "and", multispace1));
        let mut all = delimited(multispace0, all, multispace0);
        all.parse(text).map(Self).map_err(|error| {
            format!(
                "cannot be read at character {}: write claims['sub'] matches 'repo:contoso/*'. The operators are `eq` and \
                 `matches`, and `and` joins several conditions",
                error.offset() + 1
            )
        })
    }

    /// Returns the names of the claims that the conditions compare.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|condition| condition.claim.as_str())
    }

    /// Returns whether all conditions are true. A condition on a claim that is not a string is false.
    pub(crate) fn holds(&self, claims: &Claims) -> bool {
        self.0.iter().all(|condition| {
            claims.string(&condition.claim).is_some_and(|value| match &condition.pattern {
                Pattern::Equal(expected) => value == expected,
                Pattern::Matching(pattern) => pattern.matches(value),
            })
        })
    }
}

fn condition(input: &mut &str) -> Result<Condition, ContextError> {
    let mut quoted = |input: &mut &str| -> Result<String, ContextError> {
        delimited('\'', take_till(0.., '\''), '\'').map(str::to_owned).parse_next(input)
    };
    let claim = delimited("claims[", &mut quoted, ']').parse_next(input)?;
    let is_exact = alt(("eq".value(true), "matches".value(false)));
    let is_exact = delimited(multispace1, is_exact, multispace1).parse_next(input)?;
    let value = quoted.parse_next(input)?;
    let pattern = if is_exact { Pattern::Equal(value) } else { Pattern::Matching(WildMatch::new(&value)) };
    Ok(Condition { claim, pattern })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(expression: &str, claims: serde_json::Value) -> bool {
        let claims = Claims::parse(claims.to_string().into_bytes()).unwrap();
        Expression::parse(expression).unwrap().holds(&claims)
    }

    #[test]
    fn every_condition_must_hold_for_the_whole_value() {
        let sub = |value: &str| json!({"sub": value});
        let any_branch = "claims['sub'] matches 'repo:contoso/*:ref:refs/heads/?'";
        assert!(holds(any_branch, sub("repo:contoso/a/b:ref:refs/heads/m")));
        for other in [
            "repo:contoso/a:ref:refs/heads/",
            "repo:contoso/a:ref:refs/heads/mm",
            "xrepo:contoso/a:ref:refs/heads/m",
            "",
        ] {
            assert!(!holds(any_branch, sub(other)), "{other}");
        }
        let exact = "claims['sub'] eq 'a*'";
        assert!(holds(exact, sub("a*")) && !holds(exact, sub("ab")) && !holds(exact, sub("A*")));
        let both = "  claims['sub'] eq 'a' and claims['job_workflow_ref'] matches 'b*' ";
        assert!(holds(both, json!({"sub": "a", "job_workflow_ref": "bc"})));
        for other in [
            json!({"sub": "a"}),
            json!({"sub": "a", "job_workflow_ref": ["bc"]}),
            json!({"job_workflow_ref": "b"}),
        ] {
            assert!(!holds(both, other.clone()), "{other}");
        }
    }

    #[test]
    fn what_is_no_expression_is_told_where() {
        for (text, at) in [
            ("", 1),
            ("sub eq 'a'", 1),
            ("claims['sub'] is 'a'", 15),
            ("claims['sub'] eq a", 18),
            ("claims['sub'] eq 'a", 20),
            ("claims['sub'] eq 'a' or claims['sub'] eq 'b'", 22),
            ("claims['sub'] eq 'a' and", 22),
            ("claims['sub']eq'a'", 14),
        ] {
            let error = Expression::parse(text).err().unwrap();
            assert!(error.starts_with(&format!("cannot be read at character {at}:")), "{text}: {error}");
        }
    }
}
