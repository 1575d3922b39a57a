//! FIPS 140-3: whether the cryptography of this program is a FIPS module.

/// Whether this build requires a FIPS module: the cargo feature `fips` is on.
pub const IS_REQUIRED: bool = cfg!(feature = "fips");

/// Returns the version of the FIPS module of AWS-LC, or `None` if the cryptography of this program is not the FIPS
/// module.
///
/// The module tests itself when the program starts. If a self-test fails, the module ends the process.
pub fn module() -> Option<&'static str> {
    aws_lc_rs::try_fips_mode().is_ok().then(aws_lc_rs::awslc_version)
}

/// Cryptography outside FIPS mode, in a build that requires FIPS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this build requires FIPS, but {what} is not in FIPS mode")]
pub struct NotFips {
    what: &'static str,
}

impl NotFips {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        "fips_not_active"
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        "link the FIPS module of AWS-LC and allow only FIPS algorithms in the TLS configuration, or build without the feature `fips`"
    }
}

/// Refuses cryptography outside FIPS mode, if this build requires FIPS.
///
/// # Errors
/// [`NotFips`] if the build requires FIPS and `is_fips` is false.
pub fn require(what: &'static str, is_fips: bool) -> Result<(), NotFips> {
    check(IS_REQUIRED, what, is_fips)
}

fn check(is_required: bool, what: &'static str, is_fips: bool) -> Result<(), NotFips> {
    match is_required && !is_fips {
        true => Err(NotFips { what }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_build_that_requires_fips_refuses_other_cryptography() {
        assert_eq!(check(true, "TLS", false), Err(NotFips { what: "TLS" }));
        for (is_required, is_fips) in [(true, true), (false, false), (false, true)] {
            assert_eq!(check(is_required, "TLS", is_fips), Ok(()), "{is_required} {is_fips}");
        }
    }

    #[test]
    fn the_module_is_the_one_that_the_feature_selects() {
        assert_eq!(module().is_some(), IS_REQUIRED);
        assert_eq!(require("the module", module().is_some()), Ok(()));
        assert_eq!(require("TLS", false).is_err(), IS_REQUIRED);
    }
}
