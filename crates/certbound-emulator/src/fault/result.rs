//! The results of rules: the effects of faults on requests and answers.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use bytes::Bytes;
use certbound_core::challenge;
use certbound_core::time::UnixTime;
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, SERVER, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use strum::IntoStaticStr;

use crate::answers::{AnswerContext, nested_error_response, refusal};
use crate::issue::{Alteration, TokenForm};
use crate::world::TokenBindingParameters;

/// The longest delay.
const MAX_DELAY: Duration = Duration::from_secs(10 * 60);

/// The effect of a rule on a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, IntoStaticStr)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum FaultResult {
    /// The right answer after a delay.
    Delay {
        /// The delay, at most ten minutes.
        milliseconds: u64,
    },
    /// A fixed answer. The emulator does not examine the request.
    Status {
        /// The status.
        status: u16,
        /// The body, verbatim.
        #[serde(default)]
        body: String,
        /// `Retry-After`, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u32>,
        /// Headers by name. These headers replace headers of the same name.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "headers")]
        headers: BTreeMap<String, String>,
    },
    /// A refusal of the token service with this number. The emulator does not examine the request, so a test can use a
    /// refusal that the emulator itself never returns.
    Refusal {
        /// The AADSTS number.
        aadsts: u32,
        /// The OAuth `error`. Default: the `error` of the number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The status. Default: the status of the number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// `suberror`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suberror: Option<String>,
        /// `claims`: a claims challenge, verbatim.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claims: Option<String>,
    },
    /// A resource demands other claims by a challenge under `Bearer`, as in continuous access evaluation. The fault
    /// applies only to calls of a resource with a token, and the resource does not examine the call.
    ClaimsChallenge {
        /// The claims, verbatim. By default the challenge demands a token that is issued from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claims: Option<String>,
    },
    /// A vault uses these rules for bound tokens instead of the rules in the world. The fault applies only to calls of
    /// a vault with a token.
    TokenBindingParameters(TokenBindingParameters),
    /// A Bearer token with the `token_type` `Bearer`, although a bound token was requested.
    BearerForMtlsPop,
    /// A token with a binding to a certificate that does not exist.
    ForeignCnf,
    /// A token without `cnf`, although `token_type` is `mtls_pop`.
    NoCnf,
    /// The right answer, but the token has a different form. Strict clients cannot read the token. For some forms, no
    /// client can read it.
    TokenForm(TokenForm),
    /// The connection is reset, and the client gets no answer. With HTTP/2 no other request on the connection gets an
    /// answer either.
    ConnectionReset,
    /// The right answer, but the connection closes after the first half of the body. With HTTP/2 the emulator resets
    /// only the stream of this request, with `INTERNAL_ERROR`.
    TruncatedBody,
    /// A redirect to `location` with the same method. The emulator does not examine the request.
    Redirect307 {
        /// The `Location`.
        location: String,
    },
    /// The right token, but `scope` names a different resource.
    WrongScope,
    /// An answer whose `access_token` is empty.
    EmptyToken,
    /// The right answer, but the second half of its JSON is missing. The HTTP message itself is complete.
    MalformedJson,
    /// The right answer, but one member of its JSON is missing.
    WithoutMember {
        /// The name of the member, at the top level.
        name: String,
    },
    /// The right answer, but the header `Server` does not name the metadata service.
    WrongServer,
    /// The metadata service issues a certificate for a key other than the request's key.
    ForeignKeyCertificate,
    /// The metadata service issues a certificate to a different identity. The rest of the answer is right.
    ForeignIdentityCertificate,
    /// The metadata service issues a certificate that has expired.
    ExpiredCertificate,
    /// The metadata service issues a certificate whose validity begins in one hour.
    NotYetValidCertificate,
    /// The metadata service issues a certificate that names a different tenant. The rest of the answer is right.
    ForeignTenantCertificate,
    /// The metadata service issues a certificate with this lifetime instead of the usual seven days.
    CertificateLifetime {
        /// The lifetime, counted from the time of issue.
        seconds: u64,
    },
    /// The challenge of Azure Arc's agent names a different file. The agent still accepts only the content of its own
    /// file.
    ArcChallenge {
        /// The path of the file. `None` (JSON `null`) means that the answer has no challenge header.
        file: Option<String>,
    },
    /// Service Fabric's server presents a certificate that clients do not recognize. This is a fault of the handshake:
    /// it applies when a connection begins, and never to a request.
    ForeignServerCertificate,
    /// A host that requests the client's certificate refuses the certificate by the TLS alert `certificate_revoked`.
    /// The host sends the alert in the first handshake, or in the renegotiation if it requests the certificate late.
    /// This is a fault of the handshake. A condition with `leg` or `path_contains` never matches, because a handshake
    /// has neither a leg nor a path.
    ClientCertificateRefused,
    /// The proxy opens no connection to the host, and answers CONNECT with status 502. This is a fault of the
    /// connection: it applies before any handshake, so its condition can name the host only.
    Unreachable,
}

