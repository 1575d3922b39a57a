//! What a rule does to the requests that it fits.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, SERVER, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::answers::{AnswerContext, refusal};
use crate::issue::{Alteration, TokenForm};

/// The longest delay.
const MAX_DELAY: Duration = Duration::from_secs(10 * 60);

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
        /// Headers by name, instead of those that the answer would have.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "headers")]
        headers: BTreeMap<String, String>,
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
    /// The right token in another form, although `token_type` says `mtls_pop`: one that no client, or no strict one, can read.
    TokenForm(TokenForm),
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
    /// The right answer, whose JSON lacks a member.
    WithoutMember {
        /// The member, at the top.
        name: String,
    },
    /// The right answer, but `Server` names another product: a metadata service that is none.
    WrongServer,
    /// A machine's certificate is issued for a key that is not the request's.
    ForeignKeyCertificate,
    /// A machine's certificate is issued to another identity; the rest of the answer is right.
    ForeignIdentityCertificate,
    /// A machine's certificate is issued whose time is over.
    ExpiredCertificate,
    /// A machine's certificate is issued whose time begins in an hour.
    NotYetValidCertificate,
    /// A machine's certificate is issued in another tenant's name; the rest of the answer is right.
    ForeignTenantCertificate,
    /// A machine's certificate is issued for another time than the usual week.
    CertificateLifetime {
        /// How long it is valid from now on.
        seconds: u64,
    },
    /// The agent of Azure Arc names another file in its challenge. Of what is in it the emulator knows nothing.
    ArcChallenge {
        /// The file; `None` (JSON `null`) for a challenge that names none.
        file: Option<String>,
    },
    /// Service Fabric's server has another certificate than the one it is known by. A fault of the handshake: it is
    /// looked at when a connection begins, and no request meets it.
    ForeignServerCertificate,
    /// A token host refuses the client's certificate in the handshake, by the TLS alert `certificate_revoked`. A fault of
    /// the handshake as well; of its condition, `leg` and `path_contains` are not known yet.
    ClientCertificateRefused,
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
            Self::TokenForm(_) => "token_form",
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
            Self::NotYetValidCertificate => "not_yet_valid_certificate",
            Self::ForeignTenantCertificate => "foreign_tenant_certificate",
            Self::CertificateLifetime { .. } => "certificate_lifetime",
            Self::WithoutMember { .. } => "without_member",
            Self::ArcChallenge { .. } => "arc_challenge",
            Self::ForeignServerCertificate => "foreign_server_certificate",
            Self::ClientCertificateRefused => "client_certificate_refused",
        }
    }

    /// Whether it happens in the TLS handshake, before any request.
    pub(super) fn is_of_handshake(&self) -> bool {
        matches!(self, Self::ForeignServerCertificate | Self::ClientCertificateRefused)
    }

    /// How the token in an answer differs from the right one, if it does.
    pub(crate) fn alteration(&self) -> Option<Alteration> {
        match self {
            Self::BearerForMtlsPop => Some(Alteration::Bearer),
            Self::ForeignCnf => Some(Alteration::ForeignCnf),
            Self::NoCnf => Some(Alteration::NoCnf),
            Self::TokenForm(form) => Some(Alteration::Form(*form)),
            Self::WrongScope => Some(Alteration::WrongScope),
            Self::EmptyToken => Some(Alteration::EmptyToken),
            _ => None,
        }
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
            Self::Status { status, body, retry_after, .. } => {
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
            Self::Status { headers, .. } => {
                for (name, value) in headers {
                    if let (Ok(name), Ok(value)) = (HeaderName::from_str(name), HeaderValue::from_str(value))
                    {
                        response.headers_mut().insert(name, value);
                    }
                }
            }
            Self::WithoutMember { name } => {
                if let Ok(mut members) = serde_json::from_slice::<Map<String, Value>>(response.body()) {
                    members.remove(name);
                    *response.body_mut() = Bytes::from(Value::Object(members).to_string());
                }
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

/// Headers that can be sent; how long a body is says the transport.
fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let headers = BTreeMap::<String, String>::deserialize(deserializer)?;
    let fits = |(name, value): (&String, &String)| {
        HeaderName::from_str(name).is_ok_and(|name| name != CONTENT_LENGTH && name != TRANSFER_ENCODING)
            && HeaderValue::from_str(value).is_ok()
    };
    match headers.iter().find(|header| !fits(*header)) {
        Some((name, _)) => Err(D::Error::custom(format!("the header '{name}' cannot be sent"))),
        None => Ok(headers),
    }
}
