//! The results of the run that the checklist examines. A *scene* is one step of the demo.

use certbound::resource::CallFacts;
use certbound::{BoundAssertion, BoundToken, Thumbprint};
use certbound_core::jws;
use certbound_emulator::JournalEntry;

/// The outcome of one scene: its result, or the reason why it has none.
pub(super) type Outcome<T> = Result<T, String>;

/// All results. Each scene has the entries that the emulator's journal received during it.
pub(super) struct Evidence {
    /// The thumbprint of C, the binding certificate.
    pub(super) certificate: Option<Thumbprint>,
    pub(super) leg1: Scene<AssertionSeen>,
    pub(super) leg2: Scene<TokenSeen>,
    /// The requests of Leg 2 to its assertion provider, and the results.
    pub(super) provided: Vec<Provided>,
    pub(super) cached: Scene<TokenSeen>,
    pub(super) vault: Scene<Called>,
    pub(super) graph: Scene<Called>,
    pub(super) custom: Scene<Called>,
    pub(super) bearer: Scene<TokenSeen>,
    pub(super) bearer_call: Scene<Called>,
    pub(super) cross_tenant: Scene<TokenSeen>,
    pub(super) cross_application: Scene<TokenSeen>,
    /// A managed identity's assertion; the next scenes exchange it.
    pub(super) machine_leg1: Scene<AssertionSeen>,
    pub(super) machine_bound: Scene<TokenSeen>,
    pub(super) machine_bearer: Scene<TokenSeen>,
    /// The commands that make a managed identity Leg 2.
    pub(super) machine_as_leg2: Scene<Vec<Refusal>>,
    pub(super) without_certificate: Scene<Called>,
    pub(super) other_certificate: Scene<Called>,
    pub(super) wrong_scheme: Scene<Called>,
    /// The outcome is the code of the error.
    pub(super) never_asking_host: Scene<String>,
    pub(super) leg2_other_certificate: Scene<Called>,
    pub(super) leg2_jwt_bearer: Scene<Called>,
}

/// One scene: its outcome, and the requests that reached the emulator.
pub(super) struct Scene<T> {
    pub(super) outcome: Outcome<T>,
    pub(super) journal: Vec<JournalEntry>,
}

/// An assertion, without its text.
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
    /// The token's own `cnf.x5t#S256`.
    pub(super) confirmation: Option<String>,
    pub(super) binding: Option<Thumbprint>,
}

/// An answer of a resource or of the token service.
#[derive(Clone)]
pub(super) struct Called {
    pub(super) status: u16,
    pub(super) body: String,
    /// The certificate that the client presented in TLS.
    pub(super) presented: Option<Thumbprint>,
    /// The digest of the token that was sent.
    pub(super) token: String,
}

/// The result of a command of ours.
#[derive(Clone)]
pub(super) struct Refusal {
    pub(super) command: String,
    pub(super) exit: Option<i32>,
    pub(super) code: String,
}

impl Evidence {
    /// Returns evidence in which every scene failed for the same reason.
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
    /// Returns a scene that could not run.
    pub(super) fn not_played(reason: &str) -> Self {
        Self { outcome: Err(reason.to_owned()), journal: Vec::new() }
    }

    pub(super) fn seen(&self) -> Result<&T, String> {
        self.outcome.as_ref().map_err(Clone::clone)
    }

    /// Returns the first request whose path contains `part`, or the reason why there is none.
    pub(super) fn request(&self, part: &str) -> Result<&JournalEntry, String> {
        let found = self.journal.iter().find(|entry| entry.path.contains(part));
        found.ok_or_else(|| match &self.outcome {
            Err(reason) => format!("no such request reached the service: {reason}"),
            Ok(_) => "no such request reached the service".to_owned(),
        })
    }

    /// Returns the last token request. In an exchange this is Leg 2's.
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

    fn of(text: &str, details: &certbound::token::Details, binding: Option<Thumbprint>) -> Self {
        Self {
            token_type: details.token_type.clone(),
            scopes: details.scopes.clone(),
            scopes_granted: details.scopes_granted,
            tenant: details.tenant.clone(),
            from_cache: details.source == certbound::cache::Source::Cache,
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

/// Returns the hash that the journal writes instead of a secret: SHA-256, which is also the hash of a thumbprint.
pub(super) fn digest(secret: &str) -> String {
    format!("sha256:{}", Thumbprint::of_der(secret.as_bytes()).hex())
}

fn confirmation(jwt: &str) -> Option<String> {
    let claims = jws::unverified_claims(jwt).ok()?;
    claims.confirmation().ok().flatten().map(str::to_owned)
}
