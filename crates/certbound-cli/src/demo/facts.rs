//! The facts of the scenes. A *scene* is one step of the demo. Its facts are its result, the number and the paths of
//! the requests that reached the emulator, and the last of these requests.

use std::collections::BTreeMap;
use std::error::Error;

use bytes::Bytes;
use certbound::resource::CallFacts;
use certbound::token::Details;
use certbound::{BearerToken, BoundAssertion, BoundToken, Secret, Thumbprint};
use certbound_core::jws;
use certbound_emulator::JournalEntry;
use http::Response;

/// The result of a check, or the reason why the check failed.
pub(super) type Outcome<T> = Result<T, String>;

/// The result of code that runs in a scene.
pub(super) type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Facts with their names.
pub(super) type Named = Vec<(&'static str, String)>;

/// The facts of every scene that has run.
#[derive(Default)]
pub(crate) struct Facts(BTreeMap<&'static str, BTreeMap<String, String>>);

/// The name under which a scene's failure is stored.
const FAILURE: &str = "failure";

impl Facts {
    /// Adds a scene.
    pub(super) fn add(&mut self, scene: &'static str, outcome: Fallible<Named>, journal: &[JournalEntry]) {
        let result = outcome.unwrap_or_else(|error| vec![(FAILURE, reason(&*error))]);
        let paths: Vec<&str> = journal.iter().map(|request| request.path.as_str()).collect();
        let count = [("requests", journal.len().to_string()), ("paths", paths.join(" "))];
        let last = journal.last();
        let named = result.into_iter().chain(count).chain(last.into_iter().flat_map(of_request));
        let facts = named.map(|(name, value)| (name.to_owned(), value));
        self.0
            .insert(scene, facts.chain(last.into_iter().flat_map(|last| last.parameters.clone())).collect());
    }

    /// Returns a fact by scene and name, or the reason why it is unknown. Returns `None` if the scene has not run.
    pub(super) fn find(&self, path: &str) -> Option<Outcome<&str>> {
        let (scene, name) = path.split_once('.')?;
        let scene = self.0.get(scene)?;
        Some(scene.get(name).map(String::as_str).ok_or_else(|| match scene.get(FAILURE) {
            Some(reason) => format!("{path} is unknown: {reason}"),
            None => format!("{path} is absent"),
        }))
    }
}

/// Returns the text of an error. The text of an error of the client ends with its code.
pub(super) fn reason(error: &(dyn Error + Send + Sync + 'static)) -> String {
    error.to_string()
}

fn of_request(request: &JournalEntry) -> Named {
    let JournalEntry { host, path, status, server_name, .. } = request;
    let facts = [
        ("host", Some(host.clone())),
        ("sni", Some(server_name.clone())),
        ("url", Some(format!("https://{host}{path}"))),
        ("answered", Some(status.to_string())),
        ("aadsts", request.aadsts.map(|number| number.to_string())),
        ("certificate", request.client_certificate.clone()),
        ("scheme", request.authorization_scheme.clone()),
        ("authorization", request.authorization_token.clone()),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

pub(super) fn of_assertion(assertion: &BoundAssertion) -> Named {
    jwt(assertion.secret())
}

pub(super) fn of_bound(token: &BoundToken) -> Named {
    let binding = ("binding", token.binding().thumbprint().x5t_s256());
    [jwt(token.secret()), details(&token.details()), vec![binding]].concat()
}

pub(super) fn of_bearer(token: &BearerToken) -> Named {
    [jwt(token.secret()), details(&token.details())].concat()
}

/// Returns the facts of a resource's answer to this token.
pub(super) fn of_answer(answer: &Response<Bytes>, token: &Secret) -> Named {
    let body = String::from_utf8_lossy(answer.body()).chars().take(2000).collect();
    let presented = answer.extensions().get::<CallFacts>().and_then(|facts| facts.0.presented);
    let mut facts =
        vec![("status", answer.status().as_u16().to_string()), ("body", body), ("sent", digest(token))];
    facts.extend(presented.map(|presented| ("presented", presented.x5t_s256())));
    facts
}

fn details(details: &Details) -> Named {
    let granted = if details.scopes_granted { details.scopes.join(" ") } else { String::new() };
    let source = format!("{:?}", details.source).to_lowercase();
    let (kind, tenant) = (details.token_type.clone(), details.tenant.clone());
    vec![("type", kind), ("granted", granted), ("tenant", tenant), ("source", source)]
}

/// Returns the facts of a token or an assertion, without its text.
fn jwt(secret: &Secret) -> Named {
    let claims = jws::unverified_claims(secret.expose()).ok();
    let confirmation = claims.and_then(|claims| Some(("cnf", claims.confirmation().ok()??.to_owned())));
    let mut facts = vec![("digest", digest(secret)), ("length", secret.len().to_string())];
    facts.extend(confirmation);
    facts
}

/// Returns the journal's hash of a secret: SHA-256, which is also the hash of a thumbprint.
fn digest(secret: &Secret) -> String {
    format!("sha256:{}", Thumbprint::of_der(secret.expose().as_bytes()).hex())
}

#[cfg(test)]
mod tests {
    use certbound::error::TransportError;

    use super::*;

    #[test]
    fn the_reason_of_a_failure_has_its_code_once() {
        let error = certbound::Error::Transport { leg: None, cause: TransportError::NotHttps, target: None };
        let code = format!("[{}]", error.code());
        let mut facts = Facts::default();
        facts.add("scene", Err(error.into()), &[]);
        let reason = facts.find("scene.failure").unwrap().unwrap();
        assert_eq!(reason.matches(&code).count(), 1, "{reason}");
        let unknown = facts.find("scene.type").unwrap().unwrap_err();
        assert_eq!(unknown, format!("scene.type is unknown: {reason}"));
    }
}
