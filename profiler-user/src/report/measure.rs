//! Values with units, written as google/pprof writes them (its internal/measurement), so that the same profile shows
//! the same digits in both.

/// A unit and how many of its family's smallest it is.
struct Unit {
    name: &'static str,
    aliases: &'static [&'static str],
    factor: f64,
}

/// Units that can be converted into each other.
struct Family {
    units: &'static [Unit],
    /// Used where a value is too small for any unit.
    default: (&'static str, f64),
}

const fn unit(name: &'static str, aliases: &'static [&'static str], factor: f64) -> Unit {
    Unit { name, aliases, factor }
}

static FAMILIES: [Family; 3] = [
    Family {
        units: &[
            unit("B", &["b", "byte"], 1.0),
            unit("kB", &["kb", "kbyte", "kilobyte"], 1024.0),
            unit("MB", &["mb", "mbyte", "megabyte"], 1_048_576.0),
            unit("GB", &["gb", "gbyte", "gigabyte"], 1_073_741_824.0),
            unit("TB", &["tb", "tbyte", "terabyte"], 1_099_511_627_776.0),
            unit("PB", &["pb", "pbyte", "petabyte"], 1_125_899_906_842_624.0),
        ],
        default: ("B", 1.0),
    },
    Family {
        units: &[
            unit("ns", &["ns", "nanosecond"], 1.0),
            unit("us", &["μs", "us", "microsecond"], 1e3),
            unit("ms", &["ms", "millisecond"], 1e6),
            unit("s", &["s", "sec", "second"], 1e9),
            unit("hrs", &["hour", "hr"], 3600e9),
        ],
        default: ("s", 1e9),
    },
    Family {
        units: &[
            unit("n*GCU", &["nanogcu"], 1e-9),
            unit("u*GCU", &["microgcu"], 1e-6),
            unit("m*GCU", &["milligcu"], 1e-3),
            unit("GCU", &["gcu"], 1.0),
            unit("k*GCU", &["kilogcu"], 1e3),
            unit("M*GCU", &["megagcu"], 1e6),
            unit("G*GCU", &["gigagcu"], 1e9),
            unit("T*GCU", &["teragcu"], 1e12),
            unit("P*GCU", &["petagcu"], 1e15),
        ],
        default: ("GCU", 1.0),
    },
];

/// The unit in which a value reads best, instead of a given one.
pub const AUTO: &str = "auto";

impl Family {
    fn find(&self, unit: &str) -> Option<&'static Unit> {
        let lower = unit.to_lowercase();
        let singular = if lower.len() > 2 { lower.strip_suffix('s').unwrap_or(&lower) } else { &lower };
        self.units.iter().find(|unit| unit.aliases.contains(&singular))
    }

    fn convert(&self, value: i64, from: &str, to: &str) -> Option<(f64, &'static str)> {
        let base = float(value) * self.find(from)?.factor;
        let default = (base / self.default.1, self.default.0);
        if to != AUTO {
            return Some(self.find(to).map_or(default, |to| (base / to.factor, to.name)));
        }
        let best = self
            .units
            .iter()
            .filter(|unit| base / unit.factor >= 1.0)
            .max_by(|left, right| left.factor.total_cmp(&right.factor));
        Some(best.map_or(default, |best| (base / best.factor, best.name)))
    }
}

/// Converts a value into another unit, or with [`AUTO`] into the one in which it reads best. Units that say nothing
/// ("count") become "".
#[must_use]
pub fn scale<'a>(value: i64, from: &str, to: &'a str) -> (f64, &'a str) {
    if let Some(positive) = value.checked_neg().filter(|&positive| positive > 0) {
        let (scaled, unit) = scale(positive, from, to);
        return (-scaled, unit);
    }
    if let Some(converted) = FAMILIES.iter().find_map(|family| family.convert(value, from, to)) {
        return converted;
    }
    match to {
        "count" | "sample" | "unit" | AUTO => (float(value), ""),
        _ => (float(value), to),
    }
}

/// A value with its unit, such as `1.20s`, `350ms`, `0`. `to` is a unit or [`AUTO`].
#[must_use]
pub fn label(value: i64, from: &str, to: &str) -> String {
    let (scaled, unit) = scale(value, from, to);
    let digits = format!("{scaled:.2}");
    let digits = digits.strip_suffix(".00").unwrap_or(&digits);
    if digits == "0" || digits == "-0" { "0".to_owned() } else { format!("{digits}{unit}") }
}

/// The share of a value in a total, in percent and never negative; 0 where the total is 0.
#[must_use]
pub fn percent(value: i64, total: i64) -> f64 {
    if total == 0 { 0.0 } else { (float(value) / float(total)).abs() * 100.0 }
}

