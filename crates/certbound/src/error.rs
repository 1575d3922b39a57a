//! The errors of this crate, grouped by the party that caused them.

mod assertion;
mod build;
mod certificate;
pub(crate) mod machine_key;
mod misuse;
mod network;
mod peer;
mod platform;
mod probe;
mod provider;
mod state;
mod target;
mod text;
mod tls_alert;
mod transport;
mod transport_advice;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use certbound_core::cause::Cause;
pub use certbound_core::managed_identity::MachineError;
use certbound_core::own_secrets::OwnSecrets;
pub use certbound_core::refusal::AuthorityError;
pub use certbound_core::refusal::recovery::{CertificateAction, Failure, Party, Recovery};
use certbound_core::region::{Region, RegionOutcome};
pub use certbound_core::response::MalformedAnswer;
use certbound_core::tenant::TenantId;

pub use self::assertion::AssertionError;
pub use self::build::BuildError;
pub use self::certificate::{BindingCertificateError, CertificateNotValid};
pub use self::machine_key::KeyError;
pub(crate) use self::machine_key::KeyStrength;
pub use self::misuse::Misuse;
pub use self::network::NetworkError;
pub use self::peer::PeerMisbehaved;
pub use self::platform::PlatformError;
pub use self::probe::{NoImds, ProbeFailure};
pub use self::provider::ProviderError;
pub use self::state::StateError;
pub use self::target::RequestTarget;
use self::text::fix_of_unknown;
pub use self::tls_alert::TlsAlert;
pub use self::transport::{Phase, TransportError, Untrusted};

/// The leg of the two-leg flow to which an error or a request belongs. The direct flow has no legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// The request for the assertion.
    One,
    /// The exchange of the assertion for the resource's token.
    Two,
}

impl Leg {
    /// Returns the number of the leg, `1` or `2`, as spans and metrics name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Two => "2",
        }
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "Leg 1",
            Self::Two => "Leg 2",
        })
    }
}

/// The reason why a call returned no token, or no response of a resource. A failed request adds nothing to the cache.
///
/// `Display` writes the cause, then the endpoint, region and correlation id of the request, and ends with the code in
/// brackets. `code()` returns MSAL's string if MSAL has a string for the error; `docs/errors.md` explains each code.
/// `fix()` returns advice. `is_transient()` returns whether the same call may succeed later. No variant contains a
/// secret.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
// The tag has a whole word, because `Result` uses the tag too. With a tag of one byte, a cached token would be copied in
// parts of different sizes.
#[repr(usize)]
pub enum Error {
    /// The calling code or its configuration is wrong.
    Misuse {
        /// The leg of the error.
        leg: Option<Leg>,
        /// The mistake.
        what: Misuse,
    },
    /// A part that the application provides failed: a Leg 1, a certificate source, a signer, an assertion's file or
    /// function, or the runtime. The original error is among the sources of this error.
    Provider {
        /// The leg of the error.
        leg: Option<Leg>,
        /// The failure.
        what: ProviderError,
    },
    /// The token service broke the protocol. Its response was not used.
    PeerMisbehaved {
        /// The leg of the error.
        leg: Option<Leg>,
        /// The misbehaviour.
        what: PeerMisbehaved,
        /// The target of the request, if it was sent to a token service.
        target: Option<Arc<RequestTarget>>,
    },
    /// The token service refused the request. The error contains the response.
    Refused {
        /// The leg that was refused.
        leg: Option<Leg>,
        /// The response of the token service.
        answer: Arc<AuthorityError>,
        /// The target of the request.
        target: Option<Arc<RequestTarget>>,
    },
    /// The platform on which this program runs returned no token of a managed identity.
    Platform {
        /// The leg of the error.
        leg: Option<Leg>,
        /// The failure.
        what: PlatformError,
    },
    /// The network, TLS or a limit ended the request before the response was complete.
    Transport {
        /// The leg of the error.
        leg: Option<Leg>,
        /// The failure.
        cause: TransportError,
        /// The target of the request, if it was sent to a token service.
        target: Option<Arc<RequestTarget>>,
    },
    /// The request, or its next attempt, was not sent. In its response to an equal request, the token service had asked
    /// the client to wait (`Retry-After`). Except for the remaining time, this error reports the facts of that
    /// response. If the platform of a managed identity asked the client to wait, the error is
    /// [`PlatformError::Throttled`].
    Throttled {
        /// The error of that response.
        first: Arc<Error>,
        /// The remaining time of the wait.
        left: Duration,
    },
}

