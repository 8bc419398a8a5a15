//! Points in time as `--since` and `--until` take them.

use std::str::FromStr;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// A point in time, absolute or before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nanoseconds since the Unix epoch.
    At(i64),
    /// Nanoseconds before now.
    Ago(i64),
}

/// A text that is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no time: write 2026-11-24T15:04:05Z, 2026-11-24 (midnight UTC), or how long ago as 90s, 15m, 2h, 3d, 1w"
)]
pub struct MomentError(String);

/// Letters of relative times and their seconds.
const UNITS: [(char, i64); 5] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800)];

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(written: &str) -> Result<Moment, MomentError> {
        let text = written.trim();
        let moment = OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .or_else(|| day(text))
            .and_then(nanos)
            .map(Moment::At)
            .or_else(|| ago(text).map(Moment::Ago));
        moment.ok_or_else(|| MomentError(written.to_owned()))
    }
}

impl Moment {
    /// Nanoseconds since the Unix epoch, where `now` is given as such.
    #[must_use]
    pub fn nanos(self, now: i64) -> i64 {
        match self {
            Moment::At(nanos) => nanos,
            Moment::Ago(nanos) => now.saturating_sub(nanos),
        }
    }
}

/// Midnight UTC of `2026-11-24`.
pub(super) fn day(text: &str) -> Option<OffsetDateTime> {
    let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
    Some(date.midnight().assume_utc())
}

/// Nanoseconds since the Unix epoch; `None` outside of the years 1677 to 2262.
pub(super) fn nanos(time: OffsetDateTime) -> Option<i64> {
    i64::try_from(time.unix_timestamp_nanos()).ok()
}

fn ago(text: &str) -> Option<i64> {
    let text = text.strip_suffix("ago").unwrap_or(text).trim_end();
    let unit = text.chars().next_back()?;
    let (_, seconds) = UNITS.iter().find(|(letter, _)| *letter == unit)?;
    let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
    i64::from(number).checked_mul(*seconds)?.checked_mul(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_and_relative() {
        let at = |text: &str| text.parse::<Moment>().unwrap().nanos(1_000_000_000_000);
        assert_eq!(at("1970-01-01T00:01:00Z"), 60_000_000_000);
        assert_eq!(at("1970-01-01T01:01:00+01:00"), 60_000_000_000);
        assert_eq!(at("1970-01-02"), 86_400_000_000_000);
        assert_eq!(at("15m"), 100_000_000_000);
        assert_eq!(at("90s ago"), 910_000_000_000);
        assert_eq!(at("0h"), 1_000_000_000_000);
        for wrong in ["", "yesterday", "5", "m", "-5m", "2026-13-01", "2026-11-24T10:00:00"] {
            let error = wrong.parse::<Moment>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{wrong:?} is no time: write 2026-")), "{error}");
        }
    }
}
