//! A token service that remembers for whom each token was, and has moods.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use certbound::{Answer, Clock as _, Thumbprint, TlsFacts, Transport, TransportError, UnixTime, Via};
use certbound_testkit::ManualClock;

use super::chance::Chance;
use super::hands;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// 503.
    Away,
    /// No answer.
    Unreachable,
    /// Refuses for good.
    Refuses,
    /// Refuses the certificate of who comes with an assertion.
    Blames,
}

/// For whom a token was issued.
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
    /// When it was issued, by the clock as it was then.
    pub(super) at: UnixTime,
    pub(super) lives: u64,
    /// From when a client counts its life: the sending of the request, or the coming of the answer if that is earlier.
    pub(super) counts_from: UnixTime,
    /// In which order the requests began: of two tokens that came, that of the later one is what the cache has.
    pub(super) began: u64,
    /// In which order answers came to their clients.
    pub(super) came: u64,
}

impl Issued {
    /// When a client takes it to be over.
    pub(super) fn expires_at(&self) -> u64 {
        self.counts_from.as_secs() + self.lives
    }

    /// When it is over, as far as the clock can tell.
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
    /// Answers of any kind until now.
    answered: u64,
    began: u64,
    came: u64,
    /// The last failure that may pass, by the clock.
    failed_at: Vec<(u64, UnixTime)>,
    /// When somebody may have been told of one of them, the clock having been set meanwhile.
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

    /// A request begins: which one it is.
    pub(super) fn begins(&self) -> u64 {
        let mut state = self.state();
        state.began += 1;
        state.began
    }

    /// How many answers came to their clients.
    pub(super) fn came(&self) -> u64 {
        self.state().came
    }

    pub(super) fn issued(&self, token: &str) -> Issued {
        self.state().issued[token].clone()
    }

    /// All tokens that were ever issued and fit.
    pub(super) fn all(&self, fits: impl Fn(&Issued) -> bool) -> Vec<(String, Issued)> {
        let state = self.state();
        let all = state.issued.iter().filter(|(_, issued)| fits(issued));
        let mut all: Vec<_> = all.map(|(token, issued)| (token.clone(), issued.clone())).collect();
        all.sort_by_key(|(_, issued)| issued.number);
        all
    }

    /// Whether there was a passing failure since that many answers.
    pub(super) fn failed_since(&self, answers: u64) -> bool {
        self.state().failed_at.iter().any(|(number, _)| *number > answers)
    }

    /// Whether there was a passing failure between two moments of the clock, both in seconds.
    pub(super) fn failed_between(&self, from: u64, to: u64) -> bool {
        let state = self.state();
        let mut all = state.failed_at.iter().map(|(_, at)| at).chain(&state.told_at);
        all.any(|at| (from..=to).contains(&at.as_secs()))
    }

    /// The clock was set: who waits for one of the last answers has not been told yet.
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
                // Tokens of earlier certificates are served then too.
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
        let certificate = via.binding().map(certbound::Binding::thumbprint);
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
            // For all that a caller knows it is away.
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
            return Err(TransportError::Connect { host, reason: "nobody is there".to_owned() });
        }
        let (status, body) = self.answer(&request, &form, began, certificate);
        let number = self.answered();
        let response = http::Response::builder().status(status).body(Bytes::from(body)).unwrap();
        // On the way back a caller can give up too.
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
