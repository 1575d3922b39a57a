//! Faults as rules: a condition, a result, and how many times. Off unless asked for.

mod condition;
mod platform;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, SERVER};
use http::{HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) use self::condition::Asked;
pub use self::condition::{Condition, LegKind};
pub use self::platform::{PlatformEndpoint, PlatformKind};
use crate::answers::{AnswerContext, refusal};

/// The most rules at once.
const MAX_RULES: usize = 1_000;
/// The longest delay.
const MAX_DELAY: Duration = Duration::from_secs(10 * 60);

/// A rule. The first one that fits a request is applied, alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which requests. Default: all.
    #[serde(default)]
    pub condition: Condition,
    /// What happens to them.
    pub result: FaultResult,
    /// How many times; `None` (JSON `null`) for every time. Default: once.
    #[serde(default = "once")]
    pub count: Option<u32>,
}

impl Fault {
    /// A rule that applies once, to the next request that fits.
    pub fn once(condition: Condition, result: FaultResult) -> Self {
        Self { condition, result, count: once() }
    }

    /// A rule that applies for as long as it stands.
    pub fn always(condition: Condition, result: FaultResult) -> Self {
        Self { condition, result, count: None }
    }
}

const fn once() -> Option<u32> {
    Some(1)
}

/// What happens to a request that a rule fits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultResult {
    /// The right answer, late.
    Delay {
        /// How late; ten minutes at most.
        milliseconds: u64,
    },
    /// Another answer; the request is not looked at.
    Status {
        /// The status.
        status: u16,
        /// The body, verbatim.
        #[serde(default)]
        body: String,
        /// `Retry-After`, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u32>,
    },
    /// The token service's refusal of this number, for what the emulator has no reason of its own to refuse; the request
    /// is not looked at.
    Refusal {
        /// The AADSTS number.
        aadsts: u32,
        /// The OAuth `error`, instead of the one that goes with the number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The status, instead of the one that goes with the number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// `suberror`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suberror: Option<String>,
        /// `claims`: a claims challenge, verbatim.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claims: Option<String>,
    },
    /// A plain token, and `token_type` says so, where a bound one was asked for.
    BearerForMtlsPop,
    /// A token bound to a certificate that nobody has.
    ForeignCnf,
    /// A token without `cnf`, although `token_type` says `mtls_pop`.
    NoCnf,
    /// The connection is reset instead of an answer.
    ConnectionReset,
    /// The right answer, of which only the first half of the body arrives.
    TruncatedBody,
    /// A redirect to another place, with the same method; the request is not looked at.
    Redirect307 {
        /// The `Location`.
        location: String,
    },
    /// The right token, but `scope` names another resource.
    WrongScope,
    /// An answer whose `access_token` is empty.
    EmptyToken,
    /// The right answer, whose body stops in the middle of the JSON; as HTTP nothing is missing.
    MalformedJson,
    /// The right answer, but `Server` names another product: a metadata service that is none.
    WrongServer,
    /// A machine's certificate is issued for a key that is not the request's.
    ForeignKeyCertificate,
    /// A machine's certificate is issued to another identity; the rest of the answer is right.
    ForeignIdentityCertificate,
    /// A machine's certificate is issued whose time is over.
    ExpiredCertificate,
    /// A machine's certificate is issued whose time comes in an hour.
    FutureCertificate,
}

/// What the transport shall do with a response; an extension of the response.
///
/// [`crate::serve`] carries it out; who calls [`crate::Emulator::handle`] directly imitates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultEffect {
    /// Reset the connection; send nothing.
    Reset,
    /// Announce the whole body, send this many bytes of it, and close.
    TruncateBody(usize),
    /// Send it after this long.
    Delay(Duration),
}

