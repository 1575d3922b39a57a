//! The steps of a decision, for programs that show each step.

use strum::VariantArray as _;

use crate::refusal::Refusal;
use crate::verified::Verified;

/// A step of a decision. The variants are in the order of the steps.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// The token's form: three parts, strict base64url and JSON.
    Form,
    /// `cnf`, and the scheme.
    Scheme,
    /// `typ`, `iss`, `tid`, `ver`.
    Issuer,
    /// `aud`.
    Audience,
    /// `exp`, `nbf`, `iat`.
    Times,
    /// The algorithm, and the issuer's key by `kid`.
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
    pub const ALL: &'static [Step] = Self::VARIANTS;

    /// The stable name.
    pub fn id(self) -> &'static str {
        self.into()
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

/// The steps that passed. The default value records no step.
#[derive(Default)]
pub(super) struct Trail(Option<Vec<(Step, Outcome)>>);

impl Trail {
    pub(super) fn recorded() -> Self {
        Self(Some(Vec::new()))
    }

    pub(super) fn passed(&mut self, step: Step, seen: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.0 {
            steps.push((step, Outcome::Passed(seen())));
        }
    }

    pub(super) fn explain(self, decision: Result<Verified, Refusal>) -> Explanation {
        let mut steps = self.0.unwrap_or_default();
        let mut refusal = decision.as_ref().err().cloned();
        for step in Step::ALL.iter().skip(steps.len()) {
            steps.push((*step, refusal.take().map_or(Outcome::NotReached, Outcome::Refused)));
        }
        Explanation { steps, decision }
    }
}
