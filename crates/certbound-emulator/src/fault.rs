//! A fault is a rule with a condition, a result and a count. By default there is no rule.

mod cause;
mod condition;
mod platform;
mod result;

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

pub(crate) use self::condition::RequestFacts;
pub use self::condition::{Condition, LegKind};
pub use self::platform::{PlatformEndpoint, PlatformKind};
pub use self::result::{FaultEffect, FaultResult};
pub use crate::issue::TokenForm;

/// The maximum number of rules.
const MAX_RULES: usize = 1_000;

/// A rule. The emulator applies only the first rule that matches a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The requests that the rule matches. Default: all requests.
    #[serde(default)]
    pub condition: Condition,
    /// The effect on these requests.
    pub result: FaultResult,
    /// The number of times that the rule applies; `None` (JSON `null`) means every time. Default: once.
    #[serde(default = "once")]
    pub count: Option<u32>,
}

impl Fault {
    /// Returns a rule that applies once, to the next matching request.
    pub fn once(condition: Condition, result: FaultResult) -> Self {
        Self { condition, result, count: once() }
    }

    /// Returns a rule that applies until its removal.
    pub fn always(condition: Condition, result: FaultResult) -> Self {
        Self { condition, result, count: None }
    }
}

impl Fault {
    /// Refuses a rule that can never apply. A result for calls of a resource never applies to a platform or to a
    /// request to the token service. A rule of the handshake never matches a path or a leg, because a handshake has
    /// neither. The results `client_certificate_refused` and `unreachable` never apply to a platform.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let Condition { path_contains, leg, platform, endpoint, .. } = &self.condition;
        let of_request = path_contains.is_some() || leg.is_some();
        let of_machine = platform.is_some() || endpoint.is_some();
        match &self.result {
            result
                if result.is_of_call() && (of_machine || leg.is_some_and(|leg| leg != LegKind::Resource)) =>
            {
                Err(
                    "this result applies to calls of a resource only: remove `platform` and `endpoint` from the condition, and give no `leg` other than `resource`",
                )
            }
            result if result.is_of_handshake() && of_request => Err(
                "this result applies before any request, when neither a path nor a leg is known: remove `path_contains` and `leg` from the condition",
            ),
            FaultResult::ClientCertificateRefused | FaultResult::Unreachable if of_machine => Err(
                "this result does not apply to platforms: remove `platform` and `endpoint` from the condition",
            ),
            _ => Ok(()),
        }
    }
}

const fn once() -> Option<u32> {
    Some(1)
}

