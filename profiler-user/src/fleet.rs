//! Which hosts of a fleet profile at a time. Pure.
//!
//! Every host takes part in each interval with the same probability, independently of all others, and what it sees then counts
//! for those that did not: 1 / probability times (the Horvitz-Thompson estimator), so that sums over the fleet are unbiased.

use std::time::Duration;

/// Intervals that are looked through for the next one with another answer.
const MOST: u64 = 100_000;

/// A host's part in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// Probability that a host profiles in an interval, above 0 and up to 1.
    pub fraction: f64,
    /// Length of an interval; they begin at its multiples since the Unix epoch.
    pub interval: Duration,
    /// What no other host has, and the host always has.
    pub host: String,
}

impl Fleet {
    /// How many times its CPU time each sample stands for.
    #[must_use]
    pub fn weight(&self) -> f64 {
        1.0 / self.fraction
    }

    /// Whether the host profiles at a time since the Unix epoch, and when that changes next; `None` where it does not.
    #[must_use]
    pub fn turn(&self, now: Duration) -> (bool, Option<Duration>) {
        let nanos = self.interval.as_nanos().max(1);
        let number = u64::try_from(now.as_nanos() / nanos).unwrap_or(u64::MAX);
        let active = self.is_active(number);
        if self.fraction >= 1.0 {
            return (active, None);
        }
        let next = (1..MOST)
            .map(|ahead| number.saturating_add(ahead))
            .find(|&number| self.is_active(number) != active)
            .map(|number| u64::try_from(nanos * u128::from(number)).unwrap_or(u64::MAX))
            .map(Duration::from_nanos);
        (active, next)
    }

    fn is_active(&self, interval: u64) -> bool {
        draw(&self.host, interval) < self.fraction
    }
}

/// A number from 0 to below 1 that depends on nothing but host and interval: all versions of the profiler draw the same one.
/// FNV-1a over both, with the last steps of MurmurHash3, for FNV's high bits hardly depend on the last bytes.
fn draw(host: &str, interval: u64) -> f64 {
    let bytes = host.bytes().chain([0]).chain(interval.to_le_bytes());
    let mut hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(fraction: f64, host: &str) -> Fleet {
        Fleet { fraction, interval: Duration::from_secs(600), host: host.to_owned() }
    }

    #[test]
    fn the_same_host_draws_the_same_number_for_ever() {
        let drawn = |host, interval| (draw(host, interval) * 1e6).round() as u32;
        assert_eq!([drawn("a", 0), drawn("a", 1), drawn("b", 0)], [335_389, 408_614, 82_408]);
    }

    #[test]
    fn a_part_of_the_fleet_stands_for_all_of_it() {
        for fraction in [0.02, 0.25, 0.9] {
            let (hosts, intervals) = (400, 200);
            let mut by_interval = vec![0_u32; intervals];
            for host in 0..hosts {
                let fleet = fleet(fraction, &format!("host-{host}"));
                let turns = (0..intervals as u64).filter(|&number| fleet.is_active(number));
                let turns: Vec<u64> = turns.collect();
                // Four standard deviations of a binomial distribution.
                let spread = |n: f64| 4.0 * (n * fraction * (1.0 - fraction)).sqrt();
                let n = intervals as f64;
                assert!(
                    (turns.len() as f64 - n * fraction).abs() < spread(n) + 1.0,
                    "{host}: {}",
                    turns.len()
                );
                for turn in turns {
                    by_interval[turn as usize] += 1;
                }
            }
            let total: u32 = by_interval.iter().sum();
            let estimate = f64::from(total) * fleet(fraction, "").weight();
            let (truth, n) = ((hosts * intervals) as f64, (hosts * intervals) as f64);
            let spread = 4.0 * (n * fraction * (1.0 - fraction)).sqrt() / fraction;
            assert!((estimate - truth).abs() < spread, "{fraction}: {estimate} of {truth}");
            assert!(
                by_interval.iter().all(|&active| active > 0 || fraction < 0.05),
                "an interval without a host"
            );
        }
    }

    #[test]
    fn a_turn_ends_where_the_next_interval_says_otherwise() {
        let fleet = fleet(0.5, "host");
        let mut now = Duration::from_secs(1_700_000_123);
        let mut seen = [0; 2];
        for _ in 0..50 {
            let (active, until) = fleet.turn(now);
            seen[usize::from(active)] += 1;
            let until = until.unwrap();
            assert!(until > now && until.as_secs() % 600 == 0);
            assert_eq!(fleet.turn(until - Duration::from_nanos(1)), (active, Some(until)));
            assert_eq!(fleet.turn(until).0, !active);
            now = until;
        }
        assert_eq!(seen, [25, 25], "they take turns");
        assert_eq!(super::tests::fleet(1.0, "host").turn(now), (true, None));
        // Short intervals have large numbers.
        let short = Fleet { interval: Duration::from_millis(2), ..fleet };
        let (active, until) = short.turn(now);
        assert!(until.unwrap() > now && short.turn(until.unwrap()).0 != active);
    }
}
