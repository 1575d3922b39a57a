//! The region of the machine on which the program runs, and the region outcome of a request.

mod metadata_service;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use certbound_core::time::UnixTime;
use tracing::Instrument as _;

use self::metadata_service::MetadataService;
use crate::cache::single_flight::{Load, SingleFlight, this_runtime};
use crate::clock::{Clock, SystemClock};
use crate::observe::Observer;
use crate::retry::RetryPolicy;
use crate::span;
use crate::transport::{AnyTransport, Transport};

pub use certbound_core::region::{DetectedRegion, DetectionFailure, RegionOutcome, RegionSource};

/// The time for which a failed detection is not repeated.
const PAUSE: Duration = Duration::from_secs(300);

type Detected = Result<DetectedRegion, DetectionFailure>;
/// The result of a detection, and whether an earlier detection found it.
type Found = (Detected, bool);
type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The detection of the region in which the program runs. Clones share its result.
///
/// A client uses the detection before a token request, if the region of its authority is
/// [`Region::detect`](crate::Region::detect). The detection returns the first region that one of these sources names:
///
/// 1. the environment variable `REGION_NAME`,
/// 2. the environment variable `COSMIC_LOCATION`,
/// 3. the metadata service of the machine.
///
/// The metadata service must answer within two seconds, and the request to it never uses a proxy. The address of the
/// service is `http://169.254.169.254`, unless `AZURE_POD_IDENTITY_AUTHORITY_HOST` names a different address.
///
/// Parallel callers share one detection. The requests to the metadata service use the [`RetryPolicy`] and the observer
/// of the client that starts the detection. After a success, the detection does not run again. After a failure,
/// requests use the global endpoint, and five minutes later the next request detects again. If all callers are dropped,
/// the detection ends without a result.
#[derive(Clone)]
pub struct RegionDetector(Arc<Inner>);

/// The parts of the client that starts a detection.
pub(crate) struct Requester {
    pub(crate) transport: Arc<dyn AnyTransport>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) retry_policy: RetryPolicy,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

struct Inner {
    variable: Box<Variables>,
    known: Mutex<Option<Known>>,
    under_way: SingleFlight<Option<tokio::runtime::Id>, Found>,
}

/// The result of the last detection, and the time of its end.
struct Known {
    detected: Detected,
    at: UnixTime,
}

impl RegionDetector {
    /// Returns a detector that reads the environment variables of the process.
    pub fn new() -> Self {
        Self::with_environment(|name| std::env::var(name).ok())
    }

    /// Returns a detector that reads environment variables with the function `variable`.
    pub fn with_environment(variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            variable: Box::new(variable),
            known: Mutex::default(),
            under_way: SingleFlight::default(),
        }))
    }

    /// Returns the detector that the clients of the process share.
    pub fn of_process() -> Self {
        static SHARED: OnceLock<RegionDetector> = OnceLock::new();
        SHARED.get_or_init(Self::new).clone()
    }

    /// Detects the region, as a client with this detection does before its first token request. The metadata service is
    /// asked through `transport`, with the default [`RetryPolicy`]. No observer sees the requests.
    ///
    /// # Errors
    /// [`DetectionFailure`] if no variable names a region and the metadata service returns no region.
    pub async fn region(&self, transport: impl Transport) -> Result<DetectedRegion, DetectionFailure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let requester = || Requester {
            transport: Arc::new(transport),
            clock: Arc::clone(&clock),
            retry_policy: RetryPolicy::default(),
            observer: None,
        };
        self.detect(&*clock, requester).await.0
    }

    /// Returns the region, and whether it is the result of an earlier detection. `requester` is called if this caller
    /// starts a detection.
    pub(crate) async fn detect(&self, clock: &dyn Clock, requester: impl FnOnce() -> Requester) -> Found {
        if let Some(known) = self.0.known(clock.now()) {
            return (known, true);
        }
        let inner = Arc::clone(&self.0);
        let load = move || -> Load<Found> {
            let requester = requester();
            Box::pin(async move {
                // Another detection may have ended in the meantime.
                match inner.known(requester.clock.now()) {
                    Some(known) => (known, true),
                    None => {
                        let detected = inner.find(&requester).await;
                        inner.remember(detected, requester.clock.now())
                    }
                }
            })
        };
        let (found, _) = self.0.under_way.run(this_runtime(), load).await;
        found.unwrap_or((Err(DetectionFailure::Interrupted), false))
    }
}

impl Inner {
    /// Returns the result of the last detection. A failure is forgotten after [`PAUSE`], or if the clock was set back.
    fn known(&self, now: UnixTime) -> Option<Detected> {
        let known = self.lock();
        let known = known.as_ref()?;
        let stands = known.detected.is_ok() || (known.at..known.at.plus(PAUSE)).contains(&now);
        stands.then(|| known.detected.clone())
    }

    async fn find(&self, requester: &Requester) -> Detected {
        if let Some(found) = DetectedRegion::from_environment(&self.variable) {
            return Ok(found);
        }
        let service = MetadataService::find(&self.variable, requester)?;
        let span = span::region_detection();
        let found = service.location().instrument(span.clone()).await;
        match &found {
            Ok(region) => {
                span.record("certbound.region", region.as_str());
            }
            Err(_) => span::failed(&span, "region_not_detected"),
        }
        Ok(DetectedRegion { region: found?, source: RegionSource::MetadataService })
    }

    /// Keeps the result and returns it. If a detection in another runtime has already found a region, that region is
    /// kept and returned instead, as the result of an earlier detection.
    fn remember(&self, detected: Detected, at: UnixTime) -> Found {
        let mut known = self.lock();
        if let Some(Known { detected: Ok(found), .. }) = &*known {
            return (Ok(found.clone()), true);
        }
        match &detected {
            Ok(found) => {
                tracing::info!(region = %found.region, source = %found.source, "the region was detected")
            }
            Err(failure) => {
                tracing::warn!(%failure, "the region was not detected; the global endpoint is used")
            }
        }
        (known.insert(Known { detected, at }).detected.clone(), false)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Known>> {
        // No code panics while the lock is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RegionDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RegionDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionDetector").finish_non_exhaustive()
    }
}
