//! The persistent handle of a key.

use std::fmt;
use std::str::FromStr;

/// The handles that the owner of a TPM can use: 0x81000000 to 0x817FFFFF. The other persistent handles belong to the
/// platform.
const OWNER: std::ops::RangeInclusive<u32> = 0x8100_0000..=0x817F_FFFF;

/// The persistent handle of a key in a TPM, for example 0x81300001.
///
/// The handle is in the range of the owner, 0x81000000 to 0x817FFFFF (TPM 2.0 Library, Part 2, section 7.5). Its text
/// form is a hexadecimal number with the prefix `0x`.
///
/// ```
/// let handle: certbound_tpm::KeyHandle = "0x81300001".parse()?;
/// assert_eq!(handle.to_string(), "0x81300001");
/// # Ok::<(), certbound_tpm::HandleError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHandle(u32);

impl KeyHandle {
    /// The usual handle of a managed identity's key: 0x8130CB01.
    pub const MACHINE: Self = Self(0x8130_CB01);

    /// Returns the handle, or an error for a number out of the range of the owner.
    ///
    /// # Errors
    /// [`HandleError`].
    pub fn new(number: u32) -> Result<Self, HandleError> {
        match OWNER.contains(&number) {
            true => Ok(Self(number)),
            false => Err(HandleError { text: format!("{number:#x}") }),
        }
    }

    /// Returns the number.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// The error of a text or number that is not a persistent handle of the owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a persistent handle of the owner of a TPM")]
pub struct HandleError {
    /// The text, or its first 32 characters.
    text: String,
}

impl FromStr for KeyHandle {
    type Err = HandleError;

    fn from_str(text: &str) -> Result<Self, HandleError> {
        let wrong = || HandleError { text: text.chars().take(32).collect() };
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).ok_or_else(wrong)?;
        if digits.starts_with('+') {
            return Err(wrong());
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
        Self::new(number).map_err(|_| wrong())
    }
}

impl fmt::Display for KeyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl fmt::Debug for KeyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHandle({self})")
    }
}
