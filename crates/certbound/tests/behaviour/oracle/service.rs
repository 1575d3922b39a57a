//! A token service that records the request of each token, and that changes its behaviour.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use certbound::clock::Clock as _;
use certbound::error::TransportError;
use certbound::transport::{Answer, TlsFacts, Via};
use certbound::{Thumbprint, Transport, UnixTime};
use certbound_testkit::ManualClock;

use super::chance::Chance;
use super::hands;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// The service answers 503.
    Away,
    /// The service does not answer.
    Unreachable,
    /// The service refuses with an error that is not transient.
    Refuses,
    /// The service refuses the certificate of a client that sends an assertion.
    Blames,
}

/// A token that was issued, and its request.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) number: u64,
    pub(super) app: String,
    pub(super) tenant: String,
    pub(super) scope: String,
    pub(super) path: Option<String>,
    pub(super) bound: bool,
    pub(super) claims: Option<String>,
    pub(super) certificate: Option<Thumbprint>,
    /// The time of issue, by the clock at that time.
    pub(super) at: UnixTime,
    pub(super) lives: u64,
    /// The start of the lifetime for the client: the time of the request, or the time of the answer if the clock shows
    /// an earlier time.
    pub(super) counts_from: UnixTime,
    /// The order in which the requests started. Of two tokens, the cache keeps the token whose request started later.
    pub(super) began: u64,
    /// The order in which the answers arrived at their clients.
    pub(super) came: u64,
}

impl Issued {
    /// Returns the expiry for the client.
    pub(super) fn expires_at(&self) -> u64 {
        self.counts_from.as_secs() + self.lives
    }

    /// Returns the latest time at which the token is expired by any clock.
    pub(super) fn is_over_at(&self) -> u64 {
        self.expires_at().max(self.at.as_secs() + self.lives)
    }
}

#[derive(Clone)]
pub(super) struct Service(Arc<Mutex<State>>, ManualClock);

struct State {
    chance: Chance,
    mood: Mood,
    issued: HashMap<String, Issued>,
    /// The number of answers of any kind.
    answered: u64,
    began: u64,
    came: u64,
    /// The transient failures: the number of the answer and the time of the clock.
    failed_at: Vec<(u64, UnixTime)>,
    /// The times at which a caller may have seen one of the failures, because the clock was set in the meantime.
    told_at: Vec<UnixTime>,
}

impl Service {
    pub(super) fn new(seed: u64, clock: ManualClock) -> Self {
        let state = State {
            chance: Chance::new(!seed),
            mood: Mood::Well,
            issued: HashMap::new(),
            answered: 0,
            began: 0,
            came: 0,
            failed_at: Vec::new(),
            told_at: Vec::new(),
        };
        Self(Arc::new(Mutex::new(state)), clock)
    }

    pub(super) fn mood(&self, mood: Mood) {
        self.state().mood = mood;
    }

    pub(super) fn answered(&self) -> u64 {
        self.state().answered
    }

    /// Records the start of a request and returns its number.
    pub(super) fn begins(&self) -> u64 {
        let mut state = self.state();
        state.began += 1;
        state.began
    }

    /// Returns the number of answers that arrived at their clients.
    pub(super) fn came(&self) -> u64 {
        self.state().came
    }

    pub(super) fn issued(&self, token: &str) -> Issued {
        self.state().issued[token].clone()
    }

    /// Returns all issued tokens for which `fits` returns true.
    pub(super) fn all(&self, fits: impl Fn(&Issued) -> bool) -> Vec<(String, Issued)> {
        let state = self.state();
        let all = state.issued.iter().filter(|(_, issued)| fits(issued));
        let mut all: Vec<_> = all.map(|(token, issued)| (token.clone(), issued.clone())).collect();
        all.sort_by_key(|(_, issued)| issued.number);
        all
    }

    /// Returns whether there was a transient failure after this number of answers.
    pub(super) fn failed_since(&self, answers: u64) -> bool {
        self.state().failed_at.iter().any(|(number, _)| *number > answers)
    }

    /// Returns whether there was a transient failure between two times of the clock, in seconds.
    pub(super) fn failed_between(&self, from: u64, to: u64) -> bool {
        let state = self.state();
        let mut all = state.failed_at.iter().map(|(_, at)| at).chain(&state.told_at);
        all.any(|at| (from..=to).contains(&at.as_secs()))
    }