/// [`percent`] with pprof's digits, unpadded: `100%`, `12.34%`, `0.012%`.
#[must_use]
pub fn percentage(value: i64, total: i64) -> String {
    let percent = percent(value, total);
    if (99.95..=100.05).contains(&percent) {
        "100%".to_owned()
    } else if percent >= 1.0 {
        format!("{percent:.2}%")
    } else {
        format!("{}%", two_digits(percent))
    }
}

/// C's `%.2g` of a number below 1: two significant digits, with an exponent below 0.0001.
fn two_digits(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{number:.1e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if exponent < -4 {
        let digits = digits.strip_suffix(".0").unwrap_or(digits);
        return format!("{digits}e-{:02}", exponent.unsigned_abs());
    }
    let decimals = usize::try_from(1 - exponent).unwrap_or_default();
    let fixed = format!("{number:.decimals$}");
    if fixed.contains('.') { fixed.trim_end_matches('0').trim_end_matches('.').to_owned() } else { fixed }
}

/// The unit that fits both ends of a table: that of its smallest value, unless this is more than a hundred times
/// smaller than the total; then values may shrink to 0.01 of a larger unit. `smallest` is the smallest value that is
/// shown and not 0, or the total where all are 0.
#[must_use]
pub fn common_unit(smallest: i64, total: i64, unit: &str) -> String {
    let (_, of_smallest) = scale(smallest, unit, AUTO);
    let (_, of_total) = scale(total, unit, AUTO);
    let chosen = match smallest.checked_mul(100) {
        Some(hundredfold) if of_smallest != of_total && hundredfold < total => {
            scale(hundredfold, unit, AUTO).1
        }
        _ => of_smallest,
    };
    if chosen.is_empty() { unit.to_owned() } else { chosen.to_owned() }
}

/// A value times a ratio, its fraction cut off.
#[must_use]
#[expect(clippy::as_conversions, reason = "saturates, which is as good as anything so far out")]
pub fn truncated(value: i64, ratio: f64) -> i64 {
    (float(value) * ratio) as i64
}

/// The nearest whole number.
#[must_use]
#[expect(clippy::as_conversions, reason = "saturates, which is as good as anything so far out")]
pub fn rounded(value: f64) -> i64 {
    value.round() as i64
}

/// pprof's float arithmetic; above 2^53 both lose the same digits.
#[expect(clippy::as_conversions, reason = "there is no other conversion from i64 to f64")]
pub(super) fn float(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_as_in_pprof() {
        let cases = [
            (1_200_000_000, "nanoseconds", AUTO, "1.20s"),
            (350_000_000, "nanoseconds", AUTO, "350ms"),
            (350_000_000, "nanoseconds", "s", "0.35s"),
            (999, "ns", AUTO, "999ns"),
            (0, "nanoseconds", AUTO, "0"),
            (1, "nanoseconds", "s", "0"),
            (-1_500, "us", AUTO, "-1.50ms"),
            (3_600_000, "milliseconds", AUTO, "1hrs"),
            (2048, "bytes", AUTO, "2kB"),
            (1_572_864, "bytes", AUTO, "1.50MB"),
            (512, "bytes", "kB", "0.50kB"),
            (42, "count", AUTO, "42"),
            (42, "count", "count", "42"),
            (7, "widgets", "widgets", "7widgets"),
            (i64::MIN, "count", AUTO, "-9223372036854775808"),
        ];
        for (value, from, to, wanted) in cases {
            assert_eq!(label(value, from, to), wanted, "{value} {from} in {to}");
        }
    }

    #[test]
    fn percentages_have_pprofs_digits() {
        let cases = [
            (1, 1, "100%"),
            (9_994, 10_000, "99.94%"),
            (9_996, 10_000, "100%"),
            (1, 3, "33.33%"),
            (-1, 4, "25.00%"),
            (3, 2, "150.00%"),
            (1, 200, "0.5%"),
            (1, 1000, "0.1%"),
            (123, 100_000, "0.12%"),
            (9_999, 1_000_000, "1%"),
            (1, 3_000_000, "3.3e-05%"),
            (1, 10_000_000, "1e-05%"),
            (1, 1_000_000, "0.0001%"),
            (0, 5, "0%"),
            (5, 0, "0%"),
        ];
        for (value, total, wanted) in cases {
            assert_eq!(percentage(value, total), wanted, "{value} of {total}");
        }
    }

    #[test]
    fn one_unit_for_a_table() {
        assert_eq!(common_unit(10_000_000, 90_000_000, "nanoseconds"), "ms");
        assert_eq!(common_unit(10_000_000, 1_500_000_000, "nanoseconds"), "s");
        assert_eq!(common_unit(20_000_000, 1_500_000_000, "nanoseconds"), "ms");
        assert_eq!(common_unit(1_500_000_000, 1_500_000_000, "nanoseconds"), "s");
        assert_eq!(common_unit(1, 1000, "count"), "count");
    }
}
