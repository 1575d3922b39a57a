//! The table of failed token requests: the party at fault, and the client's action on its certificate.
//!
//! The client, the emulator's faults and the documentation use this one table.

use strum::VariantArray as _;

use super::AuthorityError;

/// A kind of failure of a token request, or another reason for a new certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// The token service refused the certificate by `invalid_client` with one of [`OF_CERTIFICATE`] or with 392189.
    CertificateRefused,
    /// The token service refused the signed assertion by `invalid_client` with one of [`OF_ASSERTION`].
    AssertionRefused,
    /// The token service refused the kind of the certificate: AADSTS392189 with an `error` other than `invalid_client`.
    CertificateUnsuited,
    /// The token service refused the attestation of the certificate's key by `invalid_client` with one of
    /// [`OF_ATTESTATION`].
    AttestationRefused,
    /// The token service refused the client by `invalid_client` with any other number, or without a number.
    ClientRefused,
    /// The server of the token service rejected the certificate in TLS, by an alert.
    CertificateAlert,
    /// After the client sent the certificate, the connection ended without any part of a response.
    EndedAfterCertificate,
    /// The client rejected the server's certificate, or TLS failed for a reason other than a rejection of the client's
    /// certificate.
    ServerRejected,
    /// The client could not open a connection: the name, the route, the port or the proxy failed.
    NotConnected,
    /// The connection broke before the response was complete, or the response was too large. The failure is
    /// [`Failure::EndedAfterCertificate`] instead if the connection ended directly after the certificate was sent.
    ConnectionLost,
    /// A time limit was exceeded, or the status was 408.
    TimedOut,
    /// The status was 429.
    TooManyRequests,
    /// The status was 500 or above.
    ServiceFailed,
    /// The token service or a resource demanded a token with certain claims.
    ClaimsChallenge,
    /// The token service refused the request for any other reason.
    RequestRefused,
    /// No request failed: the caller forced a refresh.
    ForcedRefresh,
}

/// The party that is at fault for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum Party {
    /// The client's certificate.
    Certificate,
    /// The client's certificate, or the network.
    PerhapsCertificate,
    /// The assertion, or the clock of the machine that made it.
    Assertion,
    /// The attestation of the certificate's key.
    Attestation,
    /// The client's registration, or a credential that is not registered.
    Registration,
    /// The request.
    Request,
    /// The certificate or the TLS configuration of the server.
    Server,
    /// The token service.
    Service,
    /// The network.
    Network,
    /// No party.
    Nobody,
}

/// The action of a client on its certificate after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum CertificateAction {
    /// The client keeps the certificate, and does not repeat the request with another certificate.
    Keep,
    /// The client repeats the request once with another certificate. It may use the old certificate again.
    Suspect,
    /// The client repeats the request once with another certificate. It does not present the old certificate again.
    Refuse,
    /// The client sends the first request with a new certificate.
    Renew,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// The failure.
    pub failure: Failure,
    /// The party at fault.
    pub at_fault: Party,
    /// The action of a managed identity, whose certificate is its only proof, after a failure of its own request.
    pub machine: CertificateAction,
    /// The action of a client whose certificate has a source.
    pub source: CertificateAction,
    /// The action of the Leg 1 whose assertion the failed request presented.
    pub leg1: CertificateAction,
    /// Whether a managed identity drops the attestation token of the key, so that the attestation hook attests the key
    /// again.
    pub attests_again: bool,
}

/// The numbers about the certificate: it is not registered, it was revoked (two numbers), it is outside its validity,
/// its subject is not authorised, it has expired.
pub const OF_CERTIFICATE: [u32; 6] = [700_027, 7_000_214, 7_000_277, 1_000_502, 700_030, 392_204];

/// The numbers about the assertion that the certificate signed: it is outside its time range, its signature is not
/// valid.
pub const OF_ASSERTION: [u32; 2] = [700_024, 7_000_274];

/// The numbers about the attestation token: time range, issuer, claim, `jku` header, signature.
pub const OF_ATTESTATION: [u32; 5] = [1_000_610, 1_000_611, 1_000_612, 1_000_613, 1_000_614];

/// The number about the kind of the certificate: the mutual-TLS host serves only other kinds.
const OF_KIND: u32 = 392_189;

impl Failure {
    /// Every failure, in the order of the table.
    pub const ALL: &'static [Failure] = Self::VARIANTS;

    /// Returns the kind of failure of a refusal. If the refusal has several numbers, each of them counts.
    pub fn of_refusal(answer: &AuthorityError) -> Self {
        let has = |failure: Self| answer.numbers().any(|number| failure.has_number(number));
        match answer.status {
            408 => return Self::TimedOut,
            429 => return Self::TooManyRequests,
            500.. => return Self::ServiceFailed,
            _ => {}
        }
        let is_of_client = answer.code.eq_ignore_ascii_case("invalid_client");
        match () {
            () if is_of_client && has(Self::AttestationRefused) => Self::AttestationRefused,
            () if is_of_client && has(Self::CertificateRefused) => Self::CertificateRefused,
            () if is_of_client && has(Self::AssertionRefused) => Self::AssertionRefused,
            () if is_of_client => Self::ClientRefused,
            () if has(Self::CertificateUnsuited) => Self::CertificateUnsuited,
            () if answer.claims.is_some() => Self::ClaimsChallenge,
            () => Self::RequestRefused,
        }
    }