/// The part of a fault that the transport has to carry out. The part is an extension of the response.
///
/// [`crate::serve`] carries out this effect. A direct caller of [`crate::Emulator::handle`] has to carry out the effect
/// itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultEffect {
    /// Resets the connection and sends nothing.
    Reset,
    /// Announces the whole body, sends this many bytes of it, and closes the connection. With HTTP/2 only the stream of
    /// this request is reset.
    TruncateBody(usize),
    /// Sends the response after this time.
    Delay(Duration),
}

impl FaultResult {
    /// Returns the stable name in snake case.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Returns whether the fault happens when a connection is opened or in a TLS handshake.
    pub(super) fn is_of_handshake(&self) -> bool {
        matches!(self, Self::ForeignServerCertificate | Self::ClientCertificateRefused | Self::Unreachable)
    }

    /// Returns whether the fault makes an issued certificate of a machine wrong.
    pub(crate) fn is_of_certificate(&self) -> bool {
        matches!(
            self,
            Self::ForeignKeyCertificate
                | Self::ForeignIdentityCertificate
                | Self::ForeignTenantCertificate
                | Self::ExpiredCertificate
                | Self::NotYetValidCertificate
                | Self::CertificateLifetime { .. }
        )
    }

    /// Returns whether the fault applies only to calls of a resource with a token.
    pub(super) fn is_of_call(&self) -> bool {
        matches!(self, Self::ClaimsChallenge { .. } | Self::TokenBindingParameters(_))
    }

    /// Returns the rules that replace those of the vault.
    pub(crate) fn token_binding(&self) -> Option<TokenBindingParameters> {
        match self {
            Self::TokenBindingParameters(rules) => Some(*rules),
            _ => None,
        }
    }

    /// Returns the alteration of the token or of its answer, or `None` if this fault alters neither.
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

    /// Returns the replacement of the right answer, or `None` if this fault does not replace the answer.
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
            Self::ClaimsChallenge { claims } => {
                response = nested_error_response(
                    401,
                    "InvalidAuthenticationToken",
                    "A rule of this emulator demands other claims: request a new token with the claims of the challenge.",
                );
                let claims = claims.clone().unwrap_or_else(|| issued_from(context.now));
                let challenge = challenge::demanding_claims(context.login_host, &claims);
                // Login hosts and Base64 are visible ASCII, so the value is always valid.
                if let Ok(challenge) = HeaderValue::try_from(challenge) {
                    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                }
            }
            _ => return None,
        }
        Some(response)
    }

    /// Changes a response. A change that the transport has to carry out becomes an extension of the response.
    pub(crate) fn change(&self, response: &mut Response<Bytes>) {
        let half = response.body().len() / 2;
        match self {
            Self::Delay { milliseconds } => {
                let time = Duration::from_millis(*milliseconds).min(MAX_DELAY);
                response.extensions_mut().insert(FaultEffect::Delay(time));
            }
            Self::ConnectionReset => drop(response.extensions_mut().insert(FaultEffect::Reset)),
            Self::TruncatedBody => {
                response.extensions_mut().insert(FaultEffect::TruncateBody(half));
            }
            Self::MalformedJson => response.body_mut().truncate(half),
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
}

/// Returns the claims that continuous access evaluation demands after an event: an `nbf` from `now` on.
fn issued_from(now: UnixTime) -> String {
    let value = now.as_secs().to_string();
    json!({ "access_token": { "nbf": { "essential": true, "value": value } } }).to_string()
}

/// Reads headers that can be sent. Refuses `Content-Length` and `Transfer-Encoding`, because the transport sets them.
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
