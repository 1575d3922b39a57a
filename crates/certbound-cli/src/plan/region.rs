//! The region: the flag, and the meaning of MSAL's variables.

use std::env;

use certbound::Authority;
use certbound::authority::RegionChoice;
use certbound::region::{DetectedRegion, RegionOutcome};

use crate::failure::Failure;

/// Returns the choice of the region. `MSAL_DISABLE_REGION` overrides the flag and `MSAL_FORCE_REGION`;
/// `MSAL_FORCE_REGION` is used if the flag is missing.
pub(crate) fn region(flag: Option<&str>) -> Result<RegionChoice, Failure> {
    Ok(RegionChoice::from_environment(flag, variable)?)
}

/// Returns the authority with the region of the environment variables, if its region is to be detected. A command that
/// sends no request can detect the region in no other way.
pub(crate) fn in_region_of_environment(authority: Authority) -> Authority {
    let detected = match authority.region_choice() {
        RegionChoice::Detect => DetectedRegion::from_environment(variable),
        RegionChoice::Global | RegionChoice::Fixed(_) => None,
    };
    match detected {
        Some(DetectedRegion { region, source }) => {
            authority.with_region_outcome(Some(region), RegionOutcome::Detected { source, remembered: false })
        }
        None => authority,
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
