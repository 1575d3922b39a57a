//! The emulated operations, and the paths at which clients find them.

use http::Method;

use super::refusal::VaultRefusal;
use crate::world::check::resources::is_vault_name;

/// An emulated operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    ListSecrets,
    ListSecretVersions,
    GetSecret,
    SetSecret,
    UpdateSecret,
    DeleteSecret,
    ListDeletedSecrets,
    GetDeletedSecret,
    RecoverSecret,
    PurgeSecret,
    ListKeys,
    ListKeyVersions,
    GetKey,
    Sign,
    Verify,
    ListCertificates,
    ListCertificateVersions,
    GetCertificate,
    GetCertificatePolicy,
}

use Operation::{
    DeleteSecret, GetCertificate, GetCertificatePolicy, GetDeletedSecret, GetKey, GetSecret,
    ListCertificateVersions, ListCertificates, ListDeletedSecrets, ListKeyVersions, ListKeys,
    ListSecretVersions, ListSecrets, PurgeSecret, RecoverSecret, SetSecret, Sign, UpdateSecret, Verify,
};

/// The method and the path of each operation. [`Route::of`] uses the first entry that matches a request. If the version
/// in a path is empty, or absent at the end of the path, the path names the current version.
const EMULATED: [(&str, &str, Operation); 19] = [
    ("GET", "/secrets", ListSecrets),
    ("GET", "/secrets/{name}/versions", ListSecretVersions),
    ("GET", "/secrets/{name}/{version}", GetSecret),
    ("PUT", "/secrets/{name}", SetSecret),
    ("PATCH", "/secrets/{name}/{version}", UpdateSecret),
    ("DELETE", "/secrets/{name}", DeleteSecret),
    ("GET", "/deletedsecrets", ListDeletedSecrets),
    ("GET", "/deletedsecrets/{name}", GetDeletedSecret),
    ("POST", "/deletedsecrets/{name}/recover", RecoverSecret),
    ("DELETE", "/deletedsecrets/{name}", PurgeSecret),
    ("GET", "/keys", ListKeys),
    ("GET", "/keys/{name}/versions", ListKeyVersions),
    ("GET", "/keys/{name}/{version}", GetKey),
    ("POST", "/keys/{name}/{version}/sign", Sign),
    ("POST", "/keys/{name}/{version}/verify", Verify),
    ("GET", "/certificates", ListCertificates),
    ("GET", "/certificates/{name}/versions", ListCertificateVersions),
    ("GET", "/certificates/{name}/policy", GetCertificatePolicy),
    ("GET", "/certificates/{name}/{version}", GetCertificate),
];

/// An operation and the object that the path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route<'p> {
    pub(super) operation: Operation,
    /// The name of the object. It is empty for a list of all objects.
    pub(super) name: &'p str,
    /// The version of the object. It is empty for the current version.
    pub(super) version: &'p str,
}

impl<'p> Route<'p> {
    /// Returns the operation of a request.
    ///
    /// # Errors
    /// A refusal with the list of all operations if the request is not emulated, or a refusal of the name.
    pub(super) fn of(method: &Method, path: &'p str) -> Result<Self, VaultRefusal> {
        let route = EMULATED
            .iter()
            .filter(|(known, ..)| *known == method.as_str())
            .find_map(|(_, pattern, operation)| matched(pattern, path, *operation))
            .ok_or_else(|| VaultRefusal::not_emulated(method, path, &list()))?;
        if !route.name.is_empty() && !is_vault_name(route.name) {
            return Err(VaultRefusal::invalid_name(route.name));
        }
        Ok(route)
    }
}

fn matched<'p>(pattern: &str, path: &'p str, operation: Operation) -> Option<Route<'p>> {
    let mut route = Route { operation, name: "", version: "" };
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        match (expected, segments.next()) {
            ("{version}", segment) => route.version = segment.unwrap_or_default(),
            ("{name}", Some(segment)) if !segment.is_empty() => route.name = segment,
            (expected, Some(segment)) if expected == segment => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(route)
}

fn list() -> String {
    EMULATED.map(|(method, pattern, _)| format!("{method} {pattern}")).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_names_its_operation_name_and_version() {
        for (method, path, operation, name, version) in [
            ("GET", "/secrets", ListSecrets, "", ""),
            ("GET", "/secrets/", ListSecrets, "", ""),
            ("GET", "/secrets/a", GetSecret, "a", ""),
            ("GET", "/secrets/a/", GetSecret, "a", ""),
            ("GET", "/secrets/a/1", GetSecret, "a", "1"),
            ("GET", "/secrets/versions", GetSecret, "versions", ""),
            ("GET", "/secrets/a/versions", ListSecretVersions, "a", ""),
            ("PATCH", "/secrets/a/", UpdateSecret, "a", ""),
            ("PATCH", "/secrets/a/1", UpdateSecret, "a", "1"),
            ("DELETE", "/deletedsecrets/a", PurgeSecret, "a", ""),
            ("POST", "/keys/a/1/sign", Sign, "a", "1"),
            ("POST", "/keys/a//sign", Sign, "a", ""),
            ("GET", "/certificates/a/policy", GetCertificatePolicy, "a", ""),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(
                Route::of(&method, path).unwrap(),
                Route { operation, name, version },
                "{method} {path}"
            );
        }
    }

    #[test]
    fn other_requests_are_refused_with_the_list() {
        for (method, path) in [
            (Method::POST, "/secrets"),
            (Method::POST, "/secrets/a/backup"),
            (Method::PUT, "/secrets/a/1"),
            (Method::GET, "/secrets/a/1/2"),
            (Method::POST, "/keys/a/sign"),
            (Method::POST, "/keys/a/1/wrapKey"),
            (Method::GET, "/secrets//1"),
            (Method::GET, "//secrets"),
            (Method::GET, "/"),
            (Method::GET, ""),
            (Method::HEAD, "/secrets"),
        ] {
            let refusal = Route::of(&method, path).unwrap_err();
            assert_eq!((refusal.status, refusal.code), (501, "NotImplemented"), "{method} {path}");
            assert!(refusal.message.contains("POST /keys/{name}/{version}/sign"), "{}", refusal.message);
        }
    }

    #[test]
    fn a_name_has_letters_digits_and_hyphens() {
        let long = |length: usize| format!("/secrets/{}", "a".repeat(length));
        assert!(Route::of(&Method::GET, &long(127)).is_ok());
        for path in [
            long(128).as_str(),
            "/secrets/a_b",
            "/secrets/a%20b",
            "/secrets/a.b",
            "/secrets/..",
            "/keys/\u{e9}",
        ] {
            let refusal = Route::of(&Method::GET, path).unwrap_err();
            assert_eq!((refusal.status, refusal.code), (400, "BadParameter"), "{path}");
        }
    }
}
