//! The texts of the table of recoveries: the party at fault for a failure, and the library's action on the certificate.

use certbound::error::{CertificateAction, Failure, Party};

/// A failure of a request, for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blamed {
    pub(super) failure: Failure,
    pub(super) leg: Option<u8>,
}

/// The origin of the certificate of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    #[default]
    File,
    /// The platform issued the certificate to a managed identity.
    Platform,
    /// The platform cannot bind tokens, so the flow has no certificate.
    Absent,
}

impl Blamed {
    /// Returns the party at fault, or `None` if nobody is at fault.
    pub(super) fn at_fault(self) -> Option<&'static str> {
        Some(match self.failure.recovery().at_fault {
            Party::Certificate => "the client certificate",
            Party::PerhapsCertificate => "the client certificate, or the network",
            Party::Assertion => "the assertion, or the clock of the machine that made it",
            Party::Attestation => "the attestation of the certificate's key",
            Party::Registration => {
                "the registration of the application, or a credential that is not registered"
            }
            Party::Request => "the request, that is, the configuration",
            Party::Server => "the certificate or the TLS configuration of the server",
            Party::Service => "the token service",
            Party::Network => "the network",
            // `Nobody`, and parties of later versions of the table.
            _ => return None,
        })
    }

    /// Returns the library's action on the certificate, or `None` if the library keeps the certificate or the flow has
    /// no certificate.
    pub(super) fn then(self, origin: Origin) -> Option<&'static str> {
        let row = self.failure.recovery();
        let action = match (self.leg, origin) {
            // Leg 2 presents the assertion of Leg 1, so the certificate is Leg 1's.
            (Some(2), _) => row.leg1,
            (_, Origin::File) => row.source,
            (_, Origin::Platform | Origin::Absent) => row.machine,
        };
        match (action, origin) {
            (CertificateAction::Refuse, Origin::Platform) => Some(
                "the library requests a new certificate from the platform once, and never presents this certificate again",
            ),
            (CertificateAction::Suspect, Origin::Platform) => Some(
                "the library requests a new certificate from the platform once, and may present this certificate again later",
            ),
            (CertificateAction::Refuse | CertificateAction::Suspect, Origin::File) => Some(
                "the library repeats the request once with a new certificate, if the program has a source of certificates, such as watched files",
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If a row of the table changes, the texts must change too.
    #[test]
    fn every_row_of_the_table_has_its_words() {
        for failure in Failure::ALL {
            let row = failure.recovery();
            for (leg, origin, action) in [
                (Some(1), Origin::Platform, row.machine),
                (Some(1), Origin::File, row.source),
                (Some(2), Origin::Platform, row.leg1),
                (Some(2), Origin::File, row.leg1),
                (None, Origin::Platform, row.machine),
            ] {
                let blamed = Blamed { failure: *failure, leg };
                let replaces = matches!(action, CertificateAction::Refuse | CertificateAction::Suspect);
                assert_eq!(blamed.then(origin).is_some(), replaces, "{failure} {leg:?} {origin:?}");
                assert_eq!(blamed.then(Origin::Absent), None, "there is no certificate");
                let again = blamed.then(origin).is_some_and(|text| text.contains("again later"));
                assert_eq!(
                    again,
                    origin == Origin::Platform && action == CertificateAction::Suspect,
                    "{failure}"
                );
            }
            let blamed = Blamed { failure: *failure, leg: None };
            assert_eq!(blamed.at_fault().is_none(), row.at_fault == Party::Nobody, "{failure}");
        }
    }
}
