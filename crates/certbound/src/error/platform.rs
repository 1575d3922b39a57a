//! The refusals and failures of a platform.

use std::time::Duration;

use certbound_core::managed_identity::{MachineError, MachineSource, MalformedMachineAnswer, SourceError};
use certbound_core::own_secrets::OwnSecrets;
use certbound_core::retry_after::whole_seconds;
use strum::EnumProperty as _;

use super::WAIT;
use crate::error::{KeyError, KeyStrength, NoImds, Phase, StateError, TransportError};

/// The reason why the platform returned no token.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum PlatformError {
    /// The platform refused the request.
    #[error("{} refused the request: {answer}", name_of(*.origin))]
    #[strum(props(code = "managed_identity_request_failed"))]
    #[strum(props(
        fix = "send the request again later; if the platform refuses the request again, look up the message in the platform's documentation"
    ))]
    Refused {
        /// The source of the managed identity.
        origin: MachineSource,
        /// The host of the endpoint.
        host: String,
        /// The platform's response.
        answer: MachineError,
    },
    /// The platform's response cannot be used.
    #[error("{}: {answer}", name_of(*.origin))]
    Malformed {
        /// The source of the managed identity.
        origin: MachineSource,
        /// The host of the endpoint.
        host: String,
        /// The fault of the response.
        answer: MalformedMachineAnswer,
    },
    /// The platform issues certificates for attested keys only, and the key was not attested.
    #[error("{} refused the request, because the key is not attested: {answer}", name_of(*.origin))]
    #[strum(props(code = "managed_identity_request_failed"))]
    #[strum(props(
        fix = "give an attestation hook, because this machine must attest its key; or request a Bearer token"
    ))]
    AttestationRequired {
        /// The source of the managed identity.
        origin: MachineSource,
        /// The host of the endpoint.
        host: String,
        /// The platform's response.
        answer: MachineError,
    },
    /// The platform could not be reached, or did not answer in time.
    #[error("{} cannot be reached: {cause}", name_of(*.origin))]
    #[strum(props(code = "managed_identity_unreachable_network"))]
    #[strum(props(fix = "check that the platform's agent runs on this machine"))]
    Unreachable {
        /// The source of the managed identity.
        origin: MachineSource,
        /// The failure.
        #[source]
        cause: TransportError,
    },
    /// A bound token, or a Bearer token over mutual TLS, was requested, but the source issues no certificates. No
    /// request was sent.
    #[error(
        "{origin} issues no certificates, so its tokens cannot be bound to a certificate or be requested over mutual TLS"
    )]
    #[strum(props(code = "mtls_pop_not_supported_for_environment"))]
    #[strum(props(
        fix = "request a Bearer token without mutual TLS, or use an application that has a certificate"
    ))]
    SourceCannotBind {
        /// The source of the managed identity.
        origin: MachineSource,
    },
    /// The metadata service issues no certificates.
    #[error(
        "this machine's metadata service issues no certificates, so its tokens cannot be bound to a certificate or be requested over mutual TLS"
    )]
    #[strum(props(code = "mtls_pop_token_not_supported_in_imds_v1"))]
    #[strum(props(
        fix = "request a Bearer token without mutual TLS, or use a newer image or another region"
    ))]
    NoCertificates,
    /// A bound token, or a Bearer token over mutual TLS, was requested, but the environment disables version 2 of the
    /// metadata service. No request was sent.
    #[error(
        "the environment variable MSAL_MI_DISABLE_IMDS_V2 disables version 2 of the metadata service, which issues certificates{}",
        unmet(*.required)
    )]
    #[strum(props(code = "mtls_pop_token_not_supported_in_imds_v1"))]
    #[strum(props(fix = "remove the variable, or request a Bearer token without mutual TLS from version 1"))]
    ImdsV2Disabled {
        /// The key strength that the application requires. Version 1 has no key, so no strength is met.
        required: Option<KeyStrength>,
    },
    /// The source cannot select the identity.
    #[error(transparent)]
    Identity(#[from] SourceError),
    /// The platform issued a certificate that the client cannot use.
    #[error("the issued certificate is not usable: {reason}")]
    #[strum(props(
        code = "invalid_certificate",
        fix = "send the request again; if the error remains, report it to the platform"
    ))]
    Certificate {
        /// The reason why the certificate is not usable.
        reason: String,
    },
    /// The machine's key cannot be used.
    #[error("the machine's key cannot be used: {0}")]
    #[strum(props(code = "cryptographic_error"))]
    Key(#[from] KeyError),
    /// The folder for certificates cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The protection of the key is weaker than required.
    #[error("the key strength is {actual}, but the key strength {required} is required")]
    #[strum(props(code = "min_strength_not_met"))]
    #[strum(props(
        fix = "use a key provider with at least this key strength, or require a lower key strength"
    ))]
    Strength {
        /// The actual protection of the key.
        actual: KeyStrength,
        /// The required protection.
        required: KeyStrength,
    },
    /// The attestation hook returned no attestation.
    #[error("the key could not be attested: {reason}")]
    #[strum(props(code = "attestation_failed"))]
    #[strum(props(fix = "remove the cause that the attestation hook names in this message"))]
    Attestation {
        /// The reason why there is no attestation.
        reason: String,
    },
    /// The challenge of an Arc agent cannot be answered.
    #[error("the agent's challenge cannot be answered: {reason}")]
    #[strum(props(code = "managed_identity_request_failed"))]
    #[strum(props(
        fix = "run the program as a user that may read the agent's tokens (group himds); if the message names a different reason, repair or update the Azure Arc agent; its challenge works on Linux only"
    ))]
    Challenge {
        /// The reason why the challenge cannot be answered.
        reason: String,
    },
    /// Neither version of the metadata service was found, and no other source was found.
    #[error("no managed identity was found: {0}")]
    #[strum(props(code = "managed_identity_all_sources_unavailable"))]
    #[strum(props(
        fix = "run the program on a machine that has managed identities, or set the platform's variables; the program must reach 169.254.169.254 without a proxy"
    ))]
    NoSource(Box<NoImds>),
    /// The search for the metadata service took longer than the caller allowed. The client stores no result, so
    /// the next call starts a new search.
    #[error("the search for the metadata service took longer than {} s", .limit.as_secs_f32())]
    #[strum(props(code = "request_timeout"))]
    #[strum(props(
        fix = "allow more time; the client repeats each probe for up to 7 s if the metadata service is busy, or up to 70 s during an update of this service"
    ))]
    DiscoveryTimedOut {
        /// The time limit of the whole search.
        limit: Duration,
    },
    /// The request has no valid URL.
    #[error("the request to {origin} has no valid URL")]
    #[strum(props(code = "invalid_managed_identity_endpoint"))]
    #[strum(props(
        fix = "check the endpoint in the environment, the scope and the identity's id: the URL may be too long"
    ))]
    Url {
        /// The source of the managed identity.
        origin: MachineSource,
    },
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    #[strum(props(code = "runtime_shut_down", fix = "keep the runtime running until the token has arrived"))]
    ShuttingDown,
    /// The agent did not confirm that the token is for the requested identity.
    #[error("the agent returned a token, but did not confirm that the token is for the requested identity")]
    #[strum(props(code = "user_assigned_managed_identity_not_supported"))]
    #[strum(props(fix = "update the agent, or use the system-assigned identity"))]
    IdentityNotConfirmed,
    /// The request was not sent. In its response to an equal request, the platform had asked the client to wait
    /// (`Retry-After`).
    #[error("{first}; the platform asked the client to wait, so this request was not sent; {} s are left", whole_seconds(*.left))]
    Throttled {
        /// The error of that response.
        first: Box<PlatformError>,
        /// The remaining time of the wait.
        left: Duration,
    },
}

