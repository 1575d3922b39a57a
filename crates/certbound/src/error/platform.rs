//! What a platform can refuse or get wrong.

use certbound_core::managed_identity::{MachineError, MachineSource, MalformedMachineAnswer, SourceError};
use certbound_core::own_secrets::OwnSecrets;
use strum::EnumProperty as _;

use crate::error::{KeyError, KeyStrength, NoImds, Phase, StateError, TransportError};

/// Why the platform gave no token.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum PlatformError {
    /// It said no.
    #[error("{origin} refused: {answer}")]
    #[strum(props(code = "managed_identity_request_failed"))]
    #[strum(props(fix = "try again later; look the platform's own words up"))]
    Refused {
        /// The source.
        origin: MachineSource,
        /// Its answer.
        answer: MachineError,
    },
    /// Its answer cannot be used.
    #[error("{origin}: {answer}")]
    Malformed {
        /// The source.
        origin: MachineSource,
        /// What is wrong with it.
        answer: MalformedMachineAnswer,
    },
    /// It issues certificates for attested keys only, and there was no attestation.
    #[error("{origin} refused, because the key is not attested: {answer}")]
    #[strum(props(code = "managed_identity_request_failed"))]
    #[strum(props(
        fix = "this machine must attest its key; give an attestation hook, or ask for a Bearer token"
    ))]
    AttestationRequired {
        /// The source.
        origin: MachineSource,
        /// Its answer.
        answer: MachineError,
    },
    /// It could not be reached, or did not answer in time.
    #[error("{origin} cannot be reached: {cause}")]
    #[strum(props(code = "managed_identity_unreachable_network"))]
    #[strum(props(fix = "see whether the platform's agent runs"))]
    Unreachable {
        /// The source.
        origin: MachineSource,
        /// What happened.
        #[source]
        cause: TransportError,
    },
    /// A bound token was asked for where none can be had. Nothing was sent.
    #[error("tokens from {origin} cannot be bound to a certificate")]
    #[strum(props(code = "mtls_pop_not_supported_for_environment"))]
    #[strum(props(fix = "ask for a Bearer token here, or bind by an application's certificate"))]
    SourceCannotBind {
        /// The source.
        origin: MachineSource,
    },
    /// The metadata service issues no certificates.
    #[error("this machine's metadata service issues no certificates, so its tokens cannot be bound to one")]
    #[strum(props(code = "mtls_pop_token_not_supported_in_imds_v1"))]
    #[strum(props(fix = "ask for a Bearer token, or use a newer image or region"))]
    NoCertificates,
    /// The source cannot name the identity.
    #[error(transparent)]
    Identity(#[from] SourceError),
    /// The issued certificate is not what was asked for.
    #[error("the issued certificate is not usable: {reason}")]
    #[strum(props(code = "invalid_certificate", fix = "try again; report it to the platform if it stays"))]
    Certificate {
        /// Why.
        reason: String,
    },
    /// The machine's key.
    #[error("the machine's key: {0}")]
    #[strum(props(code = "cryptographic_error", fix = "see the key store's own error"))]
    Key(#[from] KeyError),
    /// The folder that certificates are kept in.
    #[error(transparent)]
    State(#[from] StateError),
    /// The key is kept less well than demanded.
    #[error("the key is stored in {actual}, but {required} is required")]
    #[strum(props(code = "min_strength_not_met"))]
    #[strum(props(fix = "use a key provider that keeps keys so well, or demand less"))]
    Strength {
        /// How it is kept.
        actual: KeyStrength,
        /// What was demanded.
        required: KeyStrength,
    },
    /// The attestation hook brought nothing.
    #[error("the key could not be attested: {reason}")]
    #[strum(props(code = "attestation_failed", fix = "see the attestation hook's own error"))]
    Attestation {
        /// Why.
        reason: String,
    },
    /// The challenge of an Arc agent.
    #[error("the agent's challenge cannot be answered: {reason}")]
    #[strum(props(code = "managed_identity_request_failed"))]
    #[strum(props(fix = "run as a user that may read the agent's tokens (group himds)"))]
    Challenge {
        /// Why.
        reason: String,
    },
    /// There is no metadata service of either version, and no other source either.
    #[error("no managed identity was found: {0}")]
    #[strum(props(code = "managed_identity_all_sources_unavailable"))]
    #[strum(props(
        fix = "run on a machine that has managed identities, or set the platform's variables; 169.254.169.254 must be reached without a proxy"
    ))]
    NoSource(Box<NoImds>),
    /// What would be asked has no URL.
    #[error("the request to {origin} has no valid URL")]
    #[strum(props(code = "invalid_managed_identity_endpoint"))]
    #[strum(props(fix = "check the endpoint in the environment, and that resource and identity are short"))]
    Url {
        /// The source.
        origin: MachineSource,
    },
    /// The program ends.
    #[error("the runtime is shutting down")]
    #[strum(props(code = "runtime_shut_down", fix = "let the runtime run until the token is there"))]
    ShuttingDown,
    /// An agent that does not say that it looked at the identity asked for.
    #[error("the agent gave a token without saying that it is for the identity asked for")]
    #[strum(props(code = "managed_identity_request_failed"))]
    #[strum(props(fix = "update the agent, or use the system-assigned identity"))]
    IdentityNotConfirmed,
}

impl PlatformError {
    /// The refusal of a request without an attestation, by what it says that it lacks: the platform has no code for it.
    pub(crate) fn or_attestation_required(self) -> Self {
        match self {
            Self::Refused { origin, answer }
                if answer.status == 400
                    && answer.message.to_ascii_lowercase().contains("attestation token") =>
            {
                Self::AttestationRequired { origin, answer }
            }
            other => other,
        }
    }

    /// Takes our own secrets out of what is quoted of an answer.
    pub(crate) fn redact(&mut self, secrets: &OwnSecrets) {
        match self {
            Self::Refused { answer, .. } | Self::AttestationRequired { answer, .. } => answer.redact(secrets),
            Self::Malformed { answer, .. } => answer.redact(secrets),
            _ => {}
        }
    }

    /// The same error without our own secrets.
    pub(crate) fn without(mut self, secrets: &OwnSecrets) -> Self {
        self.redact(secrets);
        self
    }

    pub(crate) fn unusable(reason: &str) -> Self {
        Self::Certificate { reason: reason.to_owned() }
    }

    /// MSAL's name where it has one, else ours.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { answer, .. } => answer.code(),
            Self::Unreachable {
                cause: cause @ TransportError::TimedOut { phase: Phase::Exchange, .. },
                ..
            } => cause.code(),
            Self::Identity(error) => error.code(),
            Self::State(error) => error.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Refused { answer, .. } if answer.status == 400 => {
                "assign the identity to this machine, and check its id and the resource"
            }
            Self::Malformed { answer, .. } => answer.fix(),
            Self::Unreachable { origin: MachineSource::Imds, .. } => {
                "run on a machine that has managed identities; 169.254.169.254 must be reached without a proxy"
            }
            Self::Unreachable { cause: cause @ TransportError::ServerNotPinned { .. }, .. } => cause.fix(),
            Self::Identity(error) => error.fix(),
            Self::State(error) => error.fix(),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }

    /// Whether the same call may succeed later without a change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { answer, .. } => answer.is_transient(),
            Self::Unreachable { cause, .. } => cause.is_transient(),
            Self::NoSource(found) => found.is_transient(),
            Self::ShuttingDown => true,
            _ => false,
        }
    }
}