impl Error {
    /// Returns the stable name of this error: MSAL's name, or certbound's own name if MSAL has no name.
    pub fn code(&self) -> &str {
        match self {
            Self::Misuse { what, .. } => what.code(),
            Self::Provider { what, .. } => what.code(),
            Self::PeerMisbehaved { what, .. } => what.code(),
            Self::Refused { answer, .. } => &answer.code,
            Self::Platform { what, .. } => what.code(),
            Self::Transport { cause, target: Some(target), .. } if target.of_managed_identity => {
                cause.code_of_managed_identity()
            }
            Self::Transport { cause, .. } => cause.code(),
            Self::Throttled { first, .. } => first.code(),
        }
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        if self.clock_error().is_some() {
            return "correct this machine's clock, then send the request again";
        }
        match self {
            Self::Misuse { what, .. } => what.fix(),
            Self::Provider { what, .. } => what.fix(),
            Self::PeerMisbehaved { what, .. } => what.fix(),
            Self::Platform { what, .. } => what.fix(),
            Self::Refused { answer, .. } => answer.fix().unwrap_or_else(|| fix_of_unknown(answer)),
            Self::Transport { cause: TransportError::Connect { .. }, .. } if self.region().is_some() => {
                "check the region, which is a part of the host's name; then check the network and the firewall"
            }
            Self::Transport { cause, .. } => cause.fix(),
            Self::Throttled { .. } => WAIT,
        }
    }

    /// Returns the leg of the error. It is `None` in the direct flow and at a resource.
    pub fn leg(&self) -> Option<Leg> {
        match self {
            Self::Misuse { leg, .. }
            | Self::Provider { leg, .. }
            | Self::PeerMisbehaved { leg, .. }
            | Self::Refused { leg, .. }
            | Self::Platform { leg, .. }
            | Self::Transport { leg, .. } => *leg,
            Self::Throttled { first, .. } => first.leg(),
        }
    }

    /// Returns the target of the request, if it was sent to a token service.
    pub fn target(&self) -> Option<&RequestTarget> {
        match self {
            Self::PeerMisbehaved { target, .. }
            | Self::Refused { target, .. }
            | Self::Transport { target, .. } => target.as_deref(),
            Self::Throttled { first, .. } => first.target(),
            Self::Misuse { .. } | Self::Provider { .. } | Self::Platform { .. } => None,
        }
    }

