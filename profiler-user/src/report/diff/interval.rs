//! What chance alone does to counts of samples: the 95 % interval of a change.
//!
//! Each side's value is a number of ticks that hit a function. The interval of one side is the score interval (Wilson's
//! for a share of all ticks, its counterpart for a number of ticks), which holds for few ticks and for none; that of the
//! difference joins the two by Newcombe's method (Statistics in Medicine 17, 1998, method 10), which needs no normal
//! distribution of either.

/// Two-sided 95 %.
const Z: f64 = 1.959_963_985;

/// A number and where it may lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Estimate {
    /// The same in another unit.
    pub(super) fn times(self, factor: f64) -> Estimate {
        Estimate { value: self.value * factor, low: self.low * factor, high: self.high * factor }
    }
}

/// A share of all ticks: `hits` of `all`.
pub(super) fn share(hits: f64, all: f64) -> Estimate {
    if all <= 0.0 {
        return Estimate { value: 0.0, low: 0.0, high: 1.0 };
    }
    let value = (hits / all).clamp(0.0, 1.0);
    let square = Z * Z;
    let middle = value + square / (2.0 * all);
    let half = Z * (value * (1.0 - value) / all + square / (4.0 * all * all)).sqrt();
    let scale = 1.0 + square / all;
    Estimate {
        value,
        low: ((middle - half) / scale).clamp(0.0, value),
        high: ((middle + half) / scale).clamp(value, 1.0),
    }
}

/// A number of ticks that nothing bounds.
pub(super) fn number(hits: f64) -> Estimate {
    let value = hits.max(0.0);
    let square = Z * Z;
    let half = Z * (value + square / 4.0).sqrt();
    let middle = value + square / 2.0;
    Estimate { value, low: (middle - half).clamp(0.0, value), high: middle + half }
}

/// `other` minus `base`, which are independent of each other.
pub(super) fn difference(base: Estimate, other: Estimate) -> Estimate {
    let value = other.value - base.value;
    let low = value - (other.value - other.low).hypot(base.high - base.value);
    let high = value + (other.high - other.value).hypot(base.value - base.low);
    Estimate { value, low, high }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(estimate: Estimate) -> [f64; 3] {
        [estimate.low, estimate.value, estimate.high].map(|number| (number * 1e4).round() / 1e4)
    }

    #[test]
    fn newcombes_examples() {
        // His table II, method 10: 56/70 - 48/80 and 9/10 - 3/10.
        assert_eq!(rounded(difference(share(48.0, 80.0), share(56.0, 70.0))), [0.0524, 0.2, 0.3339]);
        assert_eq!(rounded(difference(share(3.0, 10.0), share(9.0, 10.0))), [0.1705, 0.6, 0.809]);
    }

    #[test]
    fn nothing_seen_is_not_nothing() {
        let none = share(0.0, 100.0);
        assert!(none.low == 0.0 && (0.03..0.04).contains(&none.high), "{none:?}");
        let none = number(0.0);
        assert!(none.low == 0.0 && (3.8..3.9).contains(&none.high), "{none:?}");
        assert_eq!(rounded(share(0.0, 0.0)), [0.0, 0.0, 1.0]);
    }

    /// Equal rates are told apart by chance in about one of twenty cases, and not more often.
    #[test]
    fn chance_is_called_a_change_in_five_of_a_hundred() {
        let mut state = 88_172_645_463_325_252_u64;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for (rate, ticks) in [(0.3, 400), (0.02, 1000), (0.002, 2000)] {
            let mut hits = || f64::from((0..ticks).map(|_| u32::from(uniform() < rate)).sum::<u32>());
            let all = f64::from(ticks);
            let (mut of_shares, mut of_numbers) = (0, 0);
            for _ in 0..2000 {
                let (base, other) = (hits(), hits());
                let zero = |estimate: Estimate| estimate.low <= 0.0 && estimate.high >= 0.0;
                of_shares += u32::from(!zero(difference(share(base, all), share(other, all))));
                of_numbers += u32::from(!zero(difference(number(base), number(other))));
            }
            assert!(of_shares < 2000 * 6 / 100, "{rate}: {of_shares} of 2000 shares");
            assert!(of_numbers < 2000 * 6 / 100, "{rate}: {of_numbers} of 2000 numbers");
        }
    }
}
