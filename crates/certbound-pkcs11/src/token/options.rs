//! The settings of a token.

use std::time::Duration;

use certbound::Secret;

/// The settings of a token. The defaults suit an HSM that one program uses.
#[derive(Debug)]
pub struct TokenOptions {
    pub(super) pin: Option<Secret>,
    pub(super) sessions: usize,
    pub(crate) limit: Duration,
    pub(crate) forbids_extractable: bool,
    pub(crate) trusted_as_hardware: bool,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self {
            pin: None,
            sessions: 4,
            limit: Duration::from_secs(10),
            forbids_extractable: false,
            trusted_as_hardware: false,
        }
    }
}

impl TokenOptions {
    /// Sets the PIN for a URI without a PIN. A PIN of the URI takes precedence.
    pub fn pin(mut self, pin: Secret) -> Self {
        self.pin = Some(pin);
        self
    }

    /// Sets the maximum number of sessions, which is the number of signatures at the same time. The default is 4.
    pub fn sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions.max(1);
        self
    }

    /// Sets the time that a caller waits for one call, including the time in the queue. The default is 10 seconds. Two
    /// operations have longer limits: 50 seconds to find or generate the key of a managed identity, and 5 minutes to
    /// generate any other key.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Refuses a private key that can leave the token, or could leave it before. By default the crate uses this key and
    /// logs a warning. A managed identity always refuses this key.
    pub fn forbid_extractable_keys(mut self) -> Self {
        self.forbids_extractable = true;
        self
    }

    /// Counts the keys of the token as keys in hardware, although the module does not report hardware. The modules of
    /// some network HSMs do not report it.
    pub fn trust_as_hardware(mut self) -> Self {
        self.trusted_as_hardware = true;
        self
    }
}