/// The active rules.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// Adds a rule after the existing rules. Returns false if there are already [`MAX_RULES`] rules. A rule with the
    /// count 0 never applies, so it is not added.
    pub(crate) fn add(&self, fault: Fault) -> bool {
        if fault.count == Some(0) {
            return true;
        }
        let mut rules = self.rules();
        let room = rules.len() < MAX_RULES;
        if room {
            rules.push(fault);
        }
        room
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        self.rules().clone()
    }

    pub(crate) fn clear(&self) {
        self.rules().clear();
    }

    /// Returns the result of the first rule that matches the request, and reduces the count of the rule. Skips the
    /// rules of the handshake. Skips the rules of resource calls if the request is not a call of a resource with a
    /// token. Skips the rules of vaults if the resource is not a vault.
    pub(crate) fn take(&self, asked: &RequestFacts<'_>) -> Option<FaultResult> {
        let is_call = asked.leg == Some(LegKind::Resource) && asked.has_token;
        self.first(asked, |result| match result {
            FaultResult::TokenBindingParameters(_) => is_call && asked.is_vault,
            result if result.is_of_call() => is_call,
            result => !result.is_of_handshake(),
        })
    }

    /// Returns whether a rule with the result `wanted` matches the handshake, and reduces the count of the rule.
    pub(crate) fn take_of_handshake(&self, asked: &RequestFacts<'_>, wanted: &FaultResult) -> bool {
        self.first(asked, |result| result == wanted).is_some()
    }

    fn first(&self, asked: &RequestFacts<'_>, of_kind: impl Fn(&FaultResult) -> bool) -> Option<FaultResult> {
        let mut rules = self.rules();
        let at = rules.iter().position(|rule| of_kind(&rule.result) && rule.condition.fits(asked))?;
        if rules[at].count == Some(1) {
            return Some(rules.remove(at).result);
        }
        // A rule in the list has no count, or a count of at least 1.
        rules[at].count = rules[at].count.map(|left| left - 1);
        Some(rules[at].result.clone())
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_from_json_and_applies_as_often_as_it_says() {
        let rule = |text: &str| serde_json::from_str::<Fault>(text).unwrap();
        let faults = Faults::default();
        assert!(faults.add(rule(r#"{"condition":{"leg":"leg2"},"result":"no_cnf","count":2}"#)));
        assert!(faults.add(rule(r#"{"result":{"delay":{"milliseconds":5}},"count":null}"#)));
        assert!(faults.add(rule(r#"{"result":{"redirect307":{"location":"https://a/"}}}"#)));
        let asked =
            RequestFacts { host: "h", path: "/p", leg: Some(LegKind::Leg2), ..RequestFacts::default() };
        let taken: Vec<_> = (0..4).map(|_| faults.take(&asked).map(|result| result.name())).collect();
        assert_eq!(taken, [Some("no_cnf"), Some("no_cnf"), Some("delay"), Some("delay")]);
        assert!(faults.add(rule(r#"{"result":"no_cnf","count":0}"#)));
        let left: Vec<_> = faults.list().iter().map(|rule| rule.result.name()).collect();
        assert_eq!(left, ["delay", "redirect307"], "a rule that never applies again is not listed");
        faults.clear();
        assert_eq!(faults.take(&asked), None);
        (0..MAX_RULES).for_each(|_| assert!(faults.add(rule(r#"{"result":"no_cnf"}"#))));
        assert!(!faults.add(rule(r#"{"result":"no_cnf"}"#)));
        faults.take(&asked);
        assert!(faults.add(rule(r#"{"result":"no_cnf"}"#)), "a used rule leaves room for another rule");
        assert!(serde_json::from_str::<Fault>(r#"{"result":"no_such"}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"result":"no_cnf","cuont":2}"#).is_err());
        let spelt =
            |text: &str| rule(&format!(r#"{{"condition":{text},"result":"malformed_json"}}"#)).condition;
        let hyphens = spelt(r#"{"platform":"app-service","endpoint":"issue-credential"}"#);
        assert_eq!(spelt(r#"{"platform":"app_service","endpoint":"issue_credential"}"#), hyphens);
        assert_eq!(spelt(r#"{"platform":"ml"}"#), Condition::platform(PlatformKind::MachineLearning));
    }

    #[test]
    fn a_rule_of_the_handshake_that_matches_nothing_is_refused() {
        let check = |condition: &str, result: &str| {
            let rule = format!(r#"{{"condition":{{{condition}}},"result":"{result}"}}"#);
            serde_json::from_str::<Fault>(&rule).unwrap().check()
        };
        for (condition, result, is_right) in [
            (r#""leg":"leg1""#, "client_certificate_refused", false),
            (r#""path_contains":"/token""#, "client_certificate_refused", false),
            (r#""platform":"imds""#, "client_certificate_refused", false),
            (r#""host_suffix":".com""#, "client_certificate_refused", true),
            ("", "client_certificate_refused", true),
            (r#""leg":"leg1""#, "foreign_server_certificate", false),
            (r#""leg":"leg1""#, "unreachable", false),
            (r#""endpoint":"token""#, "unreachable", false),
            (r#""host_suffix":".com""#, "unreachable", true),
            (r#""platform":"service_fabric""#, "foreign_server_certificate", true),
            (r#""leg":"leg1""#, "no_cnf", true),
        ] {
            assert_eq!(check(condition, result).is_ok(), is_right, "{condition} {result}");
        }
        for (condition, is_right) in [
            ("", true),
            (r#""leg":"resource""#, true),
            (r#""host_suffix":".vault.azure.net""#, true),
            (r#""leg":"leg2""#, false),
            (r#""platform":"imds""#, false),
            (r#""endpoint":"token""#, false),
        ] {
            for result in
                [r#"{"claims_challenge":{}}"#, r#"{"token_binding_parameters":{"mode":"Enforced"}}"#]
            {
                let rule = format!(r#"{{"condition":{{{condition}}},"result":{result}}}"#);
                let rule: Fault = serde_json::from_str(&rule).unwrap();
                assert_eq!(rule.check().is_ok(), is_right, "{condition} {result}");
            }
        }
    }

    /// Users plan their tests with this page, so the page must be complete.
    #[test]
    fn the_page_on_faults_names_every_condition_and_result() {
        let page = include_str!("../../../docs/faults.md");
        for unknown in [
            r#"{"result":"?"}"#,
            r#"{"condition":{"?":0},"result":"no_cnf"}"#,
            r#"{"condition":{"leg":"?"},"result":"no_cnf"}"#,
            r#"{"condition":{"platform":"?"},"result":"no_cnf"}"#,
            r#"{"condition":{"endpoint":"?"},"result":"no_cnf"}"#,
            r#"{"result":{"token_form":"?"}}"#,
        ] {
            let error = serde_json::from_str::<Fault>(unknown).unwrap_err().to_string();
            let (_, known) = error.split_once("expected").expect("the error lists the known names");
            let names: Vec<_> = known.split('`').skip(1).step_by(2).collect();
            assert!(names.len() > 3, "{error}");
            for name in names {
                let hyphens = name.contains('-');
                assert!(
                    hyphens
                        || page.contains(&format!("`{name}`"))
                        || page.contains(&format!("{{\"{name}\":")),
                    "{name}"
                );
            }
        }
    }
}
