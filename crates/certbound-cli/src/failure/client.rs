//! Errors of the libraries: their exit codes, and the facts of an error of the client.

use certbound::Error;
use certbound::authority::{AuthorityUrlError, NoExchangeAudience, RegionError, TenantError};
use certbound::error::{
    AssertionError, BindingCertificateError, BuildError, Leg, Misuse, NetworkError, PlatformError,
    StateError, TransportError,
};
use certbound::managed_identity::{IdentityIdError, ManagedIdentityBuildError};
use certbound::region::RegionOutcome;
use certbound::resource::ScopeError;
use certbound_core::endpoint::EndpointError;
use certbound_core::fips::NotFips;
use certbound_core::retry_after::whole_seconds;

use super::{Details, Failure, NETWORK, REFUSED, USAGE, emulator};
use crate::usage::Usage;

impl Failure {
    /// Converts an error of the client library.
    pub(crate) fn of_client(error: &Error) -> Self {
        let what = match (error.leg(), error) {
            // Both legs use this certificate. The leg that finds the mistake need not be the leg with the flag.
            (_, Error::Misuse { what: Misuse::CertificateNotValidNow(_), .. }) => {
                "the certificate cannot be used"
            }
            (Some(Leg::One), Error::Misuse { .. } | Error::Provider { .. }) => "Leg 1 failed",
            (Some(Leg::Two), Error::Misuse { .. } | Error::Provider { .. }) => "Leg 2 failed",
            (None, Error::Misuse { .. } | Error::Provider { .. }) => "the request failed",
            (Some(Leg::One), _) => "Leg 1 returned no assertion",
            (Some(Leg::Two), _) => "Leg 2 returned no token",
            (None, Error::Transport { .. }) => "the request to the host failed",
            (None, _) => "no token was issued",
        };
        let exit = match error {
            Error::Misuse { .. } | Error::Provider { .. } => USAGE,
            Error::Transport {
                cause:
                    TransportError::CertificateNotRequested { .. }
                    | TransportError::CertificateNotRequestedLate { .. }
                    | TransportError::Renegotiated { .. }
                    | TransportError::CertificateRefused { .. },
                ..
            } => REFUSED,
            Error::Platform {
                what: PlatformError::Unreachable { cause: TransportError::ServerNotPinned { .. }, .. },
                ..
            } => REFUSED,
            Error::Transport {
                cause: TransportError::NotHttps | TransportError::KeyNotExportable { .. },
                ..
            } => USAGE,
            Error::Transport { .. } => NETWORK,
            Error::Platform {
                what: PlatformError::Unreachable { .. } | PlatformError::DiscoveryTimedOut { .. },
                ..
            } => NETWORK,
            Error::Platform { what: PlatformError::NoSource(found), .. } if found.is_unreachable() => NETWORK,
            Error::Platform {
                what:
                    PlatformError::SourceCannotBind { .. }
                    | PlatformError::Identity(_)
                    | PlatformError::Url { .. }
                    | PlatformError::State(_)
                    | PlatformError::ImdsV2Disabled { .. }
                    | PlatformError::Strength { .. },
                ..
            } => USAGE,
            _ => REFUSED,
        };
        // The certificate causes this error, and no leg does, so the details contain no leg.
        let mut details = Details::of_client(error);
        if let Error::Misuse { what: Misuse::CertificateNotValidNow(_), .. } = error {
            details.leg = None;
        }
        // The first line already names the leg and the code.
        let text = error.to_string();
        let why = text.strip_prefix("Leg 1: ").or(text.strip_prefix("Leg 2: ")).unwrap_or(&text);
        let why = why.strip_suffix(&format!(" [{}]", error.code())).unwrap_or(why);
        let fix = emulator::fix(error, emulator::is_around()).unwrap_or_else(|| error.fix().to_owned());
        Self { details: Box::new(details), ..Self::new(exit, error.code(), what, why, fix) }
    }
}

