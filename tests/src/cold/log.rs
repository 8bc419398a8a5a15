//! What `profiler -vv` says while it starts, with the time of each line.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds from the start of a profiler's process to steps on its way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Start {
    /// Until the first program is handed to the verifier: the host's facts, the object, the maps.
    pub prepared_ms: f64,
    /// What the verifier took, by program; they are loaded beside each other.
    pub verified_ms: BTreeMap<String, f64>,
    /// Until the clocks tick.
    pub ticking_ms: f64,
    /// Until a sample of the process that is asked about was walked and its stack was complete.
    pub complete_ms: Option<f64>,
    /// Samples of that process that were walked in user space before, and were not.
    pub before: usize,
}

impl Start {
    /// Reads the log on stderr of a profiler that was started at `started`; `pid` is the process asked about.
    ///
    /// Panics where the log lacks one of the steps.
    pub fn read(stderr: &str, started: SystemTime, pid: u32) -> Start {
        let begin = started.duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs_f64();
        let after = |line: &str| {
            let stamp = line.split_whitespace().next().unwrap_or_default();
            (seconds_of_day(stamp) - begin).rem_euclid(86_400.0) * 1000.0
        };
        let find = |what: &str| {
            let line = stderr.lines().find(|line| line.contains(what));
            line.unwrap_or_else(|| panic!("the profiler's log has no {what:?}:\n{stderr}"))
        };
        let mut start = Start {
            prepared_ms: after(find("loading the BPF object")),
            ticking_ms: after(find("the clocks tick")),
            ..Start::default()
        };
        for line in stderr.lines() {
            if let Some((name, time)) = verified(line) {
                start.verified_ms.insert(name.to_owned(), time);
            } else if line.contains(&format!("walked a sample of process {pid}:")) {
                if line.ends_with(", complete") {
                    start.complete_ms = Some(after(line));
                    break;
                }
                start.before += 1;
            }
        }
        start
    }
}

/// `… on_walk: 152104 instructions verified in 210 ms`.
fn verified(line: &str) -> Option<(&str, f64)> {
    let (before, after) = line.split_once(" instructions verified in ")?;
    let name = before.split_whitespace().rev().nth(1)?.trim_end_matches(':');
    Some((name, after.strip_suffix(" ms")?.parse().ok()?))
}

/// Seconds since midnight (UTC) of `2026-11-24T19:48:02.051307Z`.
fn seconds_of_day(stamp: &str) -> f64 {
    let clock = stamp.split_once('T').and_then(|(_, clock)| clock.strip_suffix('Z'));
    let parts: Vec<f64> =
        clock.unwrap_or_default().split(':').map(|part| part.parse().unwrap_or(f64::NAN)).collect();
    let [hours, minutes, seconds] = parts[..] else { panic!("{stamp:?} is no time") };
    (hours * 60.0 + minutes) * 60.0 + seconds
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn steps_are_read_with_their_times() {
        let log = "1970-01-01T00:00:10.040000Z DEBUG loading the BPF object layout=TaskLayout
1970-01-01T00:00:10.250000Z  INFO on_walk: 152104 instructions verified in 210 ms
1970-01-01T00:00:10.300000Z  INFO the clocks tick
1970-01-01T00:00:10.310000Z DEBUG walked a sample of process 8: 9 user frames, complete
1970-01-01T00:00:10.320000Z DEBUG walked a sample of process 7: 9 user frames, no_row
1970-01-01T00:00:10.330000Z DEBUG walked a sample of process 7: 9 user frames, complete
1970-01-01T00:00:10.340000Z DEBUG walked a sample of process 7: 9 user frames, complete";
        let start = Start::read(log, UNIX_EPOCH + Duration::from_secs(10), 7);
        let close = |a: f64, b: f64| (a - b).abs() < 0.01;
        assert!(close(start.prepared_ms, 40.0) && close(start.ticking_ms, 300.0), "{start:?}");
        assert!(start.complete_ms.is_some_and(|ms| close(ms, 330.0)) && start.before == 1, "{start:?}");
        assert!(close(start.verified_ms["on_walk"], 210.0), "{start:?}");
    }
}