    /// Returns the number that determines the kind of failure of a refusal. If no number determines the kind, the
    /// result is the first number.
    pub fn number_of(answer: &AuthorityError) -> Option<u32> {
        let failure = Self::of_refusal(answer);
        answer.numbers().find(|number| failure.has_number(*number)).or_else(|| answer.aadsts())
    }

    /// Returns whether the number in a refusal shows this failure.
    fn has_number(self, number: u32) -> bool {
        match self {
            Self::CertificateRefused => OF_CERTIFICATE.contains(&number) || number == OF_KIND,
            Self::CertificateUnsuited => number == OF_KIND,
            Self::AssertionRefused => OF_ASSERTION.contains(&number),
            Self::AttestationRefused => OF_ATTESTATION.contains(&number),
            _ => false,
        }
    }

    /// Returns the row of the failure.
    pub const fn recovery(self) -> Recovery {
        use CertificateAction::{Keep, Refuse, Renew, Suspect};

        // The columns: the party at fault, the machine, the source, Leg 1.
        let (at_fault, machine, source, leg1) = match self {
            Self::CertificateRefused => (Party::Certificate, Refuse, Refuse, Refuse),
            // The token service signed an assertion of Leg 1, so the refusal of this assertion is only weak evidence
            // against the certificate.
            Self::AssertionRefused => (Party::Assertion, Refuse, Refuse, Suspect),
            Self::CertificateUnsuited => (Party::Certificate, Keep, Refuse, Refuse),
            Self::AttestationRefused => (Party::Attestation, Refuse, Keep, Keep),
            Self::ClientRefused => (Party::Registration, Refuse, Keep, Keep),
            Self::CertificateAlert => (Party::Certificate, Refuse, Refuse, Refuse),
            Self::EndedAfterCertificate => (Party::PerhapsCertificate, Suspect, Suspect, Suspect),
            Self::ServerRejected => (Party::Server, Keep, Keep, Keep),
            Self::NotConnected | Self::ConnectionLost => (Party::Network, Keep, Keep, Keep),
            Self::TimedOut | Self::TooManyRequests | Self::ServiceFailed => {
                (Party::Service, Keep, Keep, Keep)
            }
            Self::ClaimsChallenge => (Party::Nobody, Keep, Keep, Keep),
            Self::RequestRefused => (Party::Request, Keep, Keep, Keep),
            Self::ForcedRefresh => (Party::Nobody, Renew, Keep, Keep),
        };
        let attests_again = matches!(self, Self::AttestationRefused);
        Recovery { failure: self, at_fault, machine, source, leg1, attests_again }
    }

