//! The reasons why no metadata service was found.

use std::fmt;

use super::TransportError;

/// The reasons why neither version of the metadata service was found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NoImds {
    /// The failure of the probe for version 2.
    pub v2: ProbeFailure,
    /// The failure of the probe for version 1.
    pub v1: ProbeFailure,
}

/// The failure of a probe.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ProbeFailure {
    /// The response had a status other than 400. The metadata service refuses a probe with 400.
    Answered {
        /// The HTTP status.
        status: u16,
    },
    /// No response arrived.
    Unreachable(TransportError),
    /// The environment disables this version (`MSAL_MI_DISABLE_IMDS_V2`), so no probe was sent.
    Disabled,
}

impl NoImds {
    /// Returns whether neither probe got a response.
    pub fn is_unreachable(&self) -> bool {
        let got_response = |failure: &&ProbeFailure| matches!(failure, ProbeFailure::Answered { .. });
        ![&self.v2, &self.v1].iter().any(got_response)
    }

    pub(crate) fn is_transient(&self) -> bool {
        [&self.v2, &self.v1].iter().any(|failure| match failure {
            ProbeFailure::Answered { status } => matches!(status, 408 | 410 | 429 | 500..=599),
            ProbeFailure::Unreachable(cause) => cause.is_transient(),
            ProbeFailure::Disabled => false,
        })
    }
}

impl fmt::Display for NoImds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "version 2 of IMDS was not found: {}; version 1 of IMDS was not found: {}",
            self.v2, self.v1
        )
    }
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status } => {
                write!(f, "the service answered with status {status} instead of 400")
            }
            Self::Unreachable(cause) => cause.fmt(f),
            Self::Disabled => {
                f.write_str("the environment variable MSAL_MI_DISABLE_IMDS_V2 disables this version")
            }
        }
    }
}
