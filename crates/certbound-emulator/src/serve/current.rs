//! The emulator of a server. It can be replaced while the server runs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::late::LateTls;
use super::tls::Configurations;
use crate::emulator::Emulator;
use crate::error::EmulatorError;
use crate::world::World;

/// The emulator that answers the requests of a [`Server`](super::Server). Clones refer to the same server.
#[derive(Clone)]
pub struct CurrentEmulator {
    running: Arc<ArcSwap<Running>>,
    replacing: Arc<Mutex<()>>,
    /// The TLS library of hosts that request the certificate in a renegotiation.
    late_tls: Option<Arc<dyn LateTls>>,
}

/// An emulator with the TLS configurations of its hosts. The emulator and the configurations are replaced together.
pub(super) struct Running {
    pub(super) emulator: Arc<Emulator>,
    pub(super) tls: Configurations,
}

impl CurrentEmulator {
    pub(super) fn new(
        emulator: Arc<Emulator>,
        late_tls: Option<Arc<dyn LateTls>>,
    ) -> Result<Self, EmulatorError> {
        let running = Running::new(emulator, late_tls.as_ref())?;
        Ok(Self { running: Arc::new(ArcSwap::from_pointee(running)), replacing: Arc::default(), late_tls })
    }

    /// Returns the emulator that answers requests now.
    pub fn get(&self) -> Arc<Emulator> {
        Arc::clone(&self.state().emulator)
    }

    /// Replaces the world. The new world answers every later request, on open connections too. The earlier world
    /// answers the requests in progress. As in [`Emulator::with_world`], keys and certificates stay. The call can take
    /// some tenths of a second, because an external issuer on an emulated host may need a new key.
    ///
    /// # Errors
    /// The errors of [`Emulator::with_world`]. [`EmulatorError::NoLateTls`], if a host of the world requests the
    /// certificate in a renegotiation, and the server has no TLS library for this host. After an error, the earlier
    /// world stays.
    pub fn replace(&self, world: World) -> Result<(), EmulatorError> {
        // Two calls at the same time take effect one after the other. No code panics while the lock is held.
        let _turn = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let emulator = Arc::new(self.state().emulator.with_world(world)?);
        self.running.store(Arc::new(Running::new(emulator, self.late_tls.as_ref())?));
        Ok(())
    }

    /// Returns the TLS library of hosts that request the certificate in a renegotiation.
    pub(super) fn late_tls(&self) -> Option<&dyn LateTls> {
        self.late_tls.as_deref()
    }

    /// Returns the emulator with its TLS configurations. A connection takes both from one call, because the emulator
    /// can be replaced between two calls.
    pub(super) fn state(&self) -> Arc<Running> {
        self.running.load_full()
    }
}

impl Running {
    fn new(emulator: Arc<Emulator>, late_tls: Option<&Arc<dyn LateTls>>) -> Result<Self, EmulatorError> {
        if let (Some(host), None) = (emulator.late_host(), late_tls) {
            return Err(EmulatorError::NoLateTls { host: host.to_owned() });
        }
        let tls = Configurations::new(Arc::clone(&emulator))?;
        Ok(Self { emulator, tls })
    }
}

impl fmt::Debug for CurrentEmulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CurrentEmulator").field(&self.get()).finish()
    }
}
