//! The region: the flag, and the meaning of MSAL's two variables.

use certbound::Region;

use crate::failure::Failure;
use crate::usage::Usage;

/// Returns the region. `MSAL_DISABLE_REGION` overrides everything; `MSAL_FORCE_REGION` is used if the flag is missing.
pub(crate) fn region(flag: Option<&str>) -> Result<Option<Region>, Failure> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    choose(flag, set("MSAL_DISABLE_REGION").is_some(), set("MSAL_FORCE_REGION").as_deref())
}

fn choose(flag: Option<&str>, disabled: bool, forced: Option<&str>) -> Result<Option<Region>, Failure> {
    if disabled || flag.is_some_and(|flag| flag.eq_ignore_ascii_case("DisableMsalForceRegion")) {
        return Ok(None);
    }
    let Some(text) = flag.or(forced) else { return Ok(None) };
    // MSAL and the Azure SDKs request detection by these names. As a region they would become part of a host name.
    if ["TryAutoDetect", "AutoDiscoverRegion"].iter().any(|name| text.eq_ignore_ascii_case(name)) {
        return Err(Usage::RegionDetection(text.to_owned()).into());
    }
    Ok(Some(Region::parse(text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_and_msals_variables_keep_their_order() {
        let region = |flag, disabled, forced| {
            choose(flag, disabled, forced)
                .map(|region| region.map(|region| region.as_str().to_owned()))
                .map_err(|it| it.code)
        };
        let some = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(region(None, false, None), Ok(None));
        assert_eq!(region(Some("westus3"), false, Some("eastus")), some("westus3"));
        assert_eq!(region(None, false, Some("eastus")), some("eastus"));
        assert_eq!(region(Some("westus3"), true, Some("eastus")), Ok(None));
        assert_eq!(region(Some("disablemsalforceregion"), false, Some("eastus")), Ok(None));
        assert_eq!(region(Some("West US 3"), true, None), Ok(None));
        for bad in ["West US 3", "a.b", "TryAutoDetect", "AutoDiscoverRegion"] {
            assert_eq!(region(Some(bad), false, None), Err("invalid_region".to_owned()), "{bad}");
        }
    }
}
