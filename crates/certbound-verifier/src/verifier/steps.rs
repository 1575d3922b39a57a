//! The steps of a decision, for callers that want to see each of them.

use std::fmt;

use crate::refusal::Refusal;
use crate::verified::Verified;

/// A step of a decision. The variants are in the order of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The token's form: three parts, strict base64url and JSON.
    Form,
    /// `cnf`, and whether the scheme fits it.
    Scheme,
    /// `iss`, `tid`, `ver`.
    Issuer,
    /// `aud`.
    Audience,
    /// `exp`, `nbf`, `iat`.
    Times,
    /// The issuer's key by `kid`.
    Key,
    /// The signature.
    Signature,
    /// Whether the token is bound to the connection's certificate.
    Binding,
    /// The validity dates of the certificate.
    CertificateDates,
    /// Demanded claims, kind of caller, client.
    Caller,
    /// Roles and scopes.
    Permission,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Step; 11] = [
        Self::Form,
        Self::Scheme,
        Self::Issuer,
        Self::Audience,
        Self::Times,
        Self::Key,
        Self::Signature,
        Self::Binding,
        Self::CertificateDates,
        Self::Caller,
        Self::Permission,
    ];

    /// The stable name.
    pub fn id(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Scheme => "scheme",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Times => "times",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Binding => "binding",
            Self::CertificateDates => "certificate_dates",
            Self::Caller => "caller",
            Self::Permission => "permission",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// The outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The step passed. The text describes the facts that were checked.
    Passed(String),
    /// The step refused the request.
    Refused(Refusal),
    /// An earlier step refused the request.
    NotReached,
}

/// A decision with each of its steps.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Every step of [`Step::ALL`], in order.
    pub steps: Vec<(Step, Outcome)>,
    /// The decision.
    pub decision: Result<Verified, Refusal>,
}

/// Records the steps that passed. [`NoTrail`] records nothing and has no cost.
pub(crate) trait Trail {
    fn passed(&mut self, step: Step, seen: impl FnOnce() -> String);
}

pub(crate) struct NoTrail;

impl Trail for NoTrail {
    fn passed(&mut self, _step: Step, _seen: impl FnOnce() -> String) {}
}

#[derive(Default)]
pub(crate) struct Recorded(Vec<(Step, Outcome)>);

impl Trail for Recorded {
    fn passed(&mut self, step: Step, seen: impl FnOnce() -> String) {
        self.0.push((step, Outcome::Passed(seen())));
    }
}

impl Recorded {
    pub(crate) fn explain(self, decision: Result<Verified, Refusal>) -> Explanation {
        let mut steps = self.0;
        let mut refusal = decision.as_ref().err().cloned();
        for step in Step::ALL.into_iter().skip(steps.len()) {
            steps.push((step, refusal.take().map_or(Outcome::NotReached, Outcome::Refused)));
        }
        Explanation { steps, decision }
    }
}