impl FaultResult {
    /// The stable snake-case name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delay { .. } => "delay",
            Self::Status { .. } => "status",
            Self::Refusal { .. } => "refusal",
            Self::BearerForMtlsPop => "bearer_for_mtls_pop",
            Self::ForeignCnf => "foreign_cnf",
            Self::NoCnf => "no_cnf",
            Self::ConnectionReset => "connection_reset",
            Self::TruncatedBody => "truncated_body",
            Self::Redirect307 { .. } => "redirect307",
            Self::WrongScope => "wrong_scope",
            Self::EmptyToken => "empty_token",
            Self::MalformedJson => "malformed_json",
            Self::WrongServer => "wrong_server",
            Self::ForeignKeyCertificate => "foreign_key_certificate",
            Self::ForeignIdentityCertificate => "foreign_identity_certificate",
            Self::ExpiredCertificate => "expired_certificate",
            Self::FutureCertificate => "future_certificate",
        }
    }

    /// Whether it makes the token in an answer another one than the right one.
    pub(crate) fn alters_token(&self) -> bool {
        matches!(
            self,
            Self::BearerForMtlsPop | Self::ForeignCnf | Self::NoCnf | Self::WrongScope | Self::EmptyToken
        )
    }

    /// The answer that stands in for the right one, if it is of that kind.
    pub(crate) fn instead(&self, context: &AnswerContext<'_>) -> Option<Response<Bytes>> {
        let mut response = Response::new(Bytes::new());
        match self {
            Self::Refusal { aadsts, error, status, suberror, claims } => {
                let because = refusal(*aadsts, "A rule of this emulator refuses the request.");
                response = context.refuse_with(&because, error.as_deref(), *status, |body| {
                    body.extend(suberror.as_ref().map(|text| ("suberror".to_owned(), json!(text))));
                    body.extend(claims.as_ref().map(|text| ("claims".to_owned(), json!(text))));
                });
            }
            Self::Status { status, body, retry_after } => {
                *response.status_mut() =
                    StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                *response.body_mut() = Bytes::from(body.clone());
                let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*seconds));
                }
            }
            Self::Redirect307 { location } => {
                *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
                if let Ok(location) = HeaderValue::from_str(location) {
                    response.headers_mut().insert(LOCATION, location);
                }
            }
            Self::ConnectionReset => *response.status_mut() = StatusCode::BAD_GATEWAY,
            _ => return None,
        }
        Some(response)
    }

    /// Spoils a response that is right otherwise, as far as that needs nothing but the response.
    pub(crate) fn spoil(&self, response: &mut Response<Bytes>) {
        match self {
            Self::MalformedJson => {
                let half = response.body().len() / 2;
                response.body_mut().truncate(half);
            }
            Self::WrongServer => {
                response.headers_mut().insert(SERVER, HeaderValue::from_static("nginx"));
            }
            _ => {}
        }
    }

    /// What the transport must do with `response`.
    pub(crate) fn effect(&self, response: &Response<Bytes>) -> Option<FaultEffect> {
        match self {
            Self::Delay { milliseconds } => {
                Some(FaultEffect::Delay(Duration::from_millis(*milliseconds).min(MAX_DELAY)))
            }
            Self::ConnectionReset => Some(FaultEffect::Reset),
            Self::TruncatedBody => Some(FaultEffect::TruncateBody(response.body().len() / 2)),
            _ => None,
        }
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// Adds a rule after the others; false when there are too many.
    pub(crate) fn add(&self, fault: Fault) -> bool {
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

    /// The result of the first rule that fits, which is counted down.
    pub(crate) fn take(&self, asked: &Asked<'_>) -> Option<FaultResult> {
        let mut rules = self.rules();
        rules.retain(|rule| rule.count != Some(0));
        let rule = rules.iter_mut().find(|rule| rule.condition.fits(asked))?;
        rule.count = rule.count.map(|left| left - 1);
        Some(rule.result.clone())
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
        let asked = Asked { host: "h", path: "/p", leg: Some(LegKind::Leg2), ..Asked::default() };
        let taken: Vec<_> = (0..4).map(|_| faults.take(&asked).map(|result| result.name())).collect();
        assert_eq!(taken, [Some("no_cnf"), Some("no_cnf"), Some("delay"), Some("delay")]);
        faults.clear();
        assert_eq!(faults.take(&asked), None);
        assert!(serde_json::from_str::<Fault>(r#"{"result":"no_such"}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"result":"no_cnf","cuont":2}"#).is_err());
        let spelt =
            |text: &str| rule(&format!(r#"{{"condition":{text},"result":"malformed_json"}}"#)).condition;
        let hyphens = spelt(r#"{"platform":"app-service","endpoint":"issue-credential"}"#);
        assert_eq!(spelt(r#"{"platform":"app_service","endpoint":"issue_credential"}"#), hyphens);
        assert_eq!(spelt(r#"{"platform":"ml"}"#), Condition::platform(PlatformKind::MachineLearning));
    }

    /// The page is what people plan their tests by.
    #[test]
    fn the_page_on_faults_names_every_condition_and_result() {
        let page = include_str!("../../../docs/faults.md");
        for unknown in [
            r#"{"result":"?"}"#,
            r#"{"condition":{"?":0},"result":"no_cnf"}"#,
            r#"{"condition":{"leg":"?"},"result":"no_cnf"}"#,
            r#"{"condition":{"platform":"?"},"result":"no_cnf"}"#,
            r#"{"condition":{"endpoint":"?"},"result":"no_cnf"}"#,
        ] {
            let error = serde_json::from_str::<Fault>(unknown).unwrap_err().to_string();
            let (_, known) = error.split_once("expected").expect("it lists what it knows");
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
