//! The steps of a decision, for those who want to see each.

use std::fmt;

use crate::refusal::Refusal;
use crate::verified::Verified;

/// A step, in the order in which they are taken.
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
    /// The connection's certificate is the token's.
    Binding,
    /// The certificate's dates.
    CertificateDates,
    /// Demanded claims, kind of caller, client.
    Caller,
    /// Roles and scopes.
    Permission,
}

impl Step {
    /// All of them, in order.
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

    /// A stable name.
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

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It holds; what was seen.
    Passed(String),
    /// The request is refused here.
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

/// Is told of steps that passed. The one that never listens costs nothing.
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