    /// The failure as a phrase, for documentation and diagnosis.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::CertificateRefused => {
                "`invalid_client` about the certificate: AADSTS700027, 7000214, 7000277, 1000502, 700030, 392204, 392189"
            }
            Self::AssertionRefused => "`invalid_client` about the signed assertion: AADSTS700024, 7000274",
            Self::CertificateUnsuited => {
                "AADSTS392189 without `invalid_client`: the host does not serve this kind of certificate"
            }
            Self::AttestationRefused => {
                "`invalid_client` about the attestation: AADSTS1000610 to AADSTS1000614"
            }
            Self::ClientRefused => "`invalid_client` with another number or without a number",
            Self::CertificateAlert => "a TLS alert that rejects the client's certificate",
            Self::EndedAfterCertificate => "the connection ended directly after the certificate was sent",
            Self::ServerRejected => "the server's certificate is not trusted, or TLS failed in another way",
            Self::NotConnected => "no connection was opened",
            Self::ConnectionLost => "the connection broke later, or the answer was too large",
            Self::TimedOut => "a time limit was exceeded, or status 408",
            Self::TooManyRequests => "status 429",
            Self::ServiceFailed => "status 500 or above",
            Self::ClaimsChallenge => "a claims challenge of the token service or of a resource",
            Self::RequestRefused => "any other refusal",
            Self::ForcedRefresh => "nothing failed; the caller forces a refresh",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::HeaderFacts;

    fn of(status: u16, body: &str) -> Failure {
        Failure::of_refusal(&AuthorityError::parse(status, &HeaderFacts::default(), body.as_bytes()))
    }

    #[test]
    fn a_refusal_is_one_failure_by_its_status_its_error_and_its_numbers() {
        use Failure::{
            AssertionRefused, AttestationRefused, CertificateRefused, CertificateUnsuited, ClaimsChallenge,
            ClientRefused, RequestRefused, ServiceFailed, TimedOut, TooManyRequests,
        };
        for (status, body, failure) in [
            (401, r#"{"error":"invalid_client","error_codes":[700027]}"#, CertificateRefused),
            (401, r#"{"error":"Invalid_Client","error_codes":[5,7000214]}"#, CertificateRefused),
            (
                401,
                r#"{"error":"invalid_client","error_description":"AADSTS7000277: no."}"#,
                CertificateRefused,
            ),
            (401, r#"{"error":"invalid_client","error_codes":[1000502]}"#, CertificateRefused),
            (401, r#"{"error":"invalid_client","error_codes":[700024]}"#, AssertionRefused),
            (401, r#"{"error":"invalid_client","error_codes":[7000274]}"#, AssertionRefused),
            // A longer number that begins with the digits of a known number is a different number.
            (401, r#"{"error":"invalid_client","error_codes":[7000279]}"#, ClientRefused),
            (401, r#"{"error":"invalid_client","error_codes":[1000610]}"#, AttestationRefused),
            (401, r#"{"error":"invalid_client"}"#, ClientRefused),
            (400, r#"{"error":"invalid_request","error_codes":[392189]}"#, CertificateUnsuited),
            (401, r#"{"error":"invalid_client","error_codes":[392189]}"#, CertificateRefused),
            (400, r#"{"error":"invalid_request","error_codes":[700027]}"#, RequestRefused),
            (400, r#"{"error":"interaction_required","claims":"{}"}"#, ClaimsChallenge),
            (400, "", RequestRefused),
            // The status is read first: the error of an overloaded service is no evidence against a certificate.
            (429, r#"{"error":"invalid_client","error_codes":[700027]}"#, TooManyRequests),
            (503, r#"{"error":"invalid_client","error_codes":[700027]}"#, ServiceFailed),
            (408, r#"{"error":"invalid_client"}"#, TimedOut),
        ] {
            assert_eq!(of(status, body), failure, "{status} {body}");
        }
    }

    /// A certificate source decides by the number, so it must be the number that determined the failure.
    #[test]
    fn the_number_of_a_refusal_is_the_number_that_decides() {
        for (codes, number) in [
            ("[5,7000214]", Some(7_000_214)),
            ("[700027,1000610]", Some(1_000_610)),
            ("[700024,392189]", Some(392_189)),
            ("[5,6]", Some(5)),
            ("[]", None),
        ] {
            let body = format!(r#"{{"error":"invalid_client","error_codes":{codes}}}"#);
            let answer = AuthorityError::parse(401, &HeaderFacts::default(), body.as_bytes());
            assert_eq!(Failure::number_of(&answer), number, "{codes}");
        }
    }

    #[test]
    fn the_meaning_names_every_number() {
        for (failure, numbers) in [
            (Failure::CertificateRefused, &OF_CERTIFICATE[..]),
            (Failure::AssertionRefused, &OF_ASSERTION),
            (Failure::CertificateRefused, &[OF_KIND]),
            (Failure::CertificateUnsuited, &[OF_KIND]),
        ] {
            for number in numbers {
                assert!(failure.meaning().contains(&number.to_string()), "{failure} {number}");
            }
        }
    }

    /// The whole table, as users read it in the documentation: machine, source, Leg 1.
    #[test]
    fn each_row_has_its_actions() {
        use CertificateAction::{Keep, Refuse, Renew, Suspect};
        let rows = [
            (Failure::CertificateRefused, [Refuse, Refuse, Refuse]),
            (Failure::AssertionRefused, [Refuse, Refuse, Suspect]),
            (Failure::CertificateUnsuited, [Keep, Refuse, Refuse]),
            (Failure::AttestationRefused, [Refuse, Keep, Keep]),
            (Failure::ClientRefused, [Refuse, Keep, Keep]),
            (Failure::CertificateAlert, [Refuse, Refuse, Refuse]),
            (Failure::EndedAfterCertificate, [Suspect, Suspect, Suspect]),
            (Failure::ServerRejected, [Keep; 3]),
            (Failure::NotConnected, [Keep; 3]),
            (Failure::ConnectionLost, [Keep; 3]),
            (Failure::TimedOut, [Keep; 3]),
            (Failure::TooManyRequests, [Keep; 3]),
            (Failure::ServiceFailed, [Keep; 3]),
            (Failure::ClaimsChallenge, [Keep; 3]),
            (Failure::RequestRefused, [Keep; 3]),
            (Failure::ForcedRefresh, [Renew, Keep, Keep]),
        ];
        let table = Failure::ALL.iter().map(|failure| {
            let row = failure.recovery();
            (*failure, [row.machine, row.source, row.leg1])
        });
        assert!(table.eq(rows), "the table and its documentation change together");
    }

    /// A failure of the network, the service, the server's certificate or the request never replaces the client's
    /// certificate.
    #[test]
    fn only_a_blamed_certificate_is_replaced() {
        for &failure in Failure::ALL {
            let row = failure.recovery();
            let keeps = [row.machine, row.source, row.leg1].iter().all(|it| *it == CertificateAction::Keep);
            let of_others =
                matches!(row.at_fault, Party::Server | Party::Service | Party::Network | Party::Request);
            assert!(!of_others || keeps, "{failure}");
            assert_eq!(row.machine == CertificateAction::Renew, failure == Failure::ForcedRefresh);
        }
    }
}