/// Returns the end of a sentence about a required key strength.
fn unmet(required: Option<KeyStrength>) -> String {
    required.map_or_else(String::new, |required| format!(", so the key strength {required} cannot be met"))
}

/// The address of the metadata service on a virtual machine.
const IMDS_ADDRESS: &str = "169.254.169.254";

/// Returns the name of a source's endpoint in a sentence.
fn name_of(origin: MachineSource) -> String {
    match origin {
        MachineSource::Imds => format!("the metadata service ({origin})"),
        _ => format!("the managed identity endpoint ({origin})"),
    }
}

impl PlatformError {
    /// Turns a refusal into `AttestationRequired` if its message names a missing attestation token. The platform has no
    /// code for this case.
    pub(crate) fn or_attestation_required(self) -> Self {
        match self {
            Self::Refused { origin, host, answer }
                if answer.status == 400
                    && answer.message.to_ascii_lowercase().contains("attestation token") =>
            {
                Self::AttestationRequired { origin, host, answer }
            }
            Self::Throttled { first, left } => {
                Self::Throttled { first: Box::new(first.or_attestation_required()), left }
            }
            other => other,
        }
    }

    /// Returns the host of the endpoint, if the error contains the host.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Refused { host, .. }
            | Self::Malformed { host, .. }
            | Self::AttestationRequired { host, .. } => Some(host),
            Self::Unreachable { cause, .. } => cause.host(),
            Self::Throttled { first, .. } => first.host(),
            _ => None,
        }
    }

    /// Returns the correlation id in the platform's response.
    pub fn correlation_id(&self) -> Option<&str> {
        match self {
            Self::Refused { answer, .. } | Self::AttestationRequired { answer, .. } => {
                answer.correlation_id.as_deref()
            }
            Self::Throttled { first, .. } => first.correlation_id(),
            _ => None,
        }
    }

    /// Returns the wait that the platform demands before the next request, or the remaining part of this wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { answer, .. } | Self::AttestationRequired { answer, .. } => answer.retry_after,
            Self::Throttled { left, .. } => Some(*left),
            _ => None,
        }
    }

    /// Removes the client's own secrets from the quoted parts of a response.
    pub(crate) fn redact(&mut self, secrets: &OwnSecrets) {
        match self {
            Self::Refused { answer, .. } | Self::AttestationRequired { answer, .. } => answer.redact(secrets),
            Self::Malformed { answer, .. } => answer.redact(secrets),
            Self::Throttled { first, .. } => first.redact(secrets),
            _ => {}
        }
    }

    /// Returns the same error without the client's own secrets.
    pub(crate) fn without(mut self, secrets: &OwnSecrets) -> Self {
        self.redact(secrets);
        self
    }

    pub(crate) fn unusable(reason: &str) -> Self {
        Self::Certificate { reason: reason.to_owned() }
    }

    /// Returns MSAL's name for this error, or certbound's own name if MSAL has no name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { answer, .. } => answer.code(),
            Self::Unreachable {
                cause: cause @ TransportError::TimedOut { phase: Phase::Exchange, .. },
                ..
            } => cause.code(),
            Self::ImdsV2Disabled { required: Some(_) } => "min_strength_not_met",
            Self::Identity(error) => error.code(),
            Self::State(error) => error.code(),
            Self::Throttled { first, .. } => first.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Refused { answer, .. } if answer.status == 400 => {
                "assign the identity to this machine, and check its id and the resource"
            }
            Self::Malformed { answer, .. } => answer.fix(),
            Self::Unreachable { origin: MachineSource::Imds, cause }
                if cause.host() != Some(IMDS_ADDRESS) =>
            {
                "check AZURE_POD_IDENTITY_AUTHORITY_HOST, which names the address of the metadata service; without this variable it is 169.254.169.254"
            }
            Self::Unreachable { origin: MachineSource::Imds, .. } => {
                "run the program on a machine with managed identities; it must reach 169.254.169.254 without a proxy"
            }
            Self::Unreachable { cause: cause @ TransportError::ServerNotPinned { .. }, .. } => cause.fix(),
            Self::Identity(error) => error.fix(),
            Self::State(error) => error.fix(),
            Self::Key(error) => {
                error.fix().unwrap_or("remove the cause that the key store names in this message")
            }
            Self::Throttled { .. } => WAIT,
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }

    /// Returns whether the same call may succeed later without a change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { answer, .. } => answer.is_transient(),
            Self::Unreachable { cause, .. } => cause.is_transient(),
            Self::NoSource(found) => found.is_transient(),
            Self::Key(error) => error.is_transient(),
            Self::ShuttingDown | Self::Throttled { .. } | Self::DiscoveryTimedOut { .. } => true,
            _ => false,
        }
    }
}
