//! The comparison of an assertion with the federated credentials that are registered for the application.

mod check;
mod file;
mod graph;

use certbound_core::environment::{Cloud, exchange_uris};

pub(super) use self::check::check;
pub(super) use self::file::{Registered, read};
use super::report::Difference;

/// Entra writes the GUID of the token exchange into assertions. The credential contains the URI of the token exchange.
const EXCHANGE_GUID: &str = "fb60f99c-7a34-4190-8149-302f77469936";

/// The values of an assertion that a federated credential must contain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audience: String,
}

/// The result of the comparison with the credential that is most similar.
pub(super) struct Comparison<'a> {
    pub(super) credential: &'a Registered,
    pub(super) differences: Vec<Difference>,
}

impl Expected {
    /// Compares the values with each credential, and returns the comparison with the fewest differences. The result is
    /// `None` if there is no credential.
    pub(super) fn compare<'a>(&self, credentials: &'a [Registered], cloud: Cloud) -> Option<Comparison<'a>> {
        let compared = credentials.iter().map(|credential| {
            let differences = self.differences(credential, cloud);
            Comparison { credential, differences }
        });
        // Of two credentials with equally many differences, the credential with the longer equal beginnings is more
        // similar.
        compared.min_by_key(|it| {
            let equal: usize = it.differences.iter().map(|difference| difference.at).sum();
            (it.differences.len(), usize::MAX - equal)
        })
    }

    fn differences(&self, credential: &Registered, cloud: Cloud) -> Vec<Difference> {
        let mut found = Vec::new();
        found.extend(difference("issuer", &self.issuer, &credential.issuer));
        // A credential with an expression has no subject. The token service evaluates the expression.
        match (&credential.subject, &credential.expression) {
            (Some(subject), _) => found.extend(difference("subject", &self.subject, subject)),
            (None, None) => found.extend(difference("subject", &self.subject, "")),
            (None, Some(_)) => {}
        }
        found.extend(self.of_audiences(&credential.audiences, cloud));
        found
    }

    /// Returns `None` if one audience is equal, and otherwise the difference from the audience with the longest equal
    /// beginning.
    fn of_audiences(&self, audiences: &[String], cloud: Cloud) -> Option<Difference> {
        if audiences.contains(&self.audience) {
            return None;
        }
        let compared = audiences.iter().filter_map(|it| difference("audience", &self.audience, it));
        let difference = compared
            .max_by_key(|difference| difference.at)
            .or_else(|| difference("audience", &self.audience, ""))?;
        let how = of_audience(&difference.credential, cloud);
        Some(Difference { how: how.unwrap_or(difference.how), ..difference })
    }
}

/// Returns the difference of two values, or `None` if they are equal byte for byte. The token service compares bytes
/// too.
fn difference(what: &'static str, assertion: &str, credential: &str) -> Option<Difference> {
    if assertion == credential {
        return None;
    }
    let pairs = assertion.chars().zip(credential.chars());
    let at = pairs.take_while(|(one, other)| one == other).count();
    let how = how(assertion, credential);
    Some(Difference { what, assertion: assertion.to_owned(), credential: credential.to_owned(), at, how })
}

fn how(assertion: &str, credential: &str) -> String {
    let (one, other) = (assertion.trim_end_matches('/'), credential.trim_end_matches('/'));
    let says = match () {
        () if credential.is_empty() => "the credential has no value",
        () if assertion.trim() == credential.trim() => "they differ in white space at an end",
        () if one == other && credential.ends_with('/') => "the credential has a slash at its end",
        () if one == other => "the credential has no slash at its end",
        () if assertion.eq_ignore_ascii_case(credential) => "they differ in upper and lower case",
        () if one.eq_ignore_ascii_case(other) => {
            "they differ in upper and lower case and in the slash at the end"
        }
        () => "they differ from here on",
    };
    says.to_owned()
}

