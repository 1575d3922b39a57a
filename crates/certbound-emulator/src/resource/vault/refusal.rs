//! The refusals of a vault, in the words of the real service where they are known.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::json;

use crate::answers::json_response;

/// The newest version of the interface with a number. Later versions are dates.
const NEWEST: &str = "7.6";
/// The longest part of a request that a text repeats, in characters.
const MAX_REPEATED: usize = 200;

/// A refused operation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct VaultRefusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// The code in `innererror`, if the refusal has one.
    pub(super) inner: Option<&'static str>,
}

/// The kind of an object in a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Secret,
    Key,
    Certificate,
}

impl VaultRefusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), inner: None }
    }

    fn with_inner(self, inner: &'static str) -> Self {
        Self { inner: Some(inner), ..self }
    }

    pub(super) fn bad_parameter(message: impl Into<String>) -> Self {
        Self::new(400, "BadParameter", message)
    }

    /// A member of the body is missing, has a wrong type or is too long.
    pub(super) fn invalid_property(name: &str) -> Self {
        Self::bad_parameter(format!("Property {name} has invalid value\r\n"))
    }

    pub(super) fn invalid_name(name: &str) -> Self {
        Self::bad_parameter(format!("The request URI contains an invalid name: {}", short(name)))
    }

    pub(super) fn no_api_version() -> Self {
        Self::bad_parameter(format!(
            "The request does not have the query parameter api-version. Add it: api-version={NEWEST}"
        ))
    }

    pub(super) fn unknown_api_version(version: &str) -> Self {
        Self::bad_parameter(format!(
            "The specified version ({}) is not recognized. Consider using the latest supported version ({NEWEST}).",
            short(version)
        ))
    }

    /// The vault has no object with this name, or the object does not have this version.
    pub(super) fn not_found(object: Object, name: &str, version: &str) -> Self {
        let (code, word) = match object {
            Object::Secret => ("SecretNotFound", "secret"),
            Object::Key => ("KeyNotFound", "key"),
            Object::Certificate => ("CertificateNotFound", "certificate"),
        };
        let id = if version.is_empty() { name.to_owned() } else { format!("{name}/{}", short(version)) };
        Self::new(
            404,
            code,
            format!(
                "A {word} with (name/id) {id} was not found in this key vault. If you recently deleted this \
                 {word} you may be able to recover it using the correct recovery command. For help resolving this \
                 issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
            ),
        )
    }

    pub(super) fn deleted_not_found(name: &str) -> Self {
        Self::new(404, "SecretNotFound", format!("Deleted Secret not found: {name}"))
    }

    pub(super) fn disabled() -> Self {
        Self::new(403, "Forbidden", "Operation get is not allowed on a disabled secret.")
            .with_inner("SecretDisabled")
    }

    pub(super) fn deleted_but_recoverable(name: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!(
                "Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this \
                 state, the secret can only be recovered or purged."
            ),
        )
        .with_inner("ObjectIsDeletedButRecoverable")
    }

    /// The secret belongs to a certificate.
    pub(super) fn managed(name: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!(
                "Secret {name} belongs to the certificate of the same name. This emulator does not change certificates \
                 and their secrets."
            ),
        )
    }

    pub(super) fn forbidden(message: String) -> Self {
        Self::new(403, "Forbidden", message).with_inner("ForbiddenByRbac")
    }

    /// The vault's rules for bound tokens refuse the token. The words of the real service are not known.
    pub(super) fn binding(reason: &str) -> Self {
        Self::new(401, "Unauthorized", format!("tokenBindingParameters of this emulated vault: {reason}."))
    }

    /// A limit of the emulator's storage is reached.
    pub(super) fn full(limit: &str) -> Self {
        Self::new(
            403,
            "Forbidden",
            format!("This emulator stores at most {limit}. Purge deleted secrets, or reset the emulator."),
        )
        .with_inner("EmulatorLimit")
    }

    pub(super) fn not_emulated(method: &Method, path: &str, emulated: &str) -> Self {
        let (method, path) = (short(method.as_str()), short(path));
        Self::new(
            501,
            "NotImplemented",
            format!("This emulator does not emulate {method} {path} of Key Vault. It emulates: {emulated}."),
        )
    }

    /// A part of an emulated operation is not emulated.
    pub(super) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(501, "NotImplemented", message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message)
    }

    pub(super) fn response(&self) -> Response<Bytes> {
        let mut body = json!({ "error": { "code": self.code, "message": self.message } });
        if let Some(inner) = self.inner {
            body["error"]["innererror"] = json!({ "code": inner });
        }
        json_response(self.status, &body)
    }
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_REPEATED).collect()
}
