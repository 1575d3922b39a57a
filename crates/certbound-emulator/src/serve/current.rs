//! The emulator of a server, which can be replaced while the server runs.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use super::late::{self, LateTls};
use super::tls::Configurations;
use crate::emulator::Emulator;

/// The emulator that answers the requests of a [`Server`](super::Server). Clones refer to the same server.
#[derive(Clone)]
pub struct CurrentEmulator {
    running: Arc<RwLock<Running>>,
    /// The TLS library of hosts that request the certificate late.
    late_tls: Option<Arc<dyn LateTls>>,
}

#[derive(Clone)]
struct Running {
    emulator: Arc<Emulator>,
    tls: Arc<Configurations>,
}

impl CurrentEmulator {
    pub(super) fn new(emulator: Arc<Emulator>, late_tls: Option<Arc<dyn LateTls>>) -> io::Result<Self> {
        let running = Running::new(emulator, late_tls.clone())?;
        Ok(Self { running: Arc::new(RwLock::new(running)), late_tls })
    }

    /// Returns the emulator that answers requests now.
    pub fn get(&self) -> Arc<Emulator> {
        self.state().emulator
    }

    /// Replaces the emulator. `emulator` must be made by [`Emulator::with_world`], because clients trust the certificates
    /// of the earlier emulator. It answers every later request, on open connections too. Requests in progress are
    /// answered by the earlier emulator.
    ///
    /// # Errors
    /// An I/O error if TLS cannot be configured. [`io::ErrorKind::Unsupported`], if the world has a host that requests the
    /// certificate late, and the server has no TLS for it.
    pub fn replace(&self, emulator: Arc<Emulator>) -> io::Result<()> {
        let running = Running::new(emulator, self.late_tls.clone())?;
        // The value is replaced in one step, so it is usable even after a panic.
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = running;
        Ok(())
    }

    /// Returns the TLS configurations of the emulator.
    pub(super) fn tls(&self) -> Arc<Configurations> {
        self.state().tls
    }

    fn state(&self) -> Running {
        self.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Running {
    fn new(emulator: Arc<Emulator>, late_tls: Option<Arc<dyn LateTls>>) -> io::Result<Self> {
        let late = late::Hosts::new(&emulator, late_tls)?;
        let tls = Configurations::new(Arc::clone(&emulator), late).map_err(io::Error::other)?;
        Ok(Self { tls: Arc::new(tls), emulator })
    }
}

impl fmt::Debug for CurrentEmulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CurrentEmulator").field(&self.get()).finish()
    }
}
