//! NumericDate (RFC 7519, section 2): the seconds of `exp`, `nbf` and `iat`, with or without a fraction.

use serde_json::Value;

use crate::time::UnixTime;

/// A number of seconds since the epoch, with or without a fraction. [`NumericDate::floor`] rounds it down, and
/// [`NumericDate::ceil`] rounds it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumericDate {
    seconds: u64,
    has_fraction: bool,
}

impl NumericDate {
    /// Reads a JSON number. The result is `None` for a negative number (also `-0`) and for any other type.
    pub(super) fn of_number(value: &Value) -> Option<Self> {
        if let Some(seconds) = value.as_u64() {
            return Some(Self { seconds, has_fraction: false });
        }
        let number = value.as_f64().filter(|number| number.is_finite() && number.is_sign_positive())?;
        let floor = number.floor();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the number is whole, and the cast saturates"
        )]
        let seconds = floor as u64;
        Some(Self { seconds, has_fraction: floor < number })
    }

    /// Returns the last whole second that is not after this date. Use it for `exp`: a token must not be accepted after
    /// its `exp`.
    pub const fn floor(self) -> UnixTime {
        UnixTime::from_secs(self.seconds)
    }

    /// Returns the first whole second that is not before this date. Use it for `nbf` and `iat`: a token must not be
    /// accepted before either time.
    pub const fn ceil(self) -> UnixTime {
        UnixTime::from_secs(self.seconds.saturating_add(self.has_fraction as u64))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ends(value: &Value) -> Option<(u64, u64)> {
        let date = NumericDate::of_number(value)?;
        Some((date.floor().as_secs(), date.ceil().as_secs()))
    }

    #[test]
    fn a_fraction_has_two_ends() {
        assert_eq!(ends(&json!(1_800_000_000.25)), Some((1_800_000_000, 1_800_000_001)));
        assert_eq!(ends(&json!(0.5)), Some((0, 1)));
        assert_eq!(ends(&json!(1e3)), Some((1000, 1000)));
        assert_eq!(ends(&json!(1e300)), Some((u64::MAX, u64::MAX)));
    }

    #[test]
    fn nothing_negative_and_nothing_but_a_number_is_a_date() {
        for wrong in [json!(-1), json!(-0.5), json!(-0.0), json!(null), json!(true), json!([1]), json!("1.5")]
        {
            assert_eq!(ends(&wrong), None, "{wrong}");
        }
    }
}