/// Explains a registered audience that is a GUID or the audience of another cloud.
fn of_audience(audience: &str, cloud: Cloud) -> Option<String> {
    let is_guid = audience.len() == 36 && audience.matches('-').count() == 4;
    match audience {
        EXCHANGE_GUID => {
            return Some(
                "the credential must have the URI of the token exchange, not its GUID (AADSTS700214)"
                    .to_owned(),
            );
        }
        _ if is_guid => {
            return Some("the credential must have the URI of the token exchange, not a GUID".to_owned());
        }
        _ => {}
    }
    let of = Cloud::ALL
        .iter()
        .find(|other| other.exchange_uri() == Some(audience) && other.exchange_uri() != cloud.exchange_uri());
    match of {
        Some(other) => Some(format!(
            "this is the audience of another cloud ({other}); this authority is in the cloud {cloud}"
        )),
        None if exchange_uris().any(|uri| uri == audience) && Some(audience) != cloud.exchange_uri() => {
            Some(format!("this is the audience of another cloud; this authority is in the cloud {cloud}"))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://login.microsoftonline.com/t/v2.0";
    const AUDIENCE: &str = "api://AzureADTokenExchange";

    fn expected() -> Expected {
        Expected { issuer: ISSUER.to_owned(), subject: "0b4d-a".to_owned(), audience: AUDIENCE.to_owned() }
    }

    fn registered(issuer: &str, subject: &str, audience: &str) -> Registered {
        Registered {
            name: Some("one".to_owned()),
            issuer: issuer.to_owned(),
            subject: Some(subject.to_owned()),
            audiences: vec![audience.to_owned()],
            expression: None,
        }
    }

    #[test]
    fn each_kind_of_difference_is_named_and_has_its_place() {
        let slash = format!("{ISSUER}/");
        for (issuer, subject, audience, what, at, how) in [
            (slash.as_str(), "0b4d-a", AUDIENCE, "issuer", ISSUER.len(), "a slash at its end"),
            (
                "https://login.microsoftonline.com/t/V2.0",
                "0b4d-a",
                AUDIENCE,
                "issuer",
                36,
                "upper and lower case",
            ),
            ("https://sts.windows.net/t/", "0b4d-a", AUDIENCE, "issuer", 8, "from here on"),
            (ISSUER, "0B4d-a", AUDIENCE, "subject", 1, "upper and lower case"),
            (ISSUER, " 0b4d-a", AUDIENCE, "subject", 0, "white space"),
            (ISSUER, "", AUDIENCE, "subject", 0, "no value"),
            (ISSUER, "0b4d-a", "api://AzureADTokenExchange/", "audience", 26, "a slash at its end"),
            (
                ISSUER,
                "0b4d-a",
                "api://AzureADTokenExchangeUSGov",
                "audience",
                26,
                "another cloud (us_government)",
            ),
            (ISSUER, "0b4d-a", "api://AzureADTokenExchangeUSNat", "audience", 26, "another cloud;"),
            (ISSUER, "0b4d-a", EXCHANGE_GUID, "audience", 0, "not its GUID (AADSTS700214)"),
            (ISSUER, "0b4d-a", "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e", "audience", 0, "not a GUID"),
        ] {
            let credentials = [registered(issuer, subject, audience)];
            let found = expected().compare(&credentials, Cloud::Public).unwrap().differences;
            assert_eq!(found.len(), 1, "{issuer} {subject} {audience}");
            assert_eq!((found[0].what, found[0].at), (what, at), "{issuer} {subject} {audience}");
            assert!(found[0].how.contains(how), "{}", found[0].how);
        }
    }

    #[test]
    fn one_of_several_audiences_must_be_equal() {
        let differences = |audiences: &[&str]| {
            let audiences = audiences.iter().map(ToString::to_string).collect();
            let credentials = [Registered { audiences, ..registered(ISSUER, "0b4d-a", "") }];
            expected().compare(&credentials, Cloud::Public).unwrap().differences
        };
        assert_eq!(differences(&["api://other", AUDIENCE]), []);
        let slash = format!("{AUDIENCE}/");
        let found = differences(&["x", &slash, "api://other"]);
        assert_eq!((found.len(), found[0].credential.as_str(), found[0].at), (1, slash.as_str(), 26));
        assert!(found[0].how.contains("slash"), "{}", found[0].how);
        let found = differences(&[]);
        assert_eq!((found.len(), found[0].how.as_str()), (1, "the credential has no value"));
    }

    #[test]
    fn a_credential_without_subject_and_without_expression_has_no_value() {
        let incomplete = Registered { subject: None, ..registered(ISSUER, "", AUDIENCE) };
        let credentials = [incomplete];
        let found = expected().compare(&credentials, Cloud::Public).unwrap().differences;
        assert_eq!((found.len(), found[0].what), (1, "subject"));
        assert_eq!(found[0].how, "the credential has no value");
    }

    #[test]
    fn of_several_credentials_the_most_similar_one_is_compared() {
        let credentials = [
            registered("https://other.example", "x", "y"),
            registered(ISSUER, "0b4d-A", AUDIENCE),
            registered(ISSUER, "zzz", AUDIENCE),
        ];
        let found = expected().compare(&credentials, Cloud::Public).unwrap();
        assert_eq!(found.credential.subject.as_deref(), Some("0b4d-A"));
        let equal = [registered("https://other.example", "x", "y"), registered(ISSUER, "0b4d-a", AUDIENCE)];
        assert_eq!(expected().compare(&equal, Cloud::Public).unwrap().differences, []);
        assert!(expected().compare(&[], Cloud::Public).is_none());
        let flexible = Registered {
            subject: None,
            expression: Some("claims['sub'] eq 'x'".to_owned()),
            ..registered(ISSUER, "", AUDIENCE)
        };
        assert_eq!(expected().compare(&[flexible], Cloud::Public).unwrap().differences, []);
    }
}