    /// Records a change of the clock. Callers may not have received the last answers yet.
    pub(super) fn time_passed(&self) {
        const ON_THEIR_WAY: u64 = 3;
        let mut state = self.state();
        let answered = state.answered;
        if state.failed_at.iter().any(|(number, _)| number + ON_THEIR_WAY >= answered) {
            state.told_at.push(self.1.now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn is_slow(&self) {
        let mut state = self.state();
        let failed = (state.answered + 1, self.1.now());
        state.failed_at.push(failed);
    }

    fn answer(
        &self,
        request: &http::Request<Bytes>,
        form: &HashMap<String, String>,
        began: u64,
        certificate: Option<Thumbprint>,
    ) -> (u16, String) {
        let now = self.1.now();
        let mut state = self.state();
        state.answered += 1;
        let number = state.answered;
        match state.mood {
            Mood::Away => {
                state.failed_at.push((number, now));
                return (503, r#"{"error":"temporarily_unavailable"}"#.to_owned());
            }
            Mood::Refuses => return (400, r#"{"error":"invalid_scope","error_codes":[70011]}"#.to_owned()),
            Mood::Blames if form.contains_key("client_assertion") => {
                // The cache then returns tokens of earlier certificates too.
                state.failed_at.push((number, now));
                return (401, r#"{"error":"invalid_client","error_codes":[700027]}"#.to_owned());
            }
            Mood::Well | Mood::Unreachable | Mood::Blames => {}
        }
        let lives = [3_600, 3_600, 86_400, 400, 120][state.chance.below(5)];
        let refresh =
            ["", ",\"refresh_in\":1800", ",\"refresh_in\":0", ",\"refresh_in\":999999", ",\"refresh_in\":-1"];
        let refresh = refresh[state.chance.below(refresh.len())];
        let token = format!("token-{number}");
        let bound = form.get("token_type").is_some_and(|kind| kind == "mtls_pop");
        let issued = Issued {
            number,
            app: form["client_id"].clone(),
            tenant: request.uri().path().split('/').nth(1).unwrap().to_owned(),
            scope: form["scope"].clone(),
            path: form.get("fmi_path").cloned(),
            bound,
            claims: form.get("claims").cloned(),
            certificate,
            at: now,
            lives,
            counts_from: now,
            began,
            came: u64::MAX,
        };
        state.issued.insert(token.clone(), issued);
        let kind = if bound { "mtls_pop" } else { "Bearer" };
        let body =
            format!(r#"{{"token_type":"{kind}","access_token":"{token}","expires_in":{lives}{refresh}}}"#);
        (200, body)
    }
}

impl Transport for Service {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let certificate = via.binding().map(certbound::certificate::BindingCertificate::thumbprint);
        let sent_at = self.1.now();
        let form: HashMap<String, String> =
            url::form_urlencoded::parse(request.body()).into_owned().collect();
        let began = match form.get("client_assertion") {
            Some(assertion) => hands::began(assertion),
            None => self.begins(),
        };
        let (count, slow) = {
            let chance = &mut self.state().chance;
            (chance.below(25), chance.below(20) == 0)
        };
        hands::turns(count).await;
        if slow {
            // Callers treat a slow service as unavailable.
            for _ in 0..100 {
                self.is_slow();
                hands::turns(4).await;
            }
        }
        if self.state().mood == Mood::Unreachable {
            let mut state = self.state();
            state.answered += 1;
            let failed = (state.answered, self.1.now());
            state.failed_at.push(failed);
            let host = request.uri().host().unwrap_or_default().to_owned();
            return Err(TransportError::Connect { host, reason: "no server listens".into() });
        }
        let (status, body) = self.answer(&request, &form, began, certificate);
        let number = self.answered();
        let response = http::Response::builder().status(status).body(Bytes::from(body)).unwrap();
        // The caller can also be cancelled before it receives the answer.
        tokio::task::yield_now().await;
        let counts_from = sent_at.min(self.1.now());
        let mut state = self.state();
        state.came += 1;
        let came = state.came;
        if let Some(issued) = state.issued.values_mut().find(|issued| issued.number == number) {
            (issued.counts_from, issued.came) = (counts_from, came);
        }
        drop(state);
        Ok(Answer { response, tls: TlsFacts::default() })
    }
}
