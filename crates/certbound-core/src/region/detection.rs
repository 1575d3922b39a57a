//! The detection of a region: its sources, its failures, and the outcome that a request reports.

use std::fmt;
use std::time::Duration;

use super::Region;

/// The source of the region of the machine. `Display` writes its stable name: the name of the variable, or
/// `metadata_service`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[non_exhaustive]
pub enum RegionSource {
    /// The environment variable `REGION_NAME`.
    #[strum(serialize = "REGION_NAME")]
    RegionName,
    /// The environment variable `COSMIC_LOCATION`.
    #[strum(serialize = "COSMIC_LOCATION")]
    CosmicLocation,
    /// The metadata service of the machine.
    #[strum(serialize = "metadata_service")]
    MetadataService,
}

/// The region of the machine, and its source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DetectedRegion {
    /// The region.
    pub region: Region,
    /// The source of the region.
    pub source: RegionSource,
}

impl DetectedRegion {
    /// Reads the region from `REGION_NAME`, otherwise from `COSMIC_LOCATION`. Spaces are removed and letters become
    /// lower case, so `West US 3` is `westus3`. A value that is still not a region is ignored. `variable` reads an
    /// environment variable.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        [RegionSource::RegionName, RegionSource::CosmicLocation].into_iter().find_map(|source| {
            let text = variable(source.into())?.replace(' ', "").to_ascii_lowercase();
            Region::parse(&text).ok().map(|region| Self { region, source })
        })
    }
}

/// The reason why the client could not detect the region of the machine. In this case the client uses the global
/// endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DetectionFailure {
    /// The address of the metadata service in the environment is not a URL.
    #[error("the environment variable {variable} is not a URL")]
    NotAUrl {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The client cannot reach the metadata service.
    #[error("the metadata service cannot be reached: {reason}")]
    Unreachable {
        /// The network error.
        reason: String,
    },
    /// The metadata service did not answer in time.
    #[error("the metadata service did not answer within {} s", .limit.as_secs())]
    TimedOut {
        /// The time limit of the detection.
        limit: Duration,
    },
    /// The metadata service answered with a status other than 200.
    #[error("the metadata service answered with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The metadata service does not support the version of the request, and its answer names no supported version.
    #[error(
        "the metadata service does not support the version of the request, and names no version that it supports"
    )]
    NoVersion,
    /// The answer of the metadata service is not a region.
    #[error("the metadata service answered `{shown}`, which is not a region")]
    NotARegion {
        /// The start of the answer, escaped.
        shown: String,
    },
    /// The detection ended without a result: the code that it called panicked, or its runtime was shut down.
    #[error("the detection ended without a result: its code panicked, or its runtime was shut down")]
    Interrupted,
}

impl DetectionFailure {
    /// The stable code. MSAL uses the same code.
    pub fn code(&self) -> &'static str {
        "region_discovery_failed"
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        "set REGION_NAME to the region's short name (such as westus3), or name the region instead of detecting it"
    }
}

/// The way in which the region of a token request was determined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum RegionOutcome {
    /// No region was chosen, or requests of this kind use no region.
    #[default]
    NotUsed,
    /// The application's configuration named the region. For a certificate of a machine, the platform named the region.
    Named,
    /// The client detected the region of the machine.
    Detected {
        /// The source of the region.
        source: RegionSource,
        /// Whether the client used the result of an earlier detection.
        remembered: bool,
    },
    /// The client could not detect the region of the machine, so it used the global endpoint.
    NotDetected {
        /// The reason why the region was not detected.
        failure: DetectionFailure,
    },
    /// The client could not reach the host of the region. The application allowed the global endpoint, so the request
    /// used this endpoint.
    Unreachable {
        /// The region.
        region: Region,
        /// The network error.
        reason: String,
    },
}

impl RegionOutcome {
    /// The stable name: `not_used`, `named`, `detected`, `not_detected` or `unreachable`.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// The source of a detected region.
    pub fn source(&self) -> Option<RegionSource> {
        match self {
            Self::Detected { source, .. } => Some(*source),
            _ => None,
        }
    }

    /// The reason why the client used the global endpoint instead of the chosen region.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::NotDetected { failure } => Some(failure.to_string()),
            Self::Unreachable { region, reason } => {
                Some(format!("the host of the region {region} cannot be reached: {reason}"))
            }
            Self::NotUsed | Self::Named | Self::Detected { .. } => None,
        }
    }
}

/// Writes the outcome for people.
impl fmt::Display for RegionOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.source(), self.reason()) {
            (_, Some(RegionSource::MetadataService), _) => f.write_str("read from the metadata service"),
            (_, Some(variable), _) => write!(f, "read from {variable}"),
            (Self::NotDetected { .. }, _, Some(reason)) => write!(f, "not detected: {reason}"),
            (_, _, Some(reason)) => f.write_str(&reason),
            (Self::Named, _, _) => f.write_str("named"),
            _ => f.write_str("not used"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(name: Option<&str>, location: Option<&str>) -> Option<(String, RegionSource)> {
        let found = DetectedRegion::from_environment(|variable| match variable {
            "REGION_NAME" => name.map(str::to_owned),
            "COSMIC_LOCATION" => location.map(str::to_owned),
            other => panic!("{other} is read"),
        });
        found.map(|found| (found.region.as_str().to_owned(), found.source))
    }

    #[test]
    fn the_first_valid_variable_is_the_region() {
        use RegionSource::{CosmicLocation, RegionName};

        let some = |region: &str, source| Some((region.to_owned(), source));
        assert_eq!(detect(None, None), None);
        assert_eq!(detect(Some("westus3"), Some("eastus")), some("westus3", RegionName));
        assert_eq!(detect(Some("West US 3"), None), some("westus3", RegionName));
        assert_eq!(detect(None, Some("East US")), some("eastus", CosmicLocation));
        let long = "a".repeat(64);
        for bad in
            ["", " ", "west-us", "evil.example/", "westus3\n", "west\tus", "wеstus3", &long, "TryAutoDetect"]
        {
            assert_eq!(detect(Some(bad), Some("EastUS")), some("eastus", CosmicLocation), "{bad:?}");
            assert_eq!(detect(Some(bad), Some(bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn an_outcome_says_how_and_why_not() {
        let region = Region::parse("eastus").unwrap();
        let detected = RegionOutcome::Detected { source: RegionSource::RegionName, remembered: true };
        let failed = RegionOutcome::NotDetected { failure: DetectionFailure::Status { status: 404 } };
        let unreachable = RegionOutcome::Unreachable { region, reason: "refused".to_owned() };
        for (outcome, name, text) in [
            (RegionOutcome::NotUsed, "not_used", "not used"),
            (RegionOutcome::Named, "named", "named"),
            (detected, "detected", "read from REGION_NAME"),
            (failed, "not_detected", "not detected: the metadata service answered with status 404"),
            (unreachable, "unreachable", "the host of the region eastus cannot be reached: refused"),
        ] {
            assert_eq!((outcome.name(), outcome.to_string().as_str()), (name, text));
        }
    }
}
