//! The choice of a region: no region, a fixed region, or the region of the machine.

use super::{Region, RegionError};

/// The way in which the region of an authority is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum RegionChoice {
    /// No region: the client sends requests to the global endpoint.
    #[default]
    Global,
    /// A fixed region.
    Fixed(Region),
    /// The region of the machine on which the program runs. The client detects it before a token request.
    Detect,
}

/// The words that MSAL and the Azure SDKs accept instead of a region, each with its meaning.
const WORDS: [(&str, RegionChoice); 3] = [
    ("TryAutoDetect", RegionChoice::Detect),
    ("AutoDiscoverRegion", RegionChoice::Detect),
    ("DisableMsalForceRegion", RegionChoice::Global),
];

impl RegionChoice {
    /// Parses a region or one of the words `TryAutoDetect` (MSAL), `AutoDiscoverRegion` (Azure SDKs) and
    /// `DisableMsalForceRegion` (MSAL), in upper or lower case. The last word means no region.
    ///
    /// # Errors
    /// The error of [`Region::parse`] for a text that is neither one of these words nor a region.
    pub fn parse(text: &str) -> Result<Self, RegionError> {
        match Self::of_word(text) {
            Some(choice) => Ok(choice),
            None => Region::parse(text).map(Self::Fixed),
        }
    }

    pub(super) fn of_word(text: &str) -> Option<Self> {
        WORDS.into_iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, choice)| choice)
    }

    /// Returns the choice that MSAL and the Azure SDKs would make. `given` is the text of the application's own
    /// configuration, and `variable` reads an environment variable. An empty variable counts as not set.
    ///
    /// If `MSAL_DISABLE_REGION` is set, there is no region. Otherwise the first of these texts that is present is
    /// parsed: `given`, `AZURE_REGIONAL_AUTHORITY_NAME`, `MSAL_FORCE_REGION`. If all three texts are absent, there is
    /// no region.
    ///
    /// ```
    /// use certbound_core::region::RegionChoice;
    ///
    /// let choice = RegionChoice::from_environment(None, |name| std::env::var(name).ok())?;
    /// # let _ = choice;
    /// # Ok::<(), certbound_core::region::RegionError>(())
    /// ```
    ///
    /// # Errors
    /// The error of [`RegionChoice::parse`].
    pub fn from_environment(
        given: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, RegionError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        if set("MSAL_DISABLE_REGION").is_some() {
            return Ok(Self::Global);
        }
        let text = given
            .map(str::to_owned)
            .or_else(|| set("AZURE_REGIONAL_AUTHORITY_NAME"))
            .or_else(|| set("MSAL_FORCE_REGION"));
        text.map_or(Ok(Self::Global), |text| Self::parse(&text))
    }
}

impl From<Region> for RegionChoice {
    fn from(region: Region) -> Self {
        Self::Fixed(region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(name: &str) -> Result<RegionChoice, RegionError> {
        Region::parse(name).map(RegionChoice::Fixed)
    }

    #[test]
    fn the_words_of_msal_and_the_azure_sdks_are_choices() {
        for word in ["TryAutoDetect", "tryautodetect", "AutoDiscoverRegion", "AUTODISCOVERREGION"] {
            assert_eq!(RegionChoice::parse(word), Ok(RegionChoice::Detect), "{word}");
        }
        assert_eq!(RegionChoice::parse("disablemsalforceregion"), Ok(RegionChoice::Global));
        assert_eq!(RegionChoice::parse("westus3"), fixed("westus3"));
        for bad in ["", "West US 3", "TryAutoDetect\n", "evil.example"] {
            assert!(RegionChoice::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_application_and_the_variables_have_an_order() {
        const DISABLE: (&str, &str) = ("MSAL_DISABLE_REGION", "no");
        const FORCE: (&str, &str) = ("MSAL_FORCE_REGION", "westeurope");
        const AZURE: (&str, &str) = ("AZURE_REGIONAL_AUTHORITY_NAME", "eastus");
        let choose = |given: Option<&str>, set: &[(&str, &str)]| {
            RegionChoice::from_environment(given, |name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(choose(None, &[]), Ok(RegionChoice::Global));
        assert_eq!(choose(Some("westus3"), &[FORCE, AZURE]), fixed("westus3"));
        assert_eq!(choose(None, &[FORCE, AZURE]), fixed("eastus"));
        assert_eq!(choose(None, &[FORCE]), fixed("westeurope"));
        assert_eq!(choose(None, &[("MSAL_FORCE_REGION", "TryAutoDetect")]), Ok(RegionChoice::Detect));
        assert_eq!(choose(Some("DisableMsalForceRegion"), &[FORCE]), Ok(RegionChoice::Global));
        assert_eq!(choose(Some("TryAutoDetect"), &[FORCE]), Ok(RegionChoice::Detect));
        // The switch also overrides a text that is not a region.
        for given in [None, Some("westus3"), Some("TryAutoDetect"), Some("West US 3")] {
            assert_eq!(choose(given, &[DISABLE, FORCE, AZURE]), Ok(RegionChoice::Global), "{given:?}");
        }
        for empty in ["MSAL_DISABLE_REGION", "AZURE_REGIONAL_AUTHORITY_NAME"] {
            assert_eq!(choose(None, &[(empty, ""), FORCE]), fixed("westeurope"), "{empty}");
        }
        assert!(choose(Some(""), &[FORCE]).is_err(), "an application that gives a region must give one");
        assert!(choose(None, &[("MSAL_FORCE_REGION", "West US 3")]).is_err());
    }
}
