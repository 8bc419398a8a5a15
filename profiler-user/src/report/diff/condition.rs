//! Bounds for changes, for use in tests of performance: `cum(json::parse) > +5%`.

use std::str::FromStr;

use super::{Change, DiffReport, Verdict};

/// A bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    written: String,
    own: bool,
    name: String,
    above: bool,
    bound: f64,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// Percent of the base's value.
    Relative,
    /// The unit of the report; with shares, percentage points.
    Absolute,
}

/// Why a text is no bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no condition: write flat(FUNCTION) or cum(FUNCTION), > or <, and a change such as +5% (of what it was) or +2pp (of the total)"
)]
pub struct ConditionError(String);

/// What came of a bound.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The change is within the bound.
    Holds(String),
    /// The change is beyond the bound, and no noise.
    Exceeded(String),
    /// Neither side has such a function.
    NoSuchFunction(String),
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(written: &str) -> Result<Condition, ConditionError> {
        read(written).ok_or_else(|| ConditionError(written.to_owned()))
    }
}

fn read(written: &str) -> Option<Condition> {
    let text = written.trim();
    let (own, rest) = match text.strip_prefix("cum(") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("flat(")?),
    };
    // Names hold parentheses and angle brackets themselves.
    let (name, comparison) = rest.rsplit_once(')')?;
    let comparison = comparison.trim();
    let (above, amount) = match comparison.strip_prefix('>') {
        Some(amount) => (true, amount),
        None => (false, comparison.strip_prefix('<')?),
    };
    let amount = amount.trim();
    let (number, unit) = match amount.strip_suffix("pp") {
        Some(number) => (number, Unit::Absolute),
        None => (amount.strip_suffix('%')?, Unit::Relative),
    };
    let bound: f64 = number.trim().parse().ok().filter(|bound: &f64| bound.is_finite())?;
    (!name.is_empty()).then(|| Condition {
        written: text.to_owned(),
        own,
        name: name.to_owned(),
        above,
        bound,
        unit,
    })
}

impl Condition {
    /// Whether a comparison goes beyond the bound. Noise never does; a function that is new is beyond any bound on
    /// growth in percent.
    #[must_use]
    pub fn judge(&self, report: &DiffReport) -> Outcome {
        let mut found = false;
        let mut exceeded: Option<String> = None;
        for row in report.rows.iter().filter(|row| row.name == self.name) {
            found = true;
            let change = if self.own { row.own } else { row.total };
            if self.beyond(&change) {
                let amount = match self.unit {
                    Unit::Relative => {
                        change.relative().map_or("new".to_owned(), |percent| format!("{percent:+.2}%"))
                    }
                    Unit::Absolute => format!("{:+.2}pp", change.change),
                };
                exceeded = Some(format!("{}: it is {amount}", self.written));
            }
        }
        match exceeded {
            Some(sentence) => Outcome::Exceeded(sentence),
            None if found => Outcome::Holds(self.written.clone()),
            None => Outcome::NoSuchFunction(self.name.clone()),
        }
    }

    fn beyond(&self, change: &Change) -> bool {
        if matches!(change.verdict, Verdict::Noise | Verdict::Same) {
            return false;
        }
        let amount = match self.unit {
            Unit::Relative => change.relative().unwrap_or(f64::INFINITY),
            Unit::Absolute => change.change,
        };
        if self.above { amount > self.bound } else { amount < self.bound }
    }

    /// Whether the bound is in percentage points, which only shares have.
    #[must_use]
    pub fn needs_shares(&self) -> bool {
        self.unit == Unit::Absolute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_with_parentheses() {
        let read = |text: &str| {
            let Condition { own, name, above, bound, unit, .. } = text.parse().unwrap();
            (own, name, above, bound, unit)
        };
        assert_eq!(
            read("cum(json::parse) > +5%"),
            (false, "json::parse".to_owned(), true, 5.0, Unit::Relative)
        );
        assert_eq!(
            read("flat(main.(*T).run)<-0.5pp"),
            (true, "main.(*T).run".to_owned(), false, -0.5, Unit::Absolute)
        );
        for wrong in ["", "json > 5%", "cum(x) 5%", "cum(x) > 5", "cum() > 5%", "cum(x) > many%"] {
            let error = wrong.parse::<Condition>().unwrap_err().to_string();
            assert!(error.contains("is no condition: write flat(FUNCTION)"), "{error}");
        }
    }
}
