//! The region of a token request. A region becomes the first label of a host name, so [`Region::parse`] checks it.

mod choice;
mod detection;

use std::fmt;
use std::sync::Arc;

pub use self::choice::RegionChoice;
pub use self::detection::{DetectedRegion, DetectionFailure, RegionOutcome, RegionSource};
use crate::shown::shown;

/// An Azure region name such as `westus3`: one to 63 ASCII letters and digits, kept as written.
///
/// The type does not check that the region exists, or that the token service has an endpoint in the region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Region(Arc<str>);

impl Region {
    /// Parses a region. The string is not trimmed, and its case is kept.
    ///
    /// # Errors
    /// [`RegionError`] if the string is not a region name. A dot or a slash in a region would send the credentials to a
    /// different host.
    pub fn parse(region: &str) -> Result<Self, RegionError> {
        // If a word such as `TryAutoDetect` were accepted as a region, the word would become part of a host name.
        if RegionChoice::of_word(region).is_some() {
            return Err(RegionError::Detection { name: region.to_owned() });
        }
        if (1..=63).contains(&region.len()) && region.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(Self(region.into()));
        }
        Err(if region.is_empty() {
            RegionError::Empty
        } else {
            RegionError::Malformed { shown: shown(region) }
        })
    }

    /// Returns [`RegionChoice::Detect`], the region in which the program runs. The client detects this region before a
    /// token request: from the environment variables `REGION_NAME` and `COSMIC_LOCATION`, otherwise by a request to the
    /// machine's metadata service.
    pub fn detect() -> RegionChoice {
        RegionChoice::Detect
    }

    /// The region as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reason why a string is not a region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    /// The string is empty.
    #[error("the region is empty")]
    Empty,
    /// The string is one of the words by which MSAL and the Azure SDKs switch region detection on or off.
    #[error("`{name}` is not a region: it switches region detection on or off")]
    Detection {
        /// The string.
        name: String,
    },
    /// The string has more than 63 characters, or has a character that is not an ASCII letter or digit.
    #[error(
        "`{shown}` is not a region: a region is 1 to 63 ASCII letters and digits, and becomes part of a host name"
    )]
    Malformed {
        /// The start of the string, escaped.
        shown: String,
    },
}

impl RegionError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        "invalid_region"
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Detection { .. } => "use RegionChoice::parse, which reads this word, or Region::detect()",
            Self::Empty | Self::Malformed { .. } => {
                "give the region's short name (such as westus3, not \"West US 3\"), or leave the region out to use the \
                 global endpoint"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters_and_digits_are_kept_as_written() {
        for region in ["westus3", "WestUS3", "1", "a".repeat(63).as_str()] {
            assert_eq!(Region::parse(region).unwrap().as_str(), region);
        }
    }

    #[test]
    fn nothing_that_could_reroute_is_a_region() {
        for region in [
            "",
            "evil.com/x",
            "evil.com",
            ".",
            "west-us",
            "west us",
            "westus3/",
            "westus3\n",
            "westus3\r\n",
            "\nwestus3",
            "westus3\0",
            "westus3#",
            "westus3?",
            "westus3@",
            "westus3:80",
            "westus3%2e",
            "wеstus3",
            "westus３",
            "westus3\u{ff0e}evil",
            "westus3\u{3002}evil",
            "westus3\u{200d}",
            "wes\u{17f}us3",
            "west\u{212a}",
            "a".repeat(64).as_str(),
        ] {
            assert_eq!(Region::parse(region).unwrap_err().code(), "invalid_region", "{region:?}");
        }
    }

    #[test]
    fn the_switches_of_region_detection_are_no_regions() {
        for name in ["TryAutoDetect", "tryautodetect", "AutoDiscoverRegion", "DISABLEMSALFORCEREGION"] {
            let error = Region::parse(name).unwrap_err();
            assert_eq!(error, RegionError::Detection { name: name.to_owned() });
            assert!(error.fix().contains("RegionChoice::parse"));
        }
    }

    #[test]
    fn a_message_makes_a_look_alike_visible() {
        let message = Region::parse("wеstus3").unwrap_err().to_string();
        assert!(message.starts_with(r"`w\u{435}stus3` is not a region"), "{message}");
    }

    proptest! {
        #[test]
        fn a_region_is_one_label(text in any::<String>()) {
            let is_label = (1..=63).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            prop_assert_eq!(Region::parse(&text).is_ok(), is_label);
        }

        #[test]
        fn one_stray_character_refuses_the_region(
            before in "[a-z0-9]{0,8}",
            stray in any::<char>().prop_filter("stray", |c| !c.is_ascii_alphanumeric()),
            after in "[a-z0-9]{0,8}",
        ) {
            let region = format!("{before}{stray}{after}");
            prop_assert!(Region::parse(&region).is_err());
        }
    }
}