    /// Returns the host to which the request was sent or should have been sent. The result is `None` if the error is
    /// not about a request.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Transport { cause, .. } => cause.host(),
            Self::Platform { what, .. } => what.host(),
            _ => self.target().map(RequestTarget::host),
        }
    }

    /// Returns the URL of the request to the token service, without its query.
    pub fn endpoint(&self) -> Option<&str> {
        self.target().map(|target| target.endpoint.as_str())
    }

    /// Returns the tenant of the request.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.target()?.tenant.as_ref()
    }

    /// Returns the region of the request. It is `None` for a global endpoint.
    pub fn region(&self) -> Option<&Region> {
        self.target()?.region.as_ref()
    }

    /// Returns the way in which the region of the request was determined. The result is `None` if the error is not
    /// about a request to a token service.
    pub fn region_outcome(&self) -> Option<&RegionOutcome> {
        self.target().map(|target| &target.region_outcome)
    }

    /// Returns the same error with the target of its request.
    pub(crate) fn at(mut self, of_request: RequestTarget) -> Self {
        if let Self::PeerMisbehaved { target, .. }
        | Self::Refused { target, .. }
        | Self::Transport { target, .. } = &mut self
        {
            *target = Some(Arc::new(of_request));
        }
        self
    }

    /// Returns the service's own number, such as 500181 of `AADSTS500181`.
    pub fn aadsts(&self) -> Option<u32> {
        match self {
            Self::Refused { answer, .. } => answer.aadsts(),
            Self::Throttled { first, .. } => first.aadsts(),
            _ => None,
        }
    }

    /// Returns the AADSTS number that determines the recovery after a refusal, or else the first number of the refusal.
    pub(crate) fn deciding_aadsts(&self) -> Option<u32> {
        match self {
            Self::Refused { answer, .. } => Failure::number_of(answer),
            _ => None,
        }
    }

    /// Returns the kind of this failure in the table of recoveries. The result is `None` if the calling code, a part of
    /// the application or the platform failed, or if the response broke the protocol. A throttled request has
    /// [`Failure::TooManyRequests`], because it was not sent.
    pub fn failure(&self) -> Option<Failure> {
        match self {
            Self::Refused { answer, .. } => Some(Failure::of_refusal(answer)),
            Self::Transport { cause, .. } => cause.failure(),
            Self::Throttled { .. } => Some(Failure::TooManyRequests),
            Self::Misuse { .. }
            | Self::Provider { .. }
            | Self::PeerMisbehaved { .. }
            | Self::Platform { .. } => None,
        }
    }

    /// Returns whether the handle of the private key will never sign again, if the handle did not sign a TLS handshake
    /// or an assertion. The result is `None` for every other failure.
    pub(crate) fn not_signed(&self) -> Option<bool> {
        let cause = match self {
            Self::Transport { cause: TransportError::Signer { reason, .. }, .. } => reason,
            Self::Provider { what: ProviderError::Signer { cause }, .. } => cause,
            _ => return None,
        };
        Some(cause.find::<KeyError>().is_some_and(KeyError::is_handle_gone))
    }

    /// Returns the claims challenge of a refusal, verbatim, for [`Acquire::claims`](crate::Acquire::claims).
    pub fn claims(&self) -> Option<&str> {
        match self {
            Self::Refused { answer, .. } => answer.claims.as_deref(),
            Self::Throttled { first, .. } => first.claims(),
            _ => None,
        }
    }

    /// Returns whether the user must sign in or consent again. Usually only a request on behalf of a user has this
    /// result.
    pub fn needs_user(&self) -> bool {
        match self {
            Self::Refused { answer, .. } => answer.needs_user(),
            Self::Throttled { first, .. } => first.needs_user(),
            _ => false,
        }
    }

    /// Returns the correlation id in the response of the service or the platform, or else the id that the request sent.
    pub fn correlation_id(&self) -> Option<&str> {
        let answered = match self {
            Self::Refused { answer, .. } => answer.correlation_id.as_deref(),
            Self::Platform { what, .. } => what.correlation_id(),
            Self::Throttled { first, .. } => first.correlation_id(),
            _ => None,
        };
        answered.or_else(|| self.target().map(|target| target.correlation_id.as_str()))
    }

    /// Returns the time that the service or the platform asks to wait before the next request. If
    /// [`is_throttled`](Error::is_throttled) is true, the result is the remaining part of that time.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { answer, .. } => answer.retry_after,
            Self::Platform { what, .. } => what.retry_after(),
            Self::Throttled { left, .. } => Some(*left),
            _ => None,
        }
    }

    /// Returns whether the request was not sent, because the response to an equal request asked the client to wait:
    /// see [`RetryPolicy`](crate::retry::RetryPolicy).
    pub fn is_throttled(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Platform { what: PlatformError::Throttled { .. }, .. })
    }

    /// Returns whether the same call may succeed later without a change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Misuse { .. } => false,
            Self::Provider { what, .. } => what.is_transient(),
            Self::PeerMisbehaved { what, .. } => what.is_transient(),
            Self::Platform { what, .. } => what.is_transient(),
            Self::Refused { answer, .. } => answer.is_transient(),
            Self::Transport { cause, .. } => cause.is_transient(),
            Self::Throttled { .. } => true,
        }
    }

    /// Returns the same error without the client's own secrets. Some services repeat these secrets in responses, and
    /// programs show and log errors.
    pub(crate) fn without(mut self, secrets: &OwnSecrets) -> Self {
        match &mut self {
            Self::Refused { answer, .. } => Arc::make_mut(answer).redact(secrets),
            Self::PeerMisbehaved { what, .. } => what.redact(secrets),
            Self::Platform { what, .. } => what.redact(secrets),
            // The other errors contain no part of a response. The first error of `Throttled` was redacted when it was
            // created.
            Self::Misuse { .. } | Self::Provider { .. } | Self::Transport { .. } | Self::Throttled { .. } => {
            }
        }
        self
    }

    /// Returns the error that the variant contains.
    fn inner(&self) -> &(dyn std::error::Error + 'static) {
        match self {
            Self::Misuse { what, .. } => what,
            Self::Provider { what, .. } => what,
            Self::PeerMisbehaved { what, .. } => what,
            Self::Platform { what, .. } => what,
            Self::Refused { answer, .. } => &**answer,
            Self::Transport { cause, .. } => cause,
            Self::Throttled { first, .. } => first.inner(),
        }
    }

    /// Returns the first error of `Throttled`. For other variants, it returns the error itself.
    fn answered(&self) -> &Self {
        match self {
            Self::Throttled { first, .. } => first,
            other => other,
        }
    }

    pub(crate) fn misuse(leg: Option<Leg>, what: impl Into<Misuse>) -> Self {
        Self::Misuse { leg, what: what.into() }
    }

    pub(crate) fn provider(leg: Option<Leg>, what: ProviderError) -> Self {
        Self::Provider { leg, what }
    }

    pub(crate) fn peer(leg: Option<Leg>, what: PeerMisbehaved) -> Self {
        Self::PeerMisbehaved { leg, what, target: None }
    }

    pub(crate) fn refused(leg: Option<Leg>, answer: impl Into<Arc<AuthorityError>>) -> Self {
        Self::Refused { leg, answer: answer.into(), target: None }
    }

    pub(crate) fn transport(leg: Option<Leg>, cause: TransportError) -> Self {
        Self::Transport { leg, cause, target: None }
    }
}

/// The source is the original error of the system, of a library or of the application, if an original error exists.
/// `Display` already contains its text.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner().source()
    }
}

/// The advice while a service asks to wait.
pub(crate) const WAIT: &str = "wait for the time that the error names, then send the request again";

/// An assertion is not sent if only this time, or less, is left of its lifetime.
pub(crate) const ASSERTION_MARGIN: Duration = Duration::from_secs(30);
