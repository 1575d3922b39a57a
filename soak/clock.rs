//! A clock that runs ten times as fast as the machine's clock, so that tokens expire within the soak.

use std::time::Duration;

use certbound::UnixTime;
use certbound::clock::{Clock, SystemClock};

/// The seconds that the clock shows for each second of the machine. Waits are not shortened.
pub(crate) const SPEED: u64 = 10;
/// The lifetime of every token, in seconds of this clock. A token is fresh for half of its lifetime. In a soak of 60
/// seconds, the shortest useful soak, a part is longer than this lifetime.
pub(crate) const LIFETIME: u64 = 160;

/// A moment, in seconds of the fast clock since 1970.
pub(crate) type Moment = u64;

/// The clock of the clients and of the emulator.
#[derive(Clone, Copy)]
pub(crate) struct FastClock {
    machine: SystemClock,
    at: UnixTime,
}

impl FastClock {
    /// Creates a clock that shows the machine's time now.
    pub(crate) fn start() -> Self {
        let machine = SystemClock::new();
        Self { machine, at: machine.now() }
    }

    pub(crate) fn moment(&self) -> Moment {
        self.now().as_secs()
    }
}

impl Clock for FastClock {
    fn now(&self) -> UnixTime {
        self.at.plus(self.machine.monotonic() * u32::try_from(SPEED).unwrap_or(1))
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }
}

impl certbound_emulator::clock::Clock for FastClock {
    fn now(&self) -> UnixTime {
        Clock::now(self)
    }
}

/// Converts a duration of the machine to seconds of the fast clock.
pub(crate) const fn fast(real: Duration) -> Moment {
    (real.as_millis() as u64).div_ceil(1_000 / SPEED)
}
