//! What the run left behind for the checklist to look at.

use certbound::{BoundAssertion, BoundToken, CallFacts, Thumbprint};
use certbound_core::jws;
use certbound_emulator::JournalEntry;

/// The outcome of one scene: what it brought, or why it brought nothing.
pub(super) type Outcome<T> = Result<T, String>;

/// Everything that was seen. The journals are the emulator's own, taken scene by scene.
pub(super) struct Evidence {
    /// The binding certificate C.
    pub(super) certificate: Option<Thumbprint>,
    pub(super) leg1: Scene<AssertionSeen>,
    pub(super) leg2: Scene<TokenSeen>,
    /// What Leg 2 asked of its assertion provider, and got.
    pub(super) provided: Vec<Provided>,
    pub(super) cached: Scene<TokenSeen>,
    pub(super) vault: Scene<Called>,
    pub(super) graph: Scene<Called>,
    pub(super) custom: Scene<Called>,
    pub(super) bearer: Scene<TokenSeen>,
    pub(super) bearer_call: Scene<Called>,
    pub(super) cross_tenant: Scene<TokenSeen>,
    pub(super) cross_application: Scene<TokenSeen>,
    /// A managed identity's assertion, and what it is exchanged for.
    pub(super) machine_leg1: Scene<AssertionSeen>,
    pub(super) machine_bound: Scene<TokenSeen>,
    pub(super) machine_bearer: Scene<TokenSeen>,
    /// The commands that make it Leg 2.
    pub(super) machine_as_leg2: Scene<Vec<Refusal>>,
    pub(super) without_certificate: Scene<Called>,
    pub(super) other_certificate: Scene<Called>,
    pub(super) wrong_scheme: Scene<Called>,
    /// Here the error's code is the outcome.
    pub(super) never_asking_host: Scene<String>,
    pub(super) leg2_other_certificate: Scene<Called>,
    pub(super) leg2_jwt_bearer: Scene<Called>,
}

/// One scene: its outcome and the requests that reached the emulator.
pub(super) struct Scene<T> {
    pub(super) outcome: Outcome<T>,
    pub(super) journal: Vec<JournalEntry>,
}

/// The assertion, without its text.
#[derive(Clone)]
pub(super) struct AssertionSeen {
    pub(super) length: usize,
    pub(super) digest: String,
    pub(super) confirmation: Option<String>,
}

/// One call of the assertion provider.
#[derive(Clone)]
pub(super) struct Provided {
    pub(super) token_endpoint: String,
    pub(super) outcome: Outcome<AssertionSeen>,
}

/// A token, without its text.
#[derive(Clone)]
pub(super) struct TokenSeen {
    pub(super) token_type: String,
    pub(super) scopes: Vec<String>,
    pub(super) scopes_granted: bool,
    pub(super) tenant: String,
    pub(super) from_cache: bool,
    pub(super) digest: String,
    /// `cnf.x5t#S256` as the token itself says it.
    pub(super) confirmation: Option<String>,
    pub(super) binding: Option<Thumbprint>,
}

/// A resource's or the token service's answer.
#[derive(Clone)]
pub(super) struct Called {
    pub(super) status: u16,
    pub(super) body: String,
    /// What our side of TLS presented.
    pub(super) presented: Option<Thumbprint>,
    /// The digest of the token that was sent.
    pub(super) token: String,
}

/// How a command of ours ended.
#[derive(Clone)]
pub(super) struct Refusal {
    pub(super) command: String,
    pub(super) exit: Option<i32>,
    pub(super) code: String,
}

