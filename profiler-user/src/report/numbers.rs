//! How the values of a report are written: in which unit, and divided by what.

use super::measure::{AUTO, common_unit, label, truncated};

/// The unit that values are shown in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// One for a whole table, which fits its smallest value; outside of tables each value has its own.
    #[default]
    Fitting,
    /// This one, or with [`AUTO`] one for each value.
    Fixed(String),
}

/// Writes the values of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    unit: String,
    shown: Shown,
    ratio: f64,
}

impl Numbers {
    /// For values in `unit`; each is divided by `divide_by` before it is written.
    #[must_use]
    pub fn new(unit: &str, shown: Shown, divide_by: f64) -> Numbers {
        let ratio = 1.0 / divide_by;
        let ratio = if ratio.is_finite() && ratio > 0.0 { ratio } else { 1.0 };
        Numbers { unit: unit.to_owned(), shown, ratio }
    }

    /// The same, with the one unit that fits a table with these values; of each row its flat value, or its cumulative
    /// one where that is 0.
    #[must_use]
    pub fn fitted(&self, rows: impl Iterator<Item = (i64, i64)>, total: i64) -> Numbers {
        if self.shown != Shown::Fitting {
            return self.clone();
        }
        let mut any = false;
        let smallest = rows
            .map(|(flat, cum)| if flat == 0 { cum } else { flat })
            .inspect(|_| any = true)
            .map(i64::saturating_abs)
            .filter(|&value| value > 0)
            .min();
        let shown = if any {
            let smallest = smallest.unwrap_or(total);
            Shown::Fixed(common_unit(self.divided(smallest), self.divided(total), &self.unit))
        } else {
            Shown::Fitting
        };
        Numbers { shown, ..self.clone() }
    }

    /// A value with its unit.
    #[must_use]
    pub fn value(&self, value: i64) -> String {
        let shown = match &self.shown {
            Shown::Fitting => AUTO,
            Shown::Fixed(unit) => unit,
        };
        label(self.divided(value), &self.unit, shown)
    }

    /// A value with its unit; a dot for 0, so that what is not 0 stands out.
    #[must_use]
    pub fn or_dot(&self, value: i64) -> String {
        if value == 0 { ".".to_owned() } else { self.value(value) }
    }

    /// The value for programs: whole, in the profile's own unit, divided.
    #[must_use]
    pub fn divided(&self, value: i64) -> i64 {
        // As in pprof: not even rounded where there is nothing to divide by.
        if (self.ratio - 1.0).abs() < f64::EPSILON { value } else { truncated(value, self.ratio) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_for_a_table_unless_asked_otherwise() {
        let rows = [(10_000_000, 90_000_000), (0, 1_500_000_000)];
        let fitting = Numbers::new("nanoseconds", Shown::Fitting, 1.0);
        assert_eq!(fitting.value(1_500_000_000), "1.50s");
        let table = fitting.fitted(rows.into_iter(), 900_000_000);
        assert_eq!([table.value(1_500_000_000), table.or_dot(0)], ["1500ms", "."]);
        let seconds = Numbers::new("nanoseconds", Shown::Fixed("s".to_owned()), 1.0);
        assert_eq!(seconds.fitted(rows.into_iter(), 900_000_000).value(10_000_000), "0.01s");
    }

    #[test]
    fn divides_before_it_chooses_a_unit() {
        let numbers = Numbers::new("nanoseconds", Shown::Fitting, 4.0);
        assert_eq!((numbers.value(2_000_000_000), numbers.divided(7)), ("500ms".to_owned(), 1));
        assert_eq!(Numbers::new("count", Shown::Fitting, 0.0).value(7), "7", "no division by zero");
    }
}