impl Details {
    fn of_client(error: &Error) -> Self {
        Self {
            leg: error.leg().map(number),
            aadsts: error.aadsts(),
            correlation_id: error.correlation_id().map(str::to_owned),
            transient: error.is_transient(),
            retry_after: error.retry_after().map(whole_seconds),
            host: error.host().map(str::to_owned),
            endpoint: error.endpoint().map(str::to_owned),
            region: error.region().map(|region| region.as_str().to_owned()),
            region_outcome: error.region_outcome().map(RegionOutcome::name),
            region_source: error.region_outcome().and_then(|it| it.source().map(Into::into)),
            region_reason: error.region_outcome().and_then(RegionOutcome::reason),
            tenant: error.tenant().map(ToString::to_string),
            kind: error.failure(),
        }
    }
}

pub(crate) fn number(leg: Leg) -> u8 {
    match leg {
        Leg::One => 1,
        Leg::Two => 2,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::of_client(&error)
    }
}

impl From<certbound_verifier::BuildError> for Failure {
    fn from(error: certbound_verifier::BuildError) -> Self {
        let fix = match error {
            certbound_verifier::BuildError::NoRule => {
                "give --require-role, --require-scope or --allow-client"
            }
            _ => error.fix(),
        };
        Self::new(USAGE, error.code(), "the verifier cannot be set up", &error, fix)
    }
}

/// Converts errors to failures with the exit code 2. The macro takes code, text and fix from the error.
macro_rules! input {
    ($($error:ty => $what:literal),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let fix: String = error.fix().into();
                Self::new(USAGE, error.code(), $what, &error, fix)
            }
        })+
    };
}

input! {
    Usage => "the input cannot be used",
    IdentityIdError => "the managed identity cannot be used",
    ManagedIdentityBuildError => "the managed identity cannot be used",
    StateError => "the folder cannot be used",
    TenantError => "the tenant cannot be used",
    RegionError => "the region cannot be used",
    AuthorityUrlError => "the authority cannot be used",
    EndpointError => "the authority cannot be used",
    NoExchangeAudience => "the authority cannot be used for Leg 1",
    ScopeError => "the scope cannot be used",
    BindingCertificateError => "the certificate cannot be used",
    certbound_pkcs11::Pkcs11Error => "the key in the token cannot be used",
    AssertionError => "the assertion cannot be used",
    NotFips => "the cryptography of this program cannot be used",
    NetworkError => "the network configuration cannot be used",
    BuildError => "the client cannot be set up",
    certbound_verifier::IssuerError => "the issuer cannot be used",
}

#[cfg(feature = "tpm")]
input! {
    certbound_tpm::TpmError => "the key in the TPM cannot be used",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blame_decides_the_exit_code() {
        let transport =
            |cause| Failure::of_client(&Error::Transport { leg: Some(Leg::Two), cause, target: None }).exit;
        let host = || "h".to_owned();
        assert_eq!(transport(TransportError::CertificateNotRequested { host: host() }), REFUSED);
        let reason = || "it did not renegotiate".into();
        let late = TransportError::CertificateNotRequestedLate { host: host(), reason: reason() };
        assert_eq!(transport(late), REFUSED);
        assert_eq!(transport(TransportError::Renegotiated { host: host(), reason: reason() }), REFUSED);
        assert_eq!(transport(TransportError::KeyNotExportable { host: host() }), USAGE);
        let refused = TransportError::CertificateRefused {
            host: host(),
            alert: certbound::error::TlsAlert(44),
            reason: "revoked".into(),
        };
        assert_eq!(transport(refused), REFUSED);
        assert_eq!(transport(TransportError::NotHttps), USAGE);
        assert_eq!(transport(TransportError::Connect { host: host(), reason: "no route".into() }), NETWORK);
        let misuse = Error::Misuse { leg: None, what: certbound::error::Misuse::AssertionSpent };
        assert_eq!(Failure::of_client(&misuse).exit, USAGE);
        let peer = Error::PeerMisbehaved {
            leg: Some(Leg::One),
            what: certbound::error::PeerMisbehaved::AssertionNotBound,
            target: None,
        };
        assert_eq!(
            (Failure::of_client(&peer).exit, Failure::of_client(&peer).details.leg),
            (REFUSED, Some(1))
        );
        assert_eq!(Failure::of_client(&peer).why, "the assertion from Leg 1 is not bound to any certificate");
    }
}