impl Evidence {
    /// Nothing could be done, for one reason.
    pub(super) fn none(reason: &str) -> Self {
        Self {
            certificate: None,
            leg1: Scene::not_played(reason),
            leg2: Scene::not_played(reason),
            provided: Vec::new(),
            cached: Scene::not_played(reason),
            vault: Scene::not_played(reason),
            graph: Scene::not_played(reason),
            custom: Scene::not_played(reason),
            bearer: Scene::not_played(reason),
            bearer_call: Scene::not_played(reason),
            cross_tenant: Scene::not_played(reason),
            cross_application: Scene::not_played(reason),
            machine_leg1: Scene::not_played(reason),
            machine_bound: Scene::not_played(reason),
            machine_bearer: Scene::not_played(reason),
            machine_as_leg2: Scene::not_played(reason),
            without_certificate: Scene::not_played(reason),
            other_certificate: Scene::not_played(reason),
            wrong_scheme: Scene::not_played(reason),
            never_asking_host: Scene::not_played(reason),
            leg2_other_certificate: Scene::not_played(reason),
            leg2_jwt_bearer: Scene::not_played(reason),
        }
    }
}

impl<T> Scene<T> {
    /// The scene could not be played.
    pub(super) fn not_played(reason: &str) -> Self {
        Self { outcome: Err(reason.to_owned()), journal: Vec::new() }
    }

    pub(super) fn seen(&self) -> Result<&T, String> {
        self.outcome.as_ref().map_err(Clone::clone)
    }

    /// The first request whose path has `part`; if there is none, why.
    pub(super) fn request(&self, part: &str) -> Result<&JournalEntry, String> {
        let found = self.journal.iter().find(|entry| entry.path.contains(part));
        found.ok_or_else(|| match &self.outcome {
            Err(reason) => format!("no such request reached the service: {reason}"),
            Ok(_) => "no such request reached the service".to_owned(),
        })
    }

    /// The last token request: in an exchange, Leg 2's.
    pub(super) fn token_request(&self) -> Result<&JournalEntry, String> {
        let found = self.journal.iter().rev().find(|entry| entry.path.ends_with(TOKEN_PATH));
        found.ok_or_else(|| match &self.outcome {
            Err(reason) => format!("no token request reached the service: {reason}"),
            Ok(_) => "no token request reached the service".to_owned(),
        })
    }
}

const TOKEN_PATH: &str = "/oauth2/v2.0/token";

impl AssertionSeen {
    pub(super) fn of(assertion: &BoundAssertion) -> Self {
        let text = assertion.secret().expose();
        Self { length: text.len(), digest: digest(text), confirmation: confirmation(text) }
    }
}

impl TokenSeen {
    pub(super) fn bound(token: &BoundToken) -> Self {
        Self::of(token.secret().expose(), &token.details(), Some(token.binding().thumbprint()))
    }

    pub(super) fn bearer(token: &certbound::BearerToken) -> Self {
        Self::of(token.secret().expose(), &token.details(), None)
    }

    fn of(text: &str, details: &certbound::Details, binding: Option<Thumbprint>) -> Self {
        Self {
            token_type: details.token_type.clone(),
            scopes: details.scopes.clone(),
            scopes_granted: details.scopes_granted,
            tenant: details.tenant.clone(),
            from_cache: details.source == certbound::Source::Cache,
            digest: digest(text),
            confirmation: confirmation(text),
            binding,
        }
    }
}

impl Called {
    pub(super) fn of(answer: &http::Response<bytes::Bytes>, token: &str) -> Self {
        let facts = answer.extensions().get::<CallFacts>();
        Self {
            status: answer.status().as_u16(),
            body: String::from_utf8_lossy(answer.body()).chars().take(2000).collect(),
            presented: facts.and_then(|facts| facts.0.presented),
            token: token.to_owned(),
        }
    }
}

/// As the journal writes a secret: SHA-256, which is what a thumbprint is too.
pub(super) fn digest(secret: &str) -> String {
    format!("sha256:{}", Thumbprint::of_der(secret.as_bytes()).hex())
}

fn confirmation(jwt: &str) -> Option<String> {
    let claims = jws::unverified_claims(jwt).ok()?;
    claims.confirmation().ok().flatten().map(str::to_owned)
}
