//! The errors of Graph, with the codes and texts of the real service where they are known.

use super::EMULATED;

/// An error of Graph.
#[derive(Debug)]
pub(super) struct GraphError {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl GraphError {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        // The message repeats parts of the request, so this function removes control characters and limits the length.
        let message: String = message.into();
        Self { status, code, message: message.chars().filter(|c| !c.is_control()).take(4_000).collect() }
    }

    /// Returns the error of a request, or of a part of a request, that the emulator does not emulate.
    pub(super) fn not_emulated(what: &str) -> Self {
        let what: String = what.chars().take(300).collect();
        let message = format!("This emulator does not emulate {what}. It emulates: {EMULATED}.");
        Self::new(501, "NotImplemented", message)
    }

    /// Returns the error of `addKey` and `removeKey`.
    pub(super) fn no_key_action() -> Self {
        let what = "addKey and removeKey, because it does not check their proofs of possession. Send all keyCredentials \
                    by PATCH of the application instead";
        Self::not_emulated(what)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "Request_BadRequest", message)
    }

    pub(super) fn not_found(id: &str) -> Self {
        let message = format!(
            "Resource '{id}' does not exist or one of its queried reference-property objects are not present."
        );
        Self::new(404, "Request_ResourceNotFound", message)
    }

    pub(super) fn denied() -> Self {
        Self::new(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    }

    pub(super) fn unsupported_query(message: impl Into<String>) -> Self {
        Self::new(400, "Request_UnsupportedQuery", message)
    }
}
