//! Statistical assertions over sample counts.
//!
//! Targets work in slices of random length, so samples are independent draws and a count out of `n` with probability
//! `p` has the standard deviation sqrt(n p (1 - p)). All bounds are [`SIGMAS`] of these wide: a correct profiler
//! fails one comparison in 16,000.

/// Width of all bounds, in standard deviations.
pub const SIGMAS: f64 = 4.0;

/// Median, least and greatest; `None` of nothing.
pub fn spread(values: &[f64]) -> Option<[f64; 3]> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, greatest) = (*sorted.first()?, *sorted.last()?);
    let median = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    Some([median, least, greatest])
}

/// Asserts that `hits` of `total` samples is the share `expected`, to sampling error. `what` names it in the message.
pub fn assert_share(what: &str, hits: i64, total: i64, expected: f64) {
    assert!(total > 0, "{what}: no samples at all");
    let bound = share_bound(total, expected);
    let share = hits as f64 / total as f64;
    assert!(
        (share - expected).abs() <= bound,
        "{what}: {hits} of {total} samples is {share:.4}, not {expected:.4} +- {bound:.4} ({SIGMAS} sigma)"
    );
}

/// Asserts that at least the share `least` of the samples are hits; no sampling error is granted, as for properties
/// that hold of every sample.
pub fn assert_at_least(what: &str, hits: i64, total: i64, least: f64) {
    assert!(total > 0, "{what}: no samples at all");
    let share = hits as f64 / total as f64;
    let least = crate::emulated::least(least);
    assert!(share >= least, "{what}: {hits} of {total} samples is {share:.4}, less than {least}");
}

/// Half the width of the interval around the share `expected` of `total` samples.
pub fn share_bound(total: i64, expected: f64) -> f64 {
    SIGMAS * (expected * (1.0 - expected) / total as f64).sqrt()
}

/// Asserts that `measured_ns` of sampled CPU time is `expected_ns` of CPU time that the kernel accounted.
///
/// `capacity_ns` is the time of all CPUs in the recording: of its `capacity_ns / period_ns` ticks, each hits with
/// probability `expected_ns / capacity_ns`. The bound is `SIGMAS` of that, at least `least` (a fraction of
/// `expected_ns`) and never below two periods, for the ends of the recording.
pub fn assert_cpu(
    what: &str,
    measured_ns: i64,
    expected_ns: i64,
    capacity_ns: i64,
    period_ns: i64,
    least: f64,
) {
    assert!(expected_ns > 0 && period_ns > 0 && capacity_ns > 0, "{what}: nothing to compare with");
    let ticks = capacity_ns as f64 / period_ns as f64;
    let p = (expected_ns as f64 / capacity_ns as f64).min(1.0);
    let sigma_ns = (ticks * p * (1.0 - p)).sqrt() * period_ns as f64;
    let bound = (SIGMAS * sigma_ns).max(least * expected_ns as f64).max(2.0 * period_ns as f64);
    let off = measured_ns - expected_ns;
    assert!(
        (off as f64).abs() <= bound,
        "{what}: sampled {measured_ns} ns, spent {expected_ns} ns: off by {off} ns ({:.2} %), bound {bound:.0} ns",
        100.0 * off as f64 / expected_ns as f64
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_median_least_and_greatest() {
        assert_eq!(spread(&[3.0, 1.0, 9.0]), Some([3.0, 1.0, 9.0]));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]), Some([3.0, 1.0, 9.0]));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn a_share_within_four_sigma_passes() {
        assert_share("x", 7_180, 10_000, 0.7);
    }

    #[test]
    #[should_panic(expected = "not 0.7000")]
    fn a_share_beyond_four_sigma_fails() {
        assert_share("x", 7_190, 10_000, 0.7);
    }

    #[test]
    #[should_panic(expected = "off by")]
    fn cpu_time_beyond_the_bound_fails() {
        assert_cpu("x", 960, 1_000, 1_000, 1, 0.03);
    }
}
