//! Values with units, as they are written on the command line and in the configuration.

use std::time::Duration;

/// Parses a length of time: a number with `ms`, `s`, `m`, `h` or `d`; without a unit it is seconds.
///
/// # Errors
/// What is wrong, as a part of a sentence.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1.0,
        "" | "s" => 1e3,
        "m" => 6e4,
        "h" => 3.6e6,
        "d" => 8.64e7,
        unit => return Err(format!("the unit {unit:?} is none of ms, s, m, h, d")),
    };
    let number: f64 =
        digits.parse().map_err(|_| "it must be a number with a unit, such as 10s".to_owned())?;
    let ms = number * unit_ms;
    if !(1.0..=3.2e12).contains(&ms) {
        return Err("it must lie between 1ms and 100 years".to_owned());
    }
    Ok(Duration::from_millis(ms.round() as u64))
}

/// Parses a number of bytes: a number with `KiB`, `MiB`, `GiB`, `TiB` (or `K`, `M`, `G`, `T`); without a unit it is
/// bytes.
///
/// # Errors
/// What is wrong, as a part of a sentence.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        unit => return Err(format!("the unit {unit:?} is none of KiB, MiB, GiB, TiB")),
    };
    let number: u64 =
        digits.parse().map_err(|_| "it must be a number with a unit, such as 1GiB".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "it is too large".to_owned())
}

/// Parses a sampling frequency, 1 to 999 Hz.
///
/// # Errors
/// What is wrong, as a part of a sentence.
pub fn frequency(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(hertz) if (1..=999).contains(&hertz) => Ok(hertz),
        _ => Err("the frequency must be a whole number from 1 to 999 Hz".to_owned()),
    }
}

/// Parses a TOML table in one line, with or without its braces: `kind = "a", url = "b"`.
///
/// # Errors
/// What is wrong, as a part of a sentence.
pub fn table<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    #[derive(serde::Deserialize)]
    struct Outer<T> {
        table: T,
    }
    let text = text.trim();
    let braced = if text.starts_with('{') { text.to_owned() } else { format!("{{ {text} }}") };
    let outer: Result<Outer<T>, _> = toml::from_str(&format!("table = {braced}"));
    outer.map(|outer| outer.table).map_err(|error| error.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(duration("3"), Ok(Duration::from_secs(3)));
        for wrong in ["", "s", "-1s", "0s", "10 parsecs", "1e400s", "NaN"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("128MiB"), Ok(128 << 20));
        assert_eq!(bytes("7"), Ok(7));
        assert!(bytes("-1").is_err());
        assert!(bytes("99999999999TiB").is_err());
        assert!(bytes("1PiB").is_err());
    }

    #[test]
    fn frequencies() {
        assert_eq!(frequency("99"), Ok(99));
        for wrong in ["0", "1000", "abc", "-5", "9.5"] {
            assert!(frequency(wrong).is_err(), "{wrong}");
        }
    }
}
