//! The text of an error: one line with the cause, the facts of the request, the wait that the service asks for, and the
//! code.

use std::fmt;

use certbound_core::certificate::Thumbprint;
use certbound_core::refusal::recovery::OF_CERTIFICATE;
use certbound_core::retry_after::whole_seconds;
use certbound_core::shown::OneLine;

use super::target::ClockError;
use super::{AuthorityError, Error, PeerMisbehaved, PlatformError, TransportError};

/// Writes one line without control characters, even if a text of a service or of the caller's code contains them.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::fmt::Write as _;

        if let Some(leg) = self.leg() {
            write!(f, "{leg}: ")?;
        }
        let mut line = OneLine(f);
        if let Some(host) = self.unknown_authority() {
            write!(line, "`{host}` is not a login host in Microsoft's directory: ")?;
        } else if let Self::Refused { .. } = self.answered() {
            line.write_str("the token service refused the request: ")?;
        }
        // The sentence of a service ends with a full stop, but this sentence continues.
        write!(line, "{}", self.inner().to_string().trim_end_matches('.'))?;
        if let Some((thumbprint, subject)) = self.refused_certificate() {
            write!(line, "; the certificate of the client is `{subject}` (x5t#S256 {thumbprint})")?;
        }
        if let Some(clock_error) = self.clock_error() {
            write!(line, "; {clock_error}")?;
        }
        match (self, self.retry_after()) {
            (Self::Throttled { .. }, Some(left)) => write!(
                line,
                "; the service asked the client to wait, so this request was not sent; {} s are left",
                whole_seconds(left)
            )?,
            (Self::Platform { what: PlatformError::Throttled { .. }, .. }, _) => {}
            (_, Some(wait)) => {
                write!(line, "; the service asks the client to wait {} s", whole_seconds(wait))?
            }
            (Self::Refused { answer, .. }, None) if answer.is_transient() => {
                line.write_str("; a later request may succeed")?;
            }
            _ => {}
        }
        match (self.target(), self.correlation_id()) {
            (Some(target), _) => write!(line, " ({target})")?,
            (None, Some(id)) => write!(line, " (correlation id {id})")?,
            (None, None) => {}
        }
        write!(line, " [{}]", self.code())
    }
}

/// Returns the advice for a refusal whose AADSTS number is absent or unknown.
pub(super) fn fix_of_unknown(answer: &AuthorityError) -> &'static str {
    match answer.code.as_str() {
        _ if answer.is_transient() && answer.retry_after.is_some() => {
            "wait for the time that the service names, then send the request again; if the service refuses the request again, contact the service's support with the correlation id"
        }
        _ if answer.is_transient() => {
            "send the request again in some seconds; if the service refuses the request again, contact the service's support with the correlation id"
        }
        "not_found" | "non_parsable_oauth_error" | "http_status_not_200" => {
            "check the authority and the region, and that no proxy answers instead of the token service"
        }
        _ => {
            "look up the code in the service's documentation, or contact the service's support with the correlation id"
        }
    }
}

impl Error {
    /// Returns the error of this machine's clock, if the error is about times.
    pub(super) fn clock_error(&self) -> Option<ClockError> {
        let is_about_times = match self {
            Self::Refused { .. } => self.aadsts().is_some_and(|number| ABOUT_TIMES.contains(&number)),
            Self::PeerMisbehaved { what, .. } => matches!(what, PeerMisbehaved::TokenOver { .. }),
            _ => false,
        };
        self.target().filter(|_| is_about_times)?.clock_error()
    }

    /// Returns the thumbprint and subject of the client's certificate, if the service refused the certificate.
    fn refused_certificate(&self) -> Option<(Thumbprint, &str)> {
        let is_refused = match self {
            Self::Transport { cause, .. } => matches!(cause, TransportError::CertificateRefused { .. }),
            _ => self.aadsts().is_some_and(is_about_certificate),
        };
        let target = self.target().filter(|_| is_refused)?;
        Some((target.certificate?, target.certificate_subject.as_deref()?))
    }

    /// Returns the authority's host, if the directory refused it as unknown.
    fn unknown_authority(&self) -> Option<&str> {
        let is_unknown = self.aadsts() == Some(UNKNOWN_INSTANCE);
        self.target().filter(|_| is_unknown)?.authority.as_deref()
    }
}

/// The AADSTS numbers of refusals because of times: of an assertion, of a certificate (three numbers), and of an
/// attestation.
const ABOUT_TIMES: [u32; 5] = [700_024, 392_204, 1_000_502, BAD_SIGNATURE, 1_000_610];

/// The AADSTS number of the refusal of an authority's host by instance discovery.
const UNKNOWN_INSTANCE: u32 = 50_049;

/// The AADSTS number of an invalid signature, or of a certificate outside its validity period.
const BAD_SIGNATURE: u32 = 7_000_274;

/// The AADSTS number for a certificate whose kind the host does not accept.
const UNSUITED: u32 = 392_189;

/// Returns whether the AADSTS number is about a certificate or its signature.
fn is_about_certificate(number: u32) -> bool {
    OF_CERTIFICATE.contains(&number) || [BAD_SIGNATURE, UNSUITED].contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Leg, ProviderError};

    /// Each error contains the unchanged text of a service or of a caller's code.
    #[test]
    fn an_error_is_one_line_whatever_was_written_into_it() {
        let hostile = || "x\u{1b}[2J\u{9b}y\u{202e}\r\nz".to_owned();
        let body = serde_json::json!({ "error": hostile(), "error_description": hostile() }).to_string();
        let answer = AuthorityError::parse(400, &Default::default(), body.as_bytes());
        let peer = |what| Error::peer(Some(Leg::Two), what);
        for error in [
            Error::provider(Some(Leg::One), ProviderError::new(hostile())),
            peer(PeerMisbehaved::TokenTypeDowngraded { asked: "mtls_pop", found: hostile() }),
            peer(PeerMisbehaved::ScopeMismatch { asked: "a".to_owned(), found: hostile() }),
            Error::refused(None, answer),
            Error::transport(
                None,
                TransportError::Proxy { host: "h".to_owned(), proxy: hostile(), reason: hostile().into() },
            ),
        ] {
            let shown = error.to_string();
            assert!(shown.ends_with(&format!(" [{}]", error.code())), "{shown:?}");
            assert!(shown.contains('z') && !shown.contains(certbound_core::shown::is_active), "{shown:?}");
        }
    }
}
