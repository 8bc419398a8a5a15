//! What chance says of one frame of two overlaid trees.

use super::interval::{Estimate, difference, number, share};
use super::{Normalize, Verdict};
use crate::report::header::Header;
use crate::report::measure::float;

/// Tells changes from noise by the ticks on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    /// Ticks in all: of the base, of the other side.
    all: [f64; 2],
    /// What a tick is worth where numbers of ticks are compared; `None` where shares are.
    worth: Option<[f64; 2]>,
}

impl Judge {
    /// Of sides with these totals; `None` where values are not counts of ticks.
    pub(in crate::report) fn new(
        headers: [&Header; 2],
        ticks: [Option<f64>; 2],
        normalize: Normalize,
    ) -> Option<Judge> {
        let [Some(base), Some(other)] = ticks else { return None };
        let all = [base, other];
        let ratio = |above: f64, below: f64| if below == 0.0 { 0.0 } else { above / below };
        let one = |side: usize| {
            let (header, all) = (headers.get(side)?, all.get(side)?);
            let tick = ratio(float(header.total), *all);
            match normalize {
                Normalize::Share | Normalize::Cpu => None,
                Normalize::Rate => Some(ratio(tick, float(header.duration_nanos))),
                Normalize::Absolute => Some(tick),
            }
        };
        Some(Judge { all, worth: one(0).zip(one(1)).map(|(base, other)| [base, other]) })
    }

    /// What a change from so many ticks of the base to so many of the other side means.
    #[must_use]
    pub fn verdict(&self, ticks: [f64; 2]) -> Verdict {
        let [base, other] = ticks;
        let of = |ticks: f64, all: f64, worth: Option<f64>| -> Estimate {
            worth.map_or_else(|| share(ticks, all), |worth| number(ticks).times(worth))
        };
        let [worth_of_base, worth_of_other] = [0, 1].map(|side| self.worth.map(|worth| worth[side]));
        let change = difference(of(base, self.all[0], worth_of_base), of(other, self.all[1], worth_of_other));
        if base == 0.0 && other == 0.0 {
            Verdict::Same
        } else if change.low <= 0.0 && change.high >= 0.0 {
            Verdict::Noise
        } else if base == 0.0 {
            Verdict::New
        } else if other == 0.0 {
            Verdict::Gone
        } else if change.value > 0.0 {
            Verdict::More
        } else {
            Verdict::Less
        }
    }
}

/// The same where nothing can be said about chance.
pub(in crate::report) fn without_chance(base: i64, other: i64) -> Verdict {
    match (base, other) {
        (base, other) if base == other => Verdict::Same,
        (0, _) => Verdict::New,
        (_, 0) => Verdict::Gone,
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    fn judge(normalize: Normalize, seconds: [i64; 2]) -> Judge {
        let mut header = Header::new(&fixture::two_threads(), 1);
        header.total = 1_000_000_000;
        let headers =
            seconds.map(|seconds| Header { duration_nanos: seconds * 1_000_000_000, ..header.clone() });
        Judge::new([&headers[0], &headers[1]], [Some(100.0), Some(100.0)], normalize).unwrap()
    }

    #[test]
    fn few_ticks_are_noise_and_many_are_not() {
        let shares = judge(Normalize::Share, [1, 1]);
        assert_eq!(shares.verdict([10.0, 14.0]), Verdict::Noise);
        assert_eq!(shares.verdict([10.0, 40.0]), Verdict::More);
        assert_eq!(shares.verdict([40.0, 10.0]), Verdict::Less);
        assert_eq!(shares.verdict([0.0, 1.0]), Verdict::Noise, "one tick may be chance");
        assert_eq!(shares.verdict([0.0, 20.0]), Verdict::New);
        assert_eq!(shares.verdict([20.0, 0.0]), Verdict::Gone);
        assert_eq!(shares.verdict([0.0, 0.0]), Verdict::Same);
    }

    #[test]
    fn rates_know_how_long_each_side_took() {
        assert_eq!(judge(Normalize::Absolute, [1, 2]).verdict([50.0, 50.0]), Verdict::Noise);
        assert_eq!(judge(Normalize::Rate, [1, 2]).verdict([50.0, 50.0]), Verdict::Less);
    }
}
