//! The emulator of a server, which can be replaced while the server runs.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::tls::Configurations;
use crate::emulator::Emulator;
use crate::error::EmulatorError;

/// The emulator that answers the requests of a [`Server`](super::Server). Clones refer to the same server.
#[derive(Clone)]
pub struct CurrentEmulator(Arc<RwLock<Running>>);

#[derive(Clone)]
struct Running {
    emulator: Arc<Emulator>,
    tls: Arc<Configurations>,
}

impl CurrentEmulator {
    pub(super) fn new(emulator: Arc<Emulator>) -> Result<Self, EmulatorError> {
        Ok(Self(Arc::new(RwLock::new(Running::new(emulator)?))))
    }

    /// Returns the emulator that answers requests now.
    pub fn get(&self) -> Arc<Emulator> {
        self.running().emulator
    }

    /// Replaces the emulator. `emulator` must be made by [`Emulator::with_world`], because clients trust the certificates
    /// of the earlier emulator. It answers every later request, on open connections too. Requests in progress are
    /// answered by the earlier emulator.
    ///
    /// # Errors
    /// [`EmulatorError`] if TLS cannot be configured.
    pub fn replace(&self, emulator: Arc<Emulator>) -> Result<(), EmulatorError> {
        let running = Running::new(emulator)?;
        // The value is replaced in one step, so it is usable even after a panic.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = running;
        Ok(())
    }

    /// Returns the TLS configurations of the emulator.
    pub(super) fn tls(&self) -> Arc<Configurations> {
        self.running().tls
    }

    fn running(&self) -> Running {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Running {
    fn new(emulator: Arc<Emulator>) -> Result<Self, EmulatorError> {
        Ok(Self { tls: Arc::new(Configurations::new(Arc::clone(&emulator))?), emulator })
    }
}

impl fmt::Debug for CurrentEmulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CurrentEmulator").field(&self.get()).finish()
    }
}
