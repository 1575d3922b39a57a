//! The faults that cause the failures in a client's table of recoveries. Tests of the table use them.

use certbound_core::refusal::recovery::{Failure, OF_ASSERTION, OF_ATTESTATION, OF_CERTIFICATE};

use super::FaultResult;

impl FaultResult {
    /// Returns the faults of the token service that cause this failure at a client.
    ///
    /// The list is empty if no fault of the token service causes the failure. A status of 500 or above, and a delay,
    /// are a failure only if the client's retries fail too. `ConnectionReset` is [`Failure::EndedAfterCertificate`]
    /// only on a connection that was just opened. The condition of [`FaultResult::ClientCertificateRefused`] and
    /// [`FaultResult::Unreachable`] can have only the host.
    pub fn causing(failure: Failure) -> Vec<Self> {
        let refusals = |numbers: &[u32]| numbers.iter().map(|number| Self::refusal(*number)).collect();
        match failure {
            Failure::CertificateRefused => {
                let error = Some("invalid_client".to_owned());
                let of_kind =
                    Self::Refusal { aadsts: 392_189, error, status: Some(401), suberror: None, claims: None };
                OF_CERTIFICATE.map(Self::refusal).into_iter().chain([of_kind]).collect()
            }
            Failure::AssertionRefused => refusals(&OF_ASSERTION),
            Failure::CertificateUnsuited => refusals(&[392_189]),
            Failure::AttestationRefused => refusals(&OF_ATTESTATION),
            Failure::ClientRefused => refusals(&[50_012, 7_000_215]),
            Failure::RequestRefused => refusals(&[500_011, 392_196]),
            Failure::CertificateAlert => vec![Self::ClientCertificateRefused],
            Failure::EndedAfterCertificate => vec![Self::ConnectionReset],
            Failure::NotConnected => vec![Self::Unreachable],
            Failure::ConnectionLost => vec![Self::TruncatedBody],
            Failure::TimedOut => vec![Self::Delay { milliseconds: 600_000 }, Self::status(408)],
            Failure::TooManyRequests => vec![Self::status(429)],
            Failure::ServiceFailed => vec![Self::status(500), Self::status(503)],
            Failure::ClaimsChallenge => {
                let claims = Some(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#.to_owned());
                vec![Self::Refusal { aadsts: 53_003, error: None, status: None, suberror: None, claims }]
            }
            // Only Service Fabric has a fault of the server's certificate. A forced refresh is no fault.
            _ => Vec::new(),
        }
    }

    /// Returns the refusal of the token service with this number, and with the usual `error` and status.
    fn refusal(aadsts: u32) -> Self {
        Self::Refusal { aadsts, error: None, status: None, suberror: None, claims: None }
    }

    /// Returns the answer with this status and without a body.
    fn status(status: u16) -> Self {
        Self::Status { status, body: String::new(), retry_after: None, headers: [].into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users plan their tests with this page, so its table must be the table of the client.
    #[test]
    fn the_page_on_faults_has_every_row_of_the_table_of_recoveries() {
        let page = include_str!("../../../../docs/faults.md");
        for &failure in Failure::ALL {
            let row = failure.recovery();
            let line = format!(
                "| {} | {} | {} | {} | {} |",
                failure.meaning(),
                row.at_fault,
                row.machine,
                row.source,
                row.leg1
            );
            assert!(page.contains(&line), "{failure}: docs/faults.md lacks the line\n{line}");
        }
        assert_eq!(page.matches("| keep | keep | keep |").count(), 8);
    }
}
